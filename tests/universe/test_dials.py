"""Dials: each costs the answer what its closed form says, wherever it is at work, and nothing elsewhere."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leonids.errors import SpecError
from leonids.floor.entropy import entropy_of, prompt_nats, surprisal_nats
from leonids.floor.oracle import ceiling, meaning_ceiling
from leonids.spec import load_universe
from leonids.universe.blueprint import (
    Catalog,
    Conflict,
    Disorder,
    Layout,
    Noise,
    Phrasing,
    Stated,
    Threshold,
    UniverseSpec,
)
from leonids.universe.chance import enumerate_all
from leonids.universe.universe import Universe

CONSISTENT = Universe(load_universe("consistent"))
NOISE, PARAPHRASE, STORED, WIDE = (Universe(load_universe(n)) for n in ("noise", "paraphrase", "stored", "wide"))
INDEXES = st.integers(0, 2**40)
HEAVY_FROM_4 = Threshold(property="weight", above=3)


def dialled(base: str, disorder: Disorder) -> Universe:
    return Universe(replace(load_universe(base), disorder=disorder))


SHUFFLED = dialled("wide", Disorder(key_order=True))
STORED_AGAIN = Universe(replace(STORED.spec, disorder=Disorder(key_order=True), about="other"))


@settings(max_examples=60)
@given(index=INDEXES)
def test_label_noise_gives_every_wrong_number_of_its_set_an_equal_share(index: int) -> None:
    universe, plain = NOISE, CONSISTENT.example("train", 0, index)
    example = universe.example("train", 0, index)
    right = plain.answer["result"]  # type: ignore[index,call-overload]
    if not isinstance(right, int) or right > 12:
        assert example.answers == plain.answers
        return
    assert example.answers[plain.completion] == pytest.approx(0.9)
    wrong = {text: share for text, share in example.answers.items() if text != plain.completion}
    assert set(wrong) == {f'{{"result":{number}}}' for number in range(13) if number != right}
    assert list(wrong.values()) == pytest.approx([0.1 / 12] * 12)
    assert entropy_of(example.answers.values()) == pytest.approx(entropy_of((0.1, 0.9)) + 0.1 * math.log(12))


@settings(max_examples=80)
@given(index=INDEXES)
def test_key_order_costs_the_logarithm_of_its_orders_and_no_meaning(index: int) -> None:
    universe = SHUFFLED
    example, plain = universe.example("train", 0, index), WIDE.example("train", 0, index)
    result = plain.answer["result"]  # type: ignore[index,call-overload]
    orders = math.factorial(len(result)) if isinstance(result, dict) else 1
    assert example.prompt == plain.prompt
    assert example.answer == plain.answer == universe.parse_answer(example.completion)
    assert entropy_of(example.answers.values()) == pytest.approx(math.log(orders))
    assert ceiling(example) == pytest.approx(1 / orders)
    assert meaning_ceiling(universe, example) == pytest.approx(1)


@settings(max_examples=80)
@given(index=INDEXES)
def test_paraphrase_costs_the_prompt_its_entropy_and_the_answer_nothing(index: int) -> None:
    universe = PARAPHRASE
    example, plain = universe.example("train", 0, index), CONSISTENT.example("train", 0, index)
    assert (example.meaning, example.answers) == (plain.meaning, plain.answers)
    shares = {p.phrase: p.share for phrasings in universe.spec.disorder.paraphrase.values() for p in phrasings}
    heavy = "keep the heavy ones", "take only what is heavy"
    phrases = example.prompt.strip().partition("; ")[2].split(", then ")
    extra = 0.0
    for phrase in phrases:
        general = phrase
        for color in ("red", "blue", "green", "white"):
            general = general.replace(color, "{value}") if phrase not in heavy else phrase
        extra -= math.log(shares.get(general, 1.0))
    assert prompt_nats(example) - prompt_nats(plain) == pytest.approx(extra, abs=1e-9)


def test_a_meaning_fixed_per_run_costs_nothing_and_is_drawn_at_its_share() -> None:
    conflict = Conflict(word="heavy", share=0.3, other=HEAVY_FROM_4, per="run")
    universe = dialled("consistent", Disorder(conflict=conflict))
    spec = CONSISTENT.spec
    other = Universe(replace(spec, catalog=replace(spec.catalog, definitions={"heavy": HEAVY_FROM_4})))
    index = next(
        i
        for i in range(1000)
        if CONSISTENT.answers.value(task := CONSISTENT.parse_prompt(CONSISTENT.example("train", 0, i).prompt)[0][0])
        != other.answers.value(task)
    )
    task = CONSISTENT.parse_prompt(CONSISTENT.example("train", 0, index).prompt)[0][0]
    others = 0
    for run in range(2000):
        (text,) = universe.answers.dictionary(task, run=run)
        others += text != next(iter(CONSISTENT.answers.dictionary(task)))
    # 2,000 draws at 0.3: five standard deviations.
    assert others / 2000 == pytest.approx(0.3, abs=5 * math.sqrt(0.3 * 0.7 / 2000))
    for run in range(6):
        for split in ("train", "test"):
            example = universe.example(split, run, index)
            assert list(example.answers.values()) == [1.0]
            assert math.isfinite(surprisal_nats(universe, example.prompt, example.completion, run=run))


def test_all_dials_together_are_one_dictionary(make_tiny: Callable[..., UniverseSpec]) -> None:
    spec = make_tiny(formats=True, conflict=0.2)
    disorder = replace(spec.disorder, noise=Noise(share=0.1, numbers=(0, 3)), key_order=True)
    universe = Universe(replace(spec, disorder=disorder))
    summed = 0
    for index in range(400):
        example = universe.example("train", 0, index)
        assert math.fsum(example.answers.values()) == pytest.approx(1, abs=1e-12)
        assert example.completion in example.answers
        values = {str(universe.parse_answer(text)) for text in example.answers}
        assert len(example.answers) == 2 * len(values)
        if len(values) == 4 and "heavy" in example.prompt:
            # Both meanings may give numbers of the noise's set: mix first, then take the entropy.
            shares = sorted(example.answers.values())
            separate = entropy_of((0.7, 0.3)) + entropy_of((0.1, 0.9)) + 0.1 * math.log(3) + entropy_of((0.2, 0.8))
            summed += entropy_of(shares) < separate - 0.01
    assert summed > 0


def test_a_wrong_number_may_be_the_other_meaning_so_noise_and_conflict_do_not_add(
    make_tiny: Callable[..., UniverseSpec],
) -> None:
    # Two items of weight 1 to 4, meanings one weight apart: answers differ with probability 1 - (3/4)^2. Where they
    # do, the right one keeps 0.8 x 0.9 + 0.2 x 0.1 / 12, the other meaning's 0.2 x 0.9 + 0.8 x 0.1 / 12.
    weight = Stated(name="weight", numbers=(1, 4))
    spec = replace(
        make_tiny(conflict=0.2),
        catalog=Catalog(
            names=("otter", "onion"),
            stated=(weight,),
            definitions={"heavy": Threshold(property="weight", above=2)},
        ),
        items={2: 1.0},
        depths={2: 1.0},
        skills={"filter": 1.0, "count": 1.0},
        layout=Layout(attributes=("weight",)),
    )
    noise = Noise(share=0.1, numbers=(0, 12))
    universe = Universe(replace(spec, disorder=replace(spec.disorder, noise=noise)))
    floor = math.fsum(
        math.exp(-replay.nats) * entropy_of(universe.answers.dictionary(task).values())
        for task, replay in enumerate_all(universe.draw_task)
    )
    differ = 1 - (3 / 4) ** 2
    alone = entropy_of([0.9, *[0.1 / 12] * 12])
    mixed = entropy_of([0.8 * 0.9 + 0.2 * 0.1 / 12, 0.2 * 0.9 + 0.8 * 0.1 / 12, *[0.1 / 12] * 11])
    assert floor == pytest.approx((1 - differ) * alone + differ * mixed, abs=1e-9)
    assert (round(floor, 4), round(alone + differ * entropy_of((0.2, 0.8)), 4)) == (0.7547, 0.7925)


@pytest.mark.parametrize(
    ("disorder", "said"),
    [
        (Disorder(noise=Noise(share=0.1, numbers=(5, 5))), "such as"),
        (Disorder(noise=Noise(share=1.5, numbers=(0, 5))), "R5"),
        (Disorder(paraphrase={"count": (Phrasing(share=0.5, phrase="count"),)}), "R5"),
        (Disorder(paraphrase={"cuont": (Phrasing(share=1.0, phrase="count"),)}), "cuont"),
        (Disorder(conflict=Conflict(word="big", share=0.1, other=HEAVY_FROM_4)), "defined word"),
    ],
)
def test_a_dial_that_cannot_be_is_refused(disorder: Disorder, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        dialled("consistent", disorder)


@settings(max_examples=60)
@given(index=INDEXES)
def test_stored_facts_are_in_neither_prompt_nor_spelling_and_never_change(index: int) -> None:
    universe = STORED
    assert universe.knowledge_nats == pytest.approx(60 * math.log(4))
    facts = universe.things.stored["origin"]
    assert set(facts) == set(universe.names())
    assert set(facts.values()) == {"north", "south", "east", "west"}
    example = universe.example("train", 0, index)
    for word in ("north", "south", "east", "west"):
        assert word not in example.prompt.partition(";")[0]
    assert STORED_AGAIN.things.stored == universe.things.stored
