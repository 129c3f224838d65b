"""The ladder: what an answer costs a learner that knows a part of the question, and then the rest."""

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import pytest

from leonids.digest import keyed_random
from leonids.floor.entropy import entropy_of, enumerated
from leonids.floor.oracle import conditional_entropy, ladder
from leonids.spec import load_universe, shipped_universes
from leonids.universe.blueprint import UniverseSpec
from leonids.universe.universe import Universe


@pytest.mark.parametrize("name", shipped_universes())
def test_who_knows_more_pays_less_and_who_knows_all_pays_the_floor(name: str) -> None:
    universe = Universe(load_universe(name))
    rungs = ladder(universe, [universe.example("train", 0, index) for index in range(1500)])
    nats = [rung.nats for rung in rungs]
    assert nats == sorted(nats, reverse=True)
    assert [rung.knows for rung in rungs] == ["the format", "the type of question", "the pipeline", "everything"]
    assert (nats[-1] == 0) is (name in ("consistent", "paraphrase", "stored", "wide"))


def test_the_rungs_of_a_universe_that_is_written_down_are_its_conditional_entropies(
    make_tiny: Callable[..., UniverseSpec],
) -> None:
    spec = replace(make_tiny(), skills={"filter": 2.0, "count": 1.0, "sum": 1.0})
    universe = Universe(spec)
    by: tuple[defaultdict[str, defaultdict[str, float]], ...] = tuple(
        defaultdict(lambda: defaultdict(float)) for _ in range(3)
    )
    for (prompt, completion), share in enumerated(universe).items():
        task = universe.parse_prompt(prompt)[0][0]
        keys = ("", task.steps[-1].skill.name, ">".join(step.text for step in task.steps))
        for table, key in zip(by, keys, strict=True):
            table[key][completion] += share
    exact = [
        sum(sum(row.values()) * entropy_of(v / sum(row.values()) for v in row.values()) for row in table.values())
        for table in by
    ]
    found = [rung.nats for rung in ladder(universe, [universe.example("train", 0, i) for i in range(6000)])]
    # Training is four fifths of the meanings: a tiny universe's shares move by a few percent.
    assert found == pytest.approx([*exact, 0.0], abs=0.06)


def test_the_correction_takes_the_bias_out_of_sampled_entropies() -> None:
    options, n = 20, 200
    plain, corrected = 0.0, 0.0
    for repeat in range(200):
        draw = keyed_random("bias", repeat)
        nats, correction = conditional_entropy(("", str(int(draw.random() * options))) for _ in range(n))
        plain, corrected = plain + (nats - correction) / 200, corrected + nats / 200
    assert corrected == pytest.approx(math.log(options), abs=0.005)
    assert plain < math.log(options) - 0.03
