"""What makes a floor credible: no compressor beats it, it codes texts back, learners approach it, faults show."""

import bz2
import lzma
import math
import random
import zlib
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pyppmd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import power_divergence

from leonids.digest import keyed_random
from leonids.errors import SpecError
from leonids.floor.entropy import answer_nats, prompt_nats, surprisal_nats
from leonids.floor.tokens import Encoded, TokenFloor
from leonids.records import Example
from leonids.spec import load_universe, shipped_universes
from leonids.stats.families import holm, step_down
from leonids.study.floors import tokenizer_of
from leonids.universe.chance import Sample, Site
from leonids.universe.others import other_universe
from leonids.universe.universe import Universe

UNIVERSES = {name: Universe(load_universe(name)) for name in shipped_universes()}
COMPRESSORS: tuple[Callable[[bytes], bytes], ...] = (
    lzma.compress,
    bz2.compress,
    lambda data: zlib.compress(data, 9),
    *(lambda data, order=order: pyppmd.compress(data, max_order=order, mem_size=1 << 24) for order in (4, 6, 10)),
)
INDEXES = st.integers(0, 2**40)


# --- checks; each is also turned on a planted fault further down


def below_floor(examples: Sequence[Example]) -> bool:
    """Whether some compressor needs less than the floor says is needed."""
    data = "".join(example.prompt + example.completion for example in examples).encode()
    least_bits = 8 * min(len(compress(data)) for compress in COMPRESSORS)
    return least_bits * math.log(2) < math.fsum(prompt_nats(e) + answer_nats(e) for e in examples)


def derivations_of(universe: Universe, example: Example) -> int:
    """How many ways the universe has to write a prompt."""
    return len(universe.parse_prompt(example.prompt))


class Counted:
    """Draws as ``Sample`` does and counts what came out of each site; ``bias`` is a site that favours its first option.

    Options that were not on offer are left out: what is counted is an option's rank among those that were.
    """

    def __init__(self, *, bias: str | None = None, strength: float = 0.0) -> None:
        self.counts: dict[tuple[str, tuple[float, ...], int | tuple[int, ...]], Counter[int]] = defaultdict(Counter)
        self._bias, self._strength = bias, strength

    def draw(self, universe: Universe, index: int) -> int:
        """Draw an example and return of how many choices."""
        self._generator = keyed_random("g-test", index)
        self._sample = Sample(self._generator)
        self._drawn = 0
        task = universe.draw_task(self)
        universe.answers.write(self, task, run=0)
        return self._drawn

    def choose(self, at: Site, without: tuple[int, ...] = ()) -> int:
        return self._count(at, self._sample.choose(at, without), without)

    def latent(self, at: Site) -> int:
        return self._count(at, self._sample.latent(at), ())

    def lit(self, text: str) -> None:
        self._sample.lit(text)

    def _count(self, at: Site, option: int, without: tuple[int, ...]) -> int:
        if at.name == self._bias and self._generator.random() < self._strength:
            option = 0
        self._drawn += 1
        place = len(without) if at.even else without
        rank = option - bisect_left(without, option)
        self.counts[at.name, at.weights, place][rank] += 1
        return option


def biased_sites(universe: Universe, *, choices: int, family: float, **planted: Any) -> tuple[list[str], int, int]:
    """The sites whose choices do not follow their weights by a G-test, the number of sites tested, and of choices."""
    counted, drawn, index = Counted(**planted), 0, 0
    while drawn < choices:
        drawn += counted.draw(universe, index)
        index += 1
    names, values = [], []
    for (name, weights, place), found in counted.counts.items():
        left_out = range(place) if isinstance(place, int) else place
        kept = [w for i, w in enumerate(weights) if i not in left_out]
        total = found.total()
        if len(kept) > 1 and total > 50 * len(kept):
            expected = [w / math.fsum(kept) * total for w in kept]
            names.append(name)
            values.append(
                power_divergence([found[i] for i in range(len(kept))], expected, lambda_="log-likelihood").pvalue
            )
    decided = step_down(holm(len(values)), decides=lambda i, share: values[i] < family * share)
    return [name for name, decision in zip(names, decided, strict=True) if decision.rejected], len(values), drawn


def misread(universe: Universe, *, n: int) -> list[int]:
    """Which of the first examples do not read back in one way, at the nats that were recorded."""
    found = []
    for index in range(n):
        example = universe.example("train", 2, index)
        scored = surprisal_nats(universe, example.prompt, example.completion, run=2)
        recorded = prompt_nats(example) + answer_nats(example)
        if derivations_of(universe, example) != 1 or not math.isclose(scored, recorded, rel_tol=0, abs_tol=1e-9):
            found.append(index)
    return found


def shared(stream: Callable[[int, int], str], *, n: int = 200) -> int:
    """How many texts two neighbouring seeds have in common."""
    return len({stream(0, i) for i in range(n)} & {stream(1, i) for i in range(n)})


def border_holds(example: Example, encoded: Encoded) -> bool:
    """Whether the answer's tokens cost what the answer costs."""
    return math.isclose(
        math.fsum(encoded.floor_nats[encoded.prompt_tokens :]), answer_nats(example), rel_tol=1e-9, abs_tol=1e-9
    )


# --- what holds


@pytest.mark.parametrize("name", sorted(UNIVERSES))
def test_no_compressor_beats_the_floor(name: str) -> None:
    assert not below_floor([UNIVERSES[name].example("train", 0, index) for index in range(600)])


def shares_of(at: Site, without: tuple[int, ...]) -> dict[int, Fraction]:
    kept = {i: Fraction(weight) for i, weight in enumerate(at.weights) if i not in without}
    whole = sum(kept.values())
    return {i: weight / whole for i, weight in kept.items()}


class Decoder:
    """Reads choices out of a number in [0, 1): the universe's program run backwards from a code."""

    def __init__(self, point: Fraction) -> None:
        self._point = point

    def choose(self, at: Site, without: tuple[int, ...] = ()) -> int:
        for option, share in shares_of(at, without).items():
            if self._point < share:
                self._point /= share
                return option
            self._point -= share
        raise AssertionError("the point lies beyond all options")

    def lit(self, text: str) -> None:
        pass

    def latent(self, at: Site) -> int:
        return self.choose(at)


def narrowed(low: Fraction, width: Fraction, shares: dict[int, Fraction], option: int) -> tuple[Fraction, Fraction]:
    """The part of an interval that an option takes."""
    return low + width * sum(share for other, share in shares.items() if other < option), width * shares[option]


@pytest.mark.parametrize("name", sorted(UNIVERSES))
@settings(max_examples=15)
@given(index=INDEXES)
def test_a_text_is_coded_in_its_floor_and_two_bits_and_decoded_from_them(name: str, index: int) -> None:
    universe = UNIVERSES[name]
    example = universe.example("test", 0, index)
    sites = {at.name: at for at in universe.sites()}
    low, width = Fraction(0), Fraction(1)
    for at, emission in enumerate(example.trace):
        if emission.site is not None:
            before = [one.option for one in example.trace[:at] if one.site == emission.site]
            assert emission.gone in (0, len(before))
            shares = shares_of(sites[emission.site], tuple(before[: emission.gone]))
            low, width = narrowed(low, width, shares, emission.option)
    answers = Site("answer", tuple(example.answers), tuple(example.answers.values()))
    low, width = narrowed(low, width, shares_of(answers, ()), answers.options.index(example.completion))
    bits = math.ceil((prompt_nats(example) + answer_nats(example)) / math.log(2) - 1e-6) + 1
    code = math.ceil(low * 2**bits)
    assert Fraction(code, 2**bits) < low + width
    decoder = Decoder(Fraction(code, 2**bits))
    task = universe.draw_task(decoder)
    possible = universe.answers.dictionary(task, run=0)
    answer = Site("answer", tuple(possible), tuple(possible.values()))
    assert task.meaning == example.meaning
    assert answer.options[decoder.choose(answer)] == example.completion


def test_an_ideal_learners_excess_grows_by_half_a_nat_for_each_free_probability_and_e_fold() -> None:
    # Krichevsky and Trofimov's estimator at each site: its regret is (options - 1) / 2 a e-fold of examples.
    universe, early, late = UNIVERSES["consistent"], 400, 6400
    sites = {at.name: at for at in universe.sites() if min(at.weights) > 0.02 and 1 < len(at.options) < 30}
    counts: dict[str, list[float]] = defaultdict(list)
    excess, at_early = 0.0, 0.0
    for index in range(late):
        chance = Sample(keyed_random("learner", index))
        universe.draw_task(chance)
        for emission in chance.emissions:
            if emission.site in sites:
                found = counts.setdefault(emission.site, [0.5] * len(sites[emission.site].options))
                excess += math.log(sum(found) / found[emission.option]) - emission.nats
                found[emission.option] += 1
        at_early = excess if index + 1 == early else at_early
    free = sum(len(at.options) - 1 for at in sites.values())
    # The regret is a chi-squared variable over 2: its standard deviation is that of free / 2 degrees of freedom.
    assert excess - at_early == pytest.approx(free / 2 * math.log(late / early), abs=3 * math.sqrt(free / 2))


@settings(max_examples=40)
@given(index=st.integers(0, 3000), at=INDEXES)
def test_what_is_read_back_from_a_random_universe_costs_what_writing_it_cost(index: int, at: int) -> None:
    universe = Universe(other_universe(11, index))
    example = universe.example("validation", 0, at)
    (found,) = universe.parse_prompt(example.prompt)
    assert found[0].meaning == example.meaning
    assert found[1] == pytest.approx(prompt_nats(example), abs=1e-9)


@pytest.mark.parametrize("name", sorted(UNIVERSES))
def test_a_text_is_read_in_one_way_at_the_nats_it_was_written_at(name: str) -> None:
    assert misread(UNIVERSES[name], n=300) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(UNIVERSES))
def test_each_of_1e5_texts_is_read_in_one_way_at_the_nats_it_was_written_at(name: str) -> None:
    assert misread(UNIVERSES[name], n=100_000) == []


@pytest.mark.parametrize("name", sorted(UNIVERSES))
def test_choices_are_drawn_at_their_weights(name: str) -> None:
    # A true universe fails once in ten thousand sets of draws; the draws are fixed.
    found, tested, _ = biased_sites(UNIVERSES[name], choices=70_000, family=1e-4)
    assert found == []
    assert tested >= 7


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(UNIVERSES))
def test_a_million_choices_are_drawn_at_their_weights(name: str) -> None:
    found, tested, drawn = biased_sites(UNIVERSES[name], choices=1_000_000, family=1e-3)
    print(f"{name}: {tested} sites tested, {drawn} choices")
    assert found == []
    assert tested >= 11


# --- what is planted is found


def test_a_repeated_stream_falls_below_the_floor() -> None:
    few = [UNIVERSES["consistent"].example("train", 0, index) for index in range(60)]
    assert below_floor(few * 10)


def test_an_ambiguous_wording_has_two_derivations() -> None:
    spec = load_universe("consistent")
    doubled = Universe(replace(spec, wording={**spec.wording, "count": "sort by weight, then list the names"}))
    examples = [doubled.example("train", 0, index) for index in range(300)]
    assert max(derivations_of(doubled, example) for example in examples) == 2
    assert {
        derivations_of(UNIVERSES["consistent"], UNIVERSES["consistent"].example("train", 0, i)) for i in range(99)
    } == {1}


@pytest.mark.parametrize(
    ("choices", "strength"), [(70_000, 0.05), pytest.param(1_000_000, 0.01, marks=pytest.mark.slow)]
)
def test_a_biased_site_fails_the_g_test_and_no_other_does(choices: int, strength: float) -> None:
    # One colour of four takes 1 % of the draws of the others: of 200,000, G is about 60 on 3 degrees of freedom.
    # At the smaller size it takes 5 %: of 14,000, G is about 100.
    universe = UNIVERSES["consistent"]
    found, _, _ = biased_sites(universe, choices=choices, family=1e-4, bias="value.color", strength=strength)
    assert found == ["value.color"]


def test_seeds_that_are_added_to_the_index_share_their_examples() -> None:
    universe = UNIVERSES["consistent"]

    def added(seed: int, index: int) -> str:
        chance = Sample(random.Random(seed + index))
        universe.draw_task(chance)
        return "".join(emission.text for emission in chance.emissions)

    assert shared(added) == 199
    assert shared(lambda seed, index: universe.example("train", seed, index).prompt) == 0


def test_a_border_off_by_one_moves_the_floor() -> None:
    universe = UNIVERSES["formats"]
    floor = TokenFloor(universe, tokenizer_of("nano"))
    moved = []
    for index in range(50):
        example = universe.example("train", 0, index)
        encoded = floor.encode(example)
        assert border_holds(example, encoded)
        moved.append(border_holds(example, replace(encoded, prompt_tokens=encoded.prompt_tokens + 1)))
    assert not all(moved)


def test_weights_that_do_not_sum_to_one_are_refused_by_the_rule() -> None:
    with pytest.raises(SpecError, match="R5"):
        Site("planted", (" a", " b"), (0.5, 0.6))
