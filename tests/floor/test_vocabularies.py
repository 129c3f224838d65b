"""Floors are exact on vocabularies in use: equal to brute force over the whole tree of token prefixes."""

import math
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from leonids.floor.entropy import answer_nats, enumerated, prompt_nats
from leonids.floor.tokens import TokenFloor, Tokenizer
from leonids.spec import load_universe, shipped_universes
from leonids.universe.blueprint import Disorder, Noise, UniverseSpec
from leonids.universe.universe import Universe

sys.path.insert(0, str(Path(__file__).parent))

from vocabularies import VOCABULARIES

Maker = Callable[..., UniverseSpec]
EVERY = pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=lambda made: made.__name__)
TOLERANCE_NATS = 1e-9


@pytest.fixture(scope="module")
def written_down(make_tiny: Maker) -> tuple[Universe, dict[tuple[str, str], float]]:
    """A tiny universe with three dials, and all its texts with their probabilities."""
    spec = make_tiny(formats=True, conflict=0.2)
    universe = Universe(replace(spec, disorder=replace(spec.disorder, noise=Noise(share=0.1, numbers=(0, 3)))))
    return universe, enumerated(universe)


def tree(texts: dict[tuple[str, str], float], tokenizer: Tokenizer) -> dict[tuple[int, ...], dict[int, float]]:
    """The mass of every token after every prefix, over all texts."""
    following: dict[tuple[int, ...], dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for (prompt, completion), share in texts.items():
        ids = (*tokenizer.encode(prompt)[0], *tokenizer.encode(completion)[0], tokenizer.end_id)
        for i, token in enumerate(ids):
            following[ids[:i]][token] += share
    return following


@EVERY
def test_the_floor_of_every_token_equals_brute_force(
    written_down: tuple[Universe, dict[tuple[str, str], float]], vocabulary: Callable[[], Tokenizer]
) -> None:
    universe, tokenizer = written_down[0], vocabulary()
    following = tree(written_down[1], tokenizer)
    mass = {prefix: math.fsum(tokens.values()) for prefix, tokens in following.items()}
    assert mass[()] == pytest.approx(1, abs=TOLERANCE_NATS)
    for prefix, tokens in following.items():
        if prefix:
            assert mass[prefix] == pytest.approx(following[prefix[:-1]][prefix[-1]], abs=TOLERANCE_NATS)
        assert all(share > 0 for share in tokens.values())
    floor = TokenFloor(universe, tokenizer)
    for index in range(300):
        encoded = floor.encode(universe.example("train", 0, index))
        ids = tuple(encoded.ids[1:])
        expected = [-math.log(following[ids[:i]][ids[i]] / mass[ids[:i]]) for i in range(len(ids))]
        assert encoded.floor_nats[1:] == pytest.approx(expected, abs=TOLERANCE_NATS)


@EVERY
@pytest.mark.parametrize("name", shipped_universes())
def test_the_shipped_universes_have_exact_floors_on_vocabularies_in_use(
    name: str, vocabulary: Callable[[], Tokenizer]
) -> None:
    universe = Universe(load_universe(name))
    floor = TokenFloor(universe, vocabulary(), checked_examples=40)
    for split in ("train", *universe.transfer_splits()):
        for index in range(40):
            example = universe.example(split, 1, index)
            encoded = floor.encode(example)
            tokens = (*vocabulary().encode(example.prompt)[0], *vocabulary().encode(example.completion)[0])
            assert encoded.ids[1:-1] == list(tokens)
            nats = prompt_nats(example) + answer_nats(example)
            assert math.fsum(encoded.floor_nats) == pytest.approx(nats, abs=TOLERANCE_NATS)
            assert min(encoded.floor_nats) >= 0


def test_key_order_and_noise_are_paid_for_by_the_tokens_that_show_them() -> None:
    spec = replace(load_universe("wide"), disorder=Disorder(key_order=True, noise=Noise(share=0.1, numbers=(0, 3))))
    universe = Universe(spec)
    for vocabulary in VOCABULARIES:
        floor = TokenFloor(universe, vocabulary(), checked_examples=10)
        for index in range(150):
            example = universe.example("train", 0, index)
            encoded = floor.encode(example)
            answer = encoded.floor_nats[encoded.prompt_tokens :]
            assert math.fsum(answer) == pytest.approx(answer_nats(example), abs=TOLERANCE_NATS)
            assert all(t in encoded.nexts or cost == 0 for t, cost in enumerate(answer, encoded.prompt_tokens))
