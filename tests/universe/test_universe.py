"""LEO's promises: pure examples, one derivation a text, disjoint splits, arms that differ in their dials alone."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leonids.errors import SpecError, UsageError
from leonids.spec import load_universe, shipped_universes, validate
from leonids.universe.blueprint import UniverseSpec
from leonids.universe.chance import derivations
from leonids.universe.others import other_universe
from leonids.universe.splits import SPLITS, bin_of
from leonids.universe.universe import Universe

UNIVERSES = {name: Universe(load_universe(name)) for name in shipped_universes()}
EVERY = pytest.mark.parametrize("name", sorted(UNIVERSES))
INDEXES = st.integers(0, 2**40)


@settings(max_examples=40)
@given(index=INDEXES, poison=st.integers(0, 99))
def test_randomness_comes_from_the_key_alone(index: int, poison: int) -> None:
    random.seed(poison)
    first = UNIVERSES["disorder"].example("train", 1, index)
    random.seed(poison + 1)
    assert UNIVERSES["disorder"].example("train", 1, index) == first


@EVERY
@settings(max_examples=40)
@given(index=INDEXES, split=st.sampled_from(SPLITS))
def test_a_text_has_exactly_the_derivation_that_wrote_it(name: str, index: int, split: str) -> None:
    example = UNIVERSES[name].example(split, 0, index)
    found = list(derivations(UNIVERSES[name].draw_task, example.prompt))
    assert [(task.meaning, emissions) for task, emissions in found] == [(example.meaning, example.trace)]


@settings(max_examples=40)
@given(index=st.integers(0, 500))
def test_every_drawn_universe_is_unambiguous(index: int) -> None:
    universe = Universe(other_universe(7, index))
    example = universe.example("train", 0, index)
    assert [task.meaning for task, _ in universe.parse_prompt(example.prompt)] == [example.meaning]


@EVERY
@settings(max_examples=40)
@given(index=INDEXES, split=st.sampled_from(SPLITS))
def test_roles_cover_every_character_once(name: str, index: int, split: str) -> None:
    example = UNIVERSES[name].example(split, 0, index)
    ends = [span.end for span in example.spans]
    starts = [span.start for span in example.spans]
    assert starts == [0, *ends[:-1]]
    assert ends[-1] == len(example.prompt + example.completion)


@settings(max_examples=40)
@given(seed=st.integers(0, 9), index=INDEXES)
def test_splits_share_no_meaning_for_any_seed(seed: int, index: int) -> None:
    bins = {"train": range(80), "validation": range(80, 90), "test": range(90, 100)}
    for split in SPLITS:
        assert bin_of(UNIVERSES["consistent"].example(split, seed, index).meaning) in bins[split]


ARMS = ("consistent", "paraphrase", "formats", "conflict", "noise", "disorder")
"""Universes that differ in their dials alone."""


@settings(max_examples=40)
@given(index=INDEXES, split=st.sampled_from(SPLITS))
def test_arms_differ_in_their_dials_alone(index: int, split: str) -> None:
    examples = {name: UNIVERSES[name].example(split, 0, index) for name in ARMS}
    assert len({example.meaning for example in examples.values()}) == 1
    assert len({example.prompt for name, example in examples.items() if name != "paraphrase"}) == 1


DIGESTS = {
    "consistent": "7b60c3e99ea22a476bd5cd76b2035bc37f244a995a6cc997f4d3b971be2f26f8",
    "formats": "846a907d9f06689c2f9b5503345d4ecc7ec7d36b83bc52cb003479a6dbc73b20",
    "conflict": "2d414154b1448a738d02efb1e59c4c5cd503b62e62d26d81f292f65fbc543726",
    "disorder": "a3f37ab7b921bf3c938c3f566226869546e09bb8f0f234b9eb913de885a28d60",
}
"""Identities by which manifests and ledgers name these universes."""


def test_a_key_that_came_later_does_not_rename_a_universe() -> None:
    assert {name: UNIVERSES[name].digest for name in DIGESTS} == DIGESTS


def test_neighbouring_seeds_share_no_examples() -> None:
    universe = UNIVERSES["consistent"]
    texts = [{universe.example("train", seed, i).prompt for i in range(500)} for seed in (0, 1)]
    assert not texts[0] & texts[1]


@EVERY
@settings(max_examples=40)
@given(index=INDEXES)
def test_the_oracle_gives_every_answer_its_share(name: str, index: int) -> None:
    example = UNIVERSES[name].example("train", 0, index)
    assert sum(example.answers.values()) == pytest.approx(1, abs=1e-12)
    assert example.answers[example.completion] > 0


@EVERY
@settings(max_examples=40)
@given(index=INDEXES)
def test_an_answer_reads_back_as_its_value(name: str, index: int) -> None:
    example = UNIVERSES[name].example("train", 0, index)
    assert UNIVERSES[name].parse_answer(example.completion) == example.answer


@pytest.mark.parametrize(
    "text", ["", "[", '{"result":true}', '{"result":[1]}', '{"answer":3}', '{"result":3', "result = ;"]
)
def test_what_is_not_in_a_format_has_no_value(text: str) -> None:
    assert UNIVERSES["disorder"].parse_answer(text) is None


def changed(**values: object) -> UniverseSpec:
    from pydantic import TypeAdapter

    plain = TypeAdapter(UniverseSpec).dump_python(load_universe("consistent"), mode="json")
    return validate(UniverseSpec, {**plain, **values}, name="test")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"skills": {"filtre": 1.0}}, "unknown skill 'filtre'"),
        ({"items": {"3": 0.5}}, "sum to 0.5"),
        ({"depths": {"1": 0.7, "2": 0.7}}, "sum to 1.4"),
        ({"skills": {"filter": 1.0}}, "no skill fits"),
        ({"wording": {"count": "count"}}, "no wording for"),
        ({"layout": {"attributes": ["color"]}}, "weight"),
    ],
)
def test_a_spec_that_breaks_a_rule_is_refused_by_name(values: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Universe(changed(**values))


@pytest.mark.parametrize(
    ("values", "said"),
    [({"skils": {}}, "unknown key 'skils'"), ({"version": "1"}, "version is '1'"), ({"items": [3]}, "items")],
)
def test_misspelt_keys_and_wrong_types_are_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        changed(**values)


def test_two_steps_with_one_phrase_are_refused() -> None:
    spec = load_universe("consistent")
    wording = {**spec.wording, "count": "list the names"}
    with pytest.raises(SpecError, match="R3"):
        Universe(changed(wording=wording))


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(UsageError, match="splits are train"):
        UNIVERSES["consistent"].example("dev", 0, 0)
