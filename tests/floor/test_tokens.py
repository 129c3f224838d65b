"""Floors are exact: equal to brute force over every text of a universe that can be written down."""

import math
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from leonids.errors import FloorError
from leonids.floor.entropy import answer_nats, entropy_of, enumerated, prompt_nats, surprisal_nats
from leonids.floor.options import OptionTable
from leonids.floor.oracle import match_bounds, survey
from leonids.floor.renaming import equal_token_share, renaming_of_equal_tokens
from leonids.floor.tokens import FastTokenizer, TokenFloor
from leonids.records import ROLES, Example
from leonids.spec import load_universe, shipped_universes
from leonids.study.floors import tokenizer_of
from leonids.universe.blueprint import Disorder, FormatShare, Layout, UniverseSpec
from leonids.universe.chance import enumerate_all
from leonids.universe.universe import Universe

Maker = Callable[..., UniverseSpec]
NANO = tokenizer_of("nano")
TOLERANCE_NATS = 1e-9


class Characters:
    """A tokenizer of single characters: here "1" may end a number or go on as "12"."""

    end_id = 0
    vocabulary = 128

    def encode(self, text: str) -> tuple[Sequence[int], Sequence[tuple[int, int]]]:
        return [ord(c) for c in text], [(i, i + 1) for i in range(len(text))]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))


class Pairs:
    """A tokenizer that cuts a text into pairs of characters, wherever choices end."""

    end_id = 0
    vocabulary = 2**15

    def encode(self, text: str) -> tuple[Sequence[int], Sequence[tuple[int, int]]]:
        cuts = [(i, min(i + 2, len(text))) for i in range(0, len(text), 2)]
        return [sum(ord(c) << 7 * k for k, c in enumerate(text[a:b])) for a, b in cuts], cuts

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(token & 127) + (chr(token >> 7) if token >> 7 else "") for token in ids)


def drawn(universe: Universe, n: int) -> list[Example]:
    return [universe.example("train", 0, index) for index in range(n)]


def brute_force(universe: Universe, tokenizer: object) -> dict[tuple[int, ...], float]:
    """The mass of every token prefix, over every text."""
    mass: dict[tuple[int, ...], float] = defaultdict(float)
    for (prompt, completion), share in enumerated(universe).items():
        ids = (*tokenizer.encode(prompt)[0], *tokenizer.encode(completion)[0], tokenizer.end_id)  # type: ignore[attr-defined]
        for i in range(len(ids) + 1):
            mass[ids[:i]] += share
    return mass


@pytest.mark.parametrize("tokenizer", [NANO, Characters()], ids=["nano", "characters"])
@pytest.mark.parametrize(
    "dials", [{}, {"formats": True}, {"conflict": 0.2}, {"formats": True, "conflict": 0.2}], ids=str
)
def test_the_floor_of_every_token_equals_brute_force(
    make_tiny: Maker, dials: dict[str, object], tokenizer: object
) -> None:
    universe = Universe(make_tiny(**dials))
    mass = brute_force(universe, tokenizer)
    floor = TokenFloor(universe, tokenizer)  # type: ignore[arg-type]
    assert mass[()] == pytest.approx(1, abs=TOLERANCE_NATS)
    seen = set()
    for index in range(600):
        encoded = floor.encode(universe.example("train", 0, index))
        ids = tuple(encoded.ids[1:])
        seen.add(ids)
        expected = [math.log(mass[ids[:i]] / mass[ids[: i + 1]]) for i in range(len(ids))]
        assert encoded.floor_nats[1:] == pytest.approx(expected, abs=TOLERANCE_NATS)
    assert len(seen) > 100


@pytest.mark.parametrize("dials", [{}, {"formats": True, "conflict": 0.2}], ids=str)
def test_a_universe_written_down_has_probability_one_and_its_entropy_is_the_mean_surprisal(
    make_tiny: Maker, dials: dict[str, object]
) -> None:
    universe = Universe(make_tiny(**dials))
    texts = enumerated(universe)
    prompts = ["".join(replay.parts) for _, replay in enumerate_all(universe.draw_task)]
    assert len(set(prompts)) == len(prompts)
    assert sum(texts.values()) == pytest.approx(1, abs=1e-9)
    surprisal = sum(share * surprisal_nats(universe, *text) for text, share in list(texts.items())[::97])
    again = sum(share * -math.log(share) for share in list(texts.values())[::97])
    assert surprisal == pytest.approx(again, abs=1e-9)
    entropy = entropy_of(texts.values())
    report = survey(universe, TokenFloor(universe, NANO), drawn(universe, 4000), tokens="all", tokenizer="nano")
    # Splits are bins of a hash, so the training stream's mean is that of four fifths of the meanings: 5 sigma
    # of sampling and as much again for the bins.
    assert report.nats_per_example.mean == pytest.approx(entropy, abs=10 * report.nats_per_example.standard_error)


@pytest.mark.parametrize("name", shipped_universes())
@settings(max_examples=40)
@given(index=st.integers(0, 2**40))
def test_the_floors_of_a_texts_tokens_add_up_to_its_surprisal(name: str, index: int) -> None:
    universe = UNIVERSES[name]
    example = universe.example("validation", 0, index)
    encoded = FLOORS[name].encode(example)
    nats = prompt_nats(example) + answer_nats(example)
    assert sum(encoded.floor_nats) == pytest.approx(nats, abs=TOLERANCE_NATS)
    assert surprisal_nats(universe, example.prompt, example.completion) == pytest.approx(nats, abs=TOLERANCE_NATS)


UNIVERSES = {name: Universe(load_universe(name)) for name in shipped_universes()}
FLOORS = {name: TokenFloor(universe, NANO) for name, universe in UNIVERSES.items()}


@pytest.mark.parametrize("tokenizer", [NANO, Characters()], ids=["nano", "characters"])
@pytest.mark.parametrize("name", shipped_universes())
@settings(max_examples=20)
@given(index=st.integers(0, 2**40))
def test_what_may_follow_in_a_prompt_is_a_distribution_in_which_what_follows_costs_its_floor(
    name: str, tokenizer: Any, index: int
) -> None:
    universe = Universe(load_universe(name))
    floor, example = TokenFloor(universe, tokenizer), universe.example("train", 1, index)
    encoded, nexts = floor.encode(example), floor.prompt_nexts(example)
    assert len(nexts) == encoded.prompt_tokens - 1
    for at, shares in enumerate(nexts, 1):
        if shares:
            assert math.fsum(shares.values()) == pytest.approx(1.0, abs=1e-12)
            assert -math.log(shares[encoded.ids[at]]) == pytest.approx(encoded.floor_nats[at], abs=1e-9)
    assert sum(map(bool, nexts)) > 0.5 * len(nexts)


@pytest.mark.parametrize("name", shipped_universes())
@settings(max_examples=40)
@given(index=st.integers(0, 2**40))
def test_the_border_between_prompt_and_answer_is_where_the_loss_begins(name: str, index: int) -> None:
    example = UNIVERSES[name].example("train", 0, index)
    encoded = FLOORS[name].encode(example)
    answer = encoded.floor_nats[encoded.prompt_tokens :]
    assert sum(answer) == pytest.approx(answer_nats(example), abs=TOLERANCE_NATS)
    assert {ROLES[role] for role in encoded.roles[: encoded.prompt_tokens]} == {"prompt"}
    assert "prompt" not in {ROLES[role] for role in encoded.roles[encoded.prompt_tokens :]}
    assert ROLES[encoded.roles[-1]] == "end"


def test_the_floor_of_a_consistent_answer_is_zero_and_of_formats_the_entropy_of_their_shares() -> None:
    reports = {
        name: survey(UNIVERSES[name], FLOORS[name], drawn(UNIVERSES[name], 300), tokens="answer", tokenizer="nano")
        for name in ("consistent", "formats")
    }
    assert reports["consistent"].nats_per_example.mean == 0.0
    assert reports["consistent"].ceiling.mean == 1.0
    shares = [share.share for share in UNIVERSES["formats"].spec.disorder.formats]
    assert reports["formats"].nats_per_example.mean == pytest.approx(entropy_of(shares), abs=TOLERANCE_NATS)
    assert reports["formats"].ceiling.mean == pytest.approx(max(shares), abs=TOLERANCE_NATS)
    assert reports["formats"].meaning_ceiling.mean == pytest.approx(1, abs=TOLERANCE_NATS)


def chance_that_meanings_differ() -> float:
    """Worked out by hand for `conflict`: a heavy filter, and an item whose weight lies between the meanings."""
    spec = UNIVERSES["conflict"].spec
    asks_heavy = 0.75 * (5 / 6) * (1 / 3)  # depth 2, filter rather than sort, one property of three
    between = 2 / 9  # weights 4 and 5 of 1 to 9
    return asks_heavy * sum(share * (1 - (1 - between) ** count) for count, share in spec.items.items())


def test_the_floor_of_conflict_is_its_closed_form() -> None:
    examples = drawn(UNIVERSES["conflict"], 20_000)
    report = survey(UNIVERSES["conflict"], FLOORS["conflict"], examples, tokens="answer", tokenizer="nano")
    differ = chance_that_meanings_differ()
    assert report.nats_per_example.mean == pytest.approx(
        differ * entropy_of((0.2, 0.8)), abs=4 * report.nats_per_example.standard_error
    )
    assert report.ceiling.mean == pytest.approx(1 - differ * 0.2, abs=4 * report.ceiling.standard_error)


def test_per_prompt_the_conflict_dial_costs_its_binary_entropy_exactly_where_meanings_differ() -> None:
    costs = set()
    for index in range(2000):
        example = UNIVERSES["conflict"].example("train", 0, index)
        costs.add(round(entropy_of(example.answers.values()), 9))
    assert costs == {0.0, round(entropy_of((0.2, 0.8)), 9)}


def test_dials_on_the_same_symbol_are_combined_and_not_added(make_tiny: Maker) -> None:
    universe = Universe(make_tiny(formats=True, conflict=0.5))
    for index in range(300):
        example = universe.example("train", 0, index)
        if len(example.answers) == 4:
            assert entropy_of(example.answers.values()) == pytest.approx(entropy_of((0.7, 0.3)) + math.log(2))
            return
    pytest.fail("no prompt had both dials at work")


def test_a_tokenizer_that_merges_across_a_choice_is_refused(make_tiny: Maker) -> None:
    spec = make_tiny()
    glued = replace(spec, layout=Layout(attributes=("color", "weight"), attribute="{}", name="{}"))
    merged = Tokenizer(models.WordLevel({"<end>": 0, "items": 1, "[UNK]": 2}, unk_token="[UNK]"))
    merged.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    with pytest.raises(FloorError, match=r"give|merges"):
        TokenFloor(Universe(glued), FastTokenizer(merged, 0))
    with pytest.raises(FloorError, match="R7"):
        TokenFloor(Universe(glued), Pairs())


def test_a_lossy_tokenizer_is_refused() -> None:
    lossy = Tokenizer(models.WordLevel({"<end>": 0, "[UNK]": 1}, unk_token="[UNK]"))
    lossy.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    with pytest.raises(FloorError, match="lossless"):
        TokenFloor(UNIVERSES["consistent"], FastTokenizer(lossy, 0))


class Lower(Characters):
    """A tokenizer of single characters that writes capitals small."""

    def encode(self, text: str) -> tuple[Sequence[int], Sequence[tuple[int, int]]]:
        return super().encode(text.lower())


def test_a_tokenizer_that_writes_capitals_small_is_refused_where_texts_have_capitals() -> None:
    TokenFloor(UNIVERSES["consistent"], Lower())
    with pytest.raises(FloorError, match="R7"):
        TokenFloor(UNIVERSES["wide"], Lower())


def test_two_options_or_two_answers_with_the_same_tokens_are_refused(make_tiny: Maker) -> None:
    with pytest.raises(FloorError, match=r"two options with the tokens \[1, 2\].*R7"):
        OptionTable([(1, 2), (3,), (1, 2)], [0.5, 0.25, 0.25])
    # The answer in capitals is too rare to be among the texts that are checked at first.
    spec = make_tiny()
    loud = replace(spec.answer, name="loud", before='{"RESULT":')
    shares = (FormatShare(share=1 - 1e-9, format=spec.answer), FormatShare(share=1e-9, format=loud))
    universe = Universe(replace(spec, disorder=Disorder(formats=shares)))
    floor = TokenFloor(universe, Lower())
    with pytest.raises(FloorError, match=r"two answers with the tokens.*R7"):
        floor.encode(universe.example("train", 0, 0))


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=50))
def test_the_bounds_between_loss_and_match_hold_for_every_predictor(golds: list[float]) -> None:
    # A predictor that gives the right answer probability p samples it with p, and misses greedily only if p <= 1/2.
    loss = sum(-math.log(p) for p in golds) / len(golds)
    sampled, greedy = match_bounds(loss)
    assert sum(golds) / len(golds) >= sampled - 1e-12
    assert sum(p > 0.5 for p in golds) / len(golds) >= greedy - 1e-12


def test_words_of_as_many_tokens_can_be_had_for_every_renamed_one_and_written_into_the_universe() -> None:
    universe = UNIVERSES["consistent"]
    words, share = renaming_of_equal_tokens(universe, NANO)
    assert share == 1.0 > equal_token_share(universe, NANO)
    written = replace(universe.spec, transfer=replace(universe.spec.transfer, renamed=words))
    assert equal_token_share(Universe(written), NANO) == 1.0


def test_long_answers_are_not_remembered() -> None:
    spec = load_universe("consistent")
    spec = replace(spec, catalog=replace(spec.catalog, shipped_names=(0, 200)), items={143: 1.0})
    universe = Universe(spec)
    floor = TokenFloor(universe, NANO, checked_examples=5)

    def encode(first: int) -> None:
        for index in range(first, first + 60):
            floor.encode(universe.example("train", 0, index))

    encode(0)
    tracemalloc.start()
    try:
        encode(60)
        before = tracemalloc.get_traced_memory()[0]
        encode(120)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    # An answer of a hundred names with its tokens, offsets and roles takes some 20 kB.
    assert grown < 60 * 4000
