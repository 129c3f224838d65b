"""How often a split repeats itself is forecast from the program, and is what is found when it is drawn."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from leonids.errors import SpecError, UsageError
from leonids.floor.entropy import enumerated, repeats
from leonids.spec import load_universe, shipped_universes
from leonids.universe.blueprint import UniverseSpec
from leonids.universe.splits import SPLITS
from leonids.universe.universe import Universe

Maker = Callable[..., UniverseSpec]
WIDE = load_universe("wide")
SMALL = Universe(replace(WIDE, items={1: 0.5, 2: 0.5}, catalog=replace(WIDE.catalog, shipped_names=(0, 6))))


@pytest.mark.parametrize(
    "dials", [{}, {"formats": True}, {"conflict": 0.2}, {"formats": True, "conflict": 0.2}], ids=str
)
def test_the_probability_of_two_equal_texts_is_the_sum_of_squares_over_all_texts(
    make_tiny: Maker, dials: dict[str, object]
) -> None:
    universe = Universe(make_tiny(**dials))
    found = repeats(universe, "train")
    squares = math.fsum(share**2 for share in enumerated(universe).values())
    # Exact but for a conflict, whose answers are averaged over drawn prompts: five standard errors. Bins hold 0.8.
    assert found.collision.exact == (not dials)
    assert 0.8 * found.collision.mean == pytest.approx(squares, rel=1e-9, abs=4 * found.collision.standard_error)
    assert found.pairs(1001).mean == pytest.approx(500_500 * found.collision.mean)
    assert found.pairs(round(found.examples_at(0.01))).mean == pytest.approx(
        0.01 * found.examples_at(0.01), abs=found.collision.mean * found.examples_at(0.01)
    )


def test_as_many_pairs_are_found_as_forecast_and_none_across_splits() -> None:
    seen: dict[str, set[str]] = {}
    for split in (*SPLITS, *SMALL.transfer_splits()):
        n = 6000 if split == "train" else 3000
        examples = (SMALL.example(split, 0, index) for index in range(n))
        counts = Counter(example.prompt + example.completion for example in examples)
        found = sum(count * (count - 1) // 2 for count in counts.values())
        expected = repeats(SMALL, split).pairs(n).mean
        # Pairs are nearly independent while they are few, so their number is nearly Poisson: five standard
        # deviations and, for the size of the bins, a twentieth.
        assert abs(found - expected) < 5 * math.sqrt(expected) + 0.05 * expected, (split, found, expected)
        seen[split] = set(counts)
    everything = [text for texts in seen.values() for text in texts]
    assert len(everything) == len(set(everything))
    assert sum(repeats(SMALL, split).pairs(3000).mean for split in SPLITS) > 100


@pytest.mark.parametrize("name", shipped_universes())
def test_a_million_examples_of_a_shipped_universe_repeat_less_than_one_in_a_hundred(name: str) -> None:
    universe = Universe(load_universe(name))
    for split in (*SPLITS, *universe.transfer_splits()):
        assert repeats(universe, split, draws=200).examples_at(0.01) > 1e6


def test_a_split_that_is_not_there_has_no_forecast(make_tiny: Maker) -> None:
    with pytest.raises(UsageError, match="transfer:deeper"):
        repeats(SMALL, "transfer:harder")
    with pytest.raises(SpecError, match="holds no pair"):
        repeats(Universe(make_tiny()), "transfer:composition")


def test_lists_too_long_for_a_probability_never_repeat() -> None:
    spec = load_universe("consistent")
    long = Universe(replace(spec, catalog=replace(spec.catalog, shipped_names=(0, 200)), items={190: 1.0}))
    assert math.isinf(repeats(long, "train").examples_at(0.01))
