"""Splits: disjoint by meaning; a transfer family asks what training cannot, at a distance that is a number."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leonids.errors import SpecError, UsageError
from leonids.spec import load_universe, shipped_universes
from leonids.universe.blueprint import Transfer, UniverseSpec
from leonids.universe.catalog import LEXICAL, shipped_names
from leonids.universe.chance import enumerate_all
from leonids.universe.distance import distance, divergence
from leonids.universe.splits import TRANSFER, names_like
from leonids.universe.universe import Universe

Maker = Callable[..., UniverseSpec]
UNIVERSES = {name: Universe(load_universe(name)) for name in shipped_universes()}
HAVE = [(name, split) for name, universe in UNIVERSES.items() for split in universe.transfer_splits()]
INDEXES = st.integers(0, 2**40)


@pytest.mark.parametrize(("name", "split"), HAVE)
@settings(max_examples=15)
@given(index=INDEXES)
def test_training_cannot_ask_what_a_transfer_family_asks(name: str, split: str, index: int) -> None:
    universe = UNIVERSES[name]
    example = universe.example(split, 0, index)
    assert universe.parse_prompt(example.prompt) == ()
    assert [task.meaning for task, _ in universe.parse_prompt(example.prompt, split=split)] == [example.meaning]
    assert universe.parse_answer(example.completion) == example.answer


@settings(max_examples=60)
@given(index=INDEXES)
def test_each_family_goes_beyond_training_in_its_own_way(index: int) -> None:
    universe = UNIVERSES["wide"]
    held_out = set(universe.spec.transfer.hold_out)

    def pairs(split: str) -> set[str]:
        skills = str(universe.example(split, 0, index).tags["pipeline"]).split(">")
        return {f"{a}>{b}" for a, b in pairwise(skills)}

    assert not pairs("train") & held_out
    assert pairs("transfer:composition") & held_out
    assert universe.example("transfer:deeper", 0, index).tags["depth"] in (5, 6)
    assert universe.example("transfer:longer", 0, index).tags["items"] in (8, 9)
    assert universe.example("transfer:related", 0, index).tags["skill"] == "max"
    words = set(universe.names("transfer:renamed"))
    assert not words & set(universe.names())
    assert any(word in universe.example("transfer:renamed", 0, index).prompt for word in words)


def chances(universe: Universe, split: str) -> dict[str, float]:
    """P(pipeline) under a split's program, over all pipelines."""
    import math

    found: Counter[str] = Counter()
    for steps, replay in enumerate_all(universe.prompts(split).draw_steps):
        found[">".join(step.skill.name for step in steps)] += math.exp(-replay.nats)
    return dict(found)


def test_holding_pairs_out_parts_the_pipelines_in_two_and_changes_nothing_else(make_tiny: Maker) -> None:
    whole = chances(Universe(make_tiny()), "train")
    parted = Universe(replace(make_tiny(), transfer=Transfer(hold_out=("filter>sum", "sort>names"))))
    held = {"filter>sum", "sort>names"} & whole.keys()
    mass = sum(whole[pipeline] for pipeline in held)
    expected = {pipeline: share / (1 - mass) for pipeline, share in whole.items() if pipeline not in held}
    assert chances(parted, "train") == pytest.approx(expected, abs=1e-12)
    rest = {pipeline: whole[pipeline] / mass for pipeline in held}
    assert chances(parted, "transfer:composition") == pytest.approx(rest, abs=1e-12)


@pytest.mark.parametrize("split", ["train", "transfer:composition", "transfer:related"])
def test_the_distance_of_a_split_is_that_of_its_examples(split: str) -> None:
    universe, n = UNIVERSES["wide"], 1500

    def counted(of: str) -> tuple[Counter[object], Counter[object]]:
        atoms, compounds = Counter[object](), Counter[object]()
        for index in range(n):
            task = universe.parse_prompt(universe.example(of, 3, index).prompt, split=of)[0][0]
            steps = [step.text for step in task.steps[:-1]]
            last = task.steps[-1]
            tails = [replace(last, branches=()).text, *(branch.text for branch in last.branches)]
            atoms.update([*steps, *tails, *(("word", item.name) for item in task.items)])
            compounds.update([*pairwise(steps), *((steps[-1], tails[0]) for _ in steps[:1])])
            compounds.update([(tails[0], tail) for tail in tails[1:]] + [(len(task.items), len(task.steps))])
        return atoms, compounds

    train, other = counted("train"), counted(split)
    found = distance(universe, split)
    # Sampling makes a distance of 0 positive: the tolerances are what two samples of training differ by.
    assert found.atoms == pytest.approx(divergence(train[0], other[0], exponent=0.5), abs=0.04)
    assert found.compounds == pytest.approx(divergence(train[1], other[1], exponent=0.1), abs=0.12)


@pytest.mark.parametrize("name", sorted(UNIVERSES))
def test_held_out_bins_are_no_distance_away_and_transfer_is(name: str) -> None:
    assert distance(UNIVERSES[name], "test") == replace(distance(UNIVERSES[name], "train"), split="test")
    assert distance(UNIVERSES[name], "test").atoms == distance(UNIVERSES[name], "test").compounds == 0
    for split in UNIVERSES[name].transfer_splits():
        found = distance(UNIVERSES[name], split)
        assert 0 < found.atoms + found.compounds <= 2


@settings(max_examples=20)
@given(st.lists(st.sampled_from(shipped_names()), min_size=1, max_size=40, unique=True))
def test_words_are_renamed_by_the_most_alike_that_are_left(names: list[str]) -> None:
    others = names_like(names, shipped_names())
    assert len(set(others)) == len(names)
    assert not set(others) & set(names)
    left = set(shipped_names()) - set(names)
    for name, other in zip(names, others, strict=True):
        unlike = {w: (sum(t(w) != t(name) for _, t in LEXICAL), abs(len(w) - len(name))) for w in left}
        assert unlike[other] == min(unlike.values())
        left.remove(other)


@settings(max_examples=20)
@given(st.lists(st.sampled_from(shipped_names()), min_size=1, max_size=40, unique=True))
def test_words_of_as_many_tokens_come_before_words_of_like_spelling(names: list[str]) -> None:
    def tokens(word: str) -> int:
        return 1 + word.count("e")

    others = names_like(names, shipped_names(), tokens=tokens)
    left = set(shipped_names()) - set(names)
    for name, other in zip(names, others, strict=True):
        assert abs(tokens(other) - tokens(name)) == min(abs(tokens(word) - tokens(name)) for word in left)
        left.remove(other)


def test_words_that_the_universe_names_are_those_of_the_renamed_split() -> None:
    spec = UNIVERSES["consistent"].spec
    words = shipped_names()[100:160]
    named = Universe(replace(spec, transfer=replace(spec.transfer, renamed=words)))
    assert named.names("transfer:renamed") == words
    assert named.names() == UNIVERSES["consistent"].names()
    for wrong in (words[1:], (named.names()[0], *words[1:])):
        with pytest.raises(SpecError, match=r"one for each"):
            Universe(replace(spec, transfer=replace(spec.transfer, renamed=wrong))).names("transfer:renamed")


def test_nearly_all_words_of_a_shipped_universe_have_a_twin() -> None:
    universe = UNIVERSES["consistent"]
    pairs = list(zip(universe.names(), universe.names("transfer:renamed"), strict=True))
    assert sum(len(a) == len(b) for a, b in pairs) >= 0.9 * len(pairs)
    assert sum(all(test(a) == test(b) for _, test in LEXICAL) for a, b in pairs) >= 0.9 * len(pairs)


@pytest.mark.parametrize(
    ("name", "split", "said"),
    [
        ("consistent", "transfer:composition", "holds no pair"),
        ("consistent", "transfer:related", "nothing as related skill"),
        ("stored", "transfer:renamed", "stored properties"),
    ],
)
def test_a_family_that_a_universe_does_not_have_is_refused(name: str, split: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        UNIVERSES[name].example(split, 0, 0)


def test_a_family_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(UsageError, match="transfer:deeper"):
        UNIVERSES["wide"].example("transfer:harder", 0, 0)
    assert set(UNIVERSES["wide"].transfer_splits()) == set(TRANSFER)


@pytest.mark.parametrize(
    ("transfer", "said"),
    [
        (Transfer(hold_out=("filter",)), "written filter>sum"),
        (Transfer(hold_out=("filter>summ",)), "unknown skill 'summ'"),
        (Transfer(hold_out=("filter>sum", "filter>count", "filter>names")), None),
    ],
)
def test_held_out_pairs_that_cannot_be_are_refused(make_tiny: Maker, transfer: Transfer, said: str | None) -> None:
    spec = replace(make_tiny(), transfer=transfer)
    if said is None:
        assert "filter" not in chances(Universe(spec), "train")
        return
    with pytest.raises(SpecError, match=said):
        Universe(spec)
