"""The head's floor is certified: the true least loss lies in the interval, and nano's answers are not held up by it."""

import numpy as np
import pytest
from scipy.optimize import minimize

from leonids.floor import head
from leonids.floor.ball import BallProblem
from leonids.floor.base_files import find_base, read_head, read_tokenizer
from leonids.floor.head import HeadFloor, OutputHead, head_floor
from leonids.floor.tokens import TokenFloor
from leonids.spec import load_universe
from leonids.study.floors import head_report, tokenizer_of
from leonids.universe.universe import Universe


def floors(matrix: np.ndarray, gain: np.ndarray, shares: list[dict[int, float]], **more: float) -> HeadFloor:
    return head_floor(OutputHead(matrix.astype(np.float32), gain.astype(np.float32)), shares, **more)


def least_loss(matrix: np.ndarray, gain: np.ndarray, shares: dict[int, float]) -> float:
    """The least cross-entropy by a general solver, from several starts."""
    directions = matrix * gain
    d = len(gain)

    def loss(state: np.ndarray) -> float:
        logits = directions @ state
        top = logits.max()
        return float(top + np.log(np.exp(logits - top).sum()) - sum(q * logits[t] for t, q in shares.items()))

    ball = {"type": "ineq", "fun": lambda state: d - state @ state}
    starts = np.random.default_rng(1).normal(size=(4, d))
    return min(minimize(loss, start, constraints=[ball], options={"maxiter": 500}).fun for start in starts)


@pytest.mark.parametrize("seed", range(6))
def test_the_interval_holds_the_least_loss(seed: int) -> None:
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(30, 6)) * generator.uniform(0.2, 2.0)
    matrix[1] = matrix[0] + 0.01 * generator.normal(size=6)
    gain = generator.uniform(0.5, 1.5, size=6).astype(np.float32)
    matrix = matrix.astype(np.float32)
    targets = [{0: 1.0}, {7: 1.0}, {3: 0.7, 4: 0.3}, {0: 0.5, 1: 0.5}]
    found = floors(matrix, gain, targets, tolerance_nats=1e-5)
    for low, high, shares in zip(found.low, found.high, targets, strict=True):
        truth = least_loss(matrix, gain, shares)
        assert low - 1e-6 <= truth <= high + 1e-5
        assert high - low <= 1e-5


@pytest.mark.parametrize("seed", range(4))
def test_one_row_for_most_of_the_vocabulary_bounds_the_whole(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(seed)
    matrix = (0.5 * generator.normal(size=(400, 12))).astype(np.float32)
    matrix[:40] = matrix[0] + 0.05 * generator.normal(size=(40, 12))
    more = {"shift": 0.3 * generator.normal(size=12), "bias": 0.3 * generator.normal(size=400)}
    centred = OutputHead(
        matrix,
        generator.uniform(0.5, 1.5, size=12).astype(np.float32),
        centred=seed % 2 == 1,
        shift=more["shift"].astype(np.float32),
        bias=more["bias"].astype(np.float32),
        scale=1.5,
    )
    targets = [{0: 1.0}, {300: 1.0}, {0: 0.6, 300: 0.4}]
    offsets = centred.offsets()
    monkeypatch.setattr(head, "NEW_ROWS", 16)
    found = head_floor(centred, targets, tolerance_nats=1e-4)
    assert np.all(found.high - found.low <= 1e-4)
    # However early it ends, the bounds hold: they are wider.
    wide = head_floor(centred, targets, tolerance_nats=1e-4, rounds=2)
    assert np.all(wide.low <= found.high)
    assert np.all(wide.high >= found.low)
    for low, high, shares in zip(found.low, found.high, targets, strict=True):
        goal = sum(q * centred.directions(np.array([t]))[0] for t, q in shares.items())
        whole = BallProblem(rows=centred.directions(slice(None)), offsets=offsets, goal=goal, radius=centred.radius)
        truth = whole.solve(np.zeros(12), tolerance=1e-9)[1] - sum(q * offsets[t] for t, q in shares.items())
        assert low - 1e-9 <= truth <= high + 1e-9
    assert found.low[0] > 1


def test_collapsed_tokens_have_a_floor_and_separated_ones_have_none() -> None:
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(200, 64))
    collapsed = matrix.copy()
    collapsed[:4] = matrix[0] + 1e-3 * generator.normal(size=(4, 64))
    gain = np.ones(64)
    assert floors(matrix, gain, [{0: 1.0}]).high[0] < 1e-3
    # Four tokens that the head cannot tell apart: at best each gets a quarter.
    assert floors(collapsed, gain, [{0: 1.0}]).low[0] == pytest.approx(np.log(4), abs=0.1)


def test_no_state_on_the_ball_beats_the_floor() -> None:
    generator = np.random.default_rng(5)
    matrix, gain = generator.normal(size=(50, 8)), generator.uniform(0.5, 2, size=8)
    low = floors(matrix, gain, [{9: 1.0}]).low[0]
    states = generator.normal(size=(5000, 8))
    states *= np.sqrt(8) / np.linalg.norm(states, axis=1, keepdims=True)
    logits = states @ (matrix * gain).T
    losses = np.log(np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)) + logits.max(axis=1) - logits[:, 9]
    assert losses.min() >= low


@pytest.mark.parametrize("name", ["consistent", "formats", "conflict", "disorder"])
def test_the_shipped_bases_head_holds_up_no_answer_of_the_shipped_universes(name: str) -> None:
    universe = Universe(load_universe(name))
    report = head_report(universe, TokenFloor(universe, tokenizer_of("nano")), "nano")
    assert report.within_nats <= 1e-4
    assert max(report.nats.values()) < 0.01


def test_the_head_is_read_as_the_model_computes_with_it() -> None:
    found = read_head(find_base("nano"))
    vocabulary = read_tokenizer(find_base("nano")).get_vocab_size()
    assert found.weight.shape == (vocabulary, len(found.gain))


def test_the_head_s_floor_of_prompts_is_that_of_their_names() -> None:
    universe = Universe(load_universe("consistent"))
    floor = TokenFloor(universe, tokenizer_of("nano"))
    alone = head_report(universe, floor, "nano", examples=20)
    report = head_report(universe, floor, "nano", examples=20, prompts=True)
    answers = {role: nats for role, nats in report.nats.items() if role != "prompt"}
    assert answers == pytest.approx(alone.nats, abs=1e-6)
    examples = [universe.example("train", 0, index) for index in range(20)]
    nats = report.nats["prompt"] * sum(floor.encode(one).prompt_tokens - 1 for one in examples)
    names = sum(int(one.tags["items"]) for one in examples)
    # No state of the frozen head says the first of sixty equally likely names below 0.598 nats more than they cost.
    assert nats == pytest.approx(0.6 * names, rel=0.1)
