"""Promises of reviews: match without generation is match by generation, and batch size changes nothing."""

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from leonids.spec import RunSpec
from leonids.train import evaluate, native
from leonids.train.evaluate import audit, generate, held_out, review_lines, teacher_forced
from leonids.train.native import Training, deterministic

MakeRun = Callable[..., RunSpec]


@pytest.fixture(scope="module")
def trained(run_spec: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A pass trained far enough to get short answers right now and then."""
    out: Path = tmp_path_factory.mktemp("trained")
    more = {"steps": 60, "batch_size": 16, "lr": 2e-2, "reviews": ()}
    runs = [run_spec("a", rank=16, **more), run_spec("b", rank=8, init_seed=1, loss_on="all", **more)]
    with ExitStack() as opened, deterministic(), pytest.MonkeyPatch.context() as patch:
        # Both in one chunk, whatever would be faster: adapters of different scopes must not disturb each other.
        patch.setattr(native, "room_for", lambda *_, **__: native.Room(2, 16, 2000, mixed=True))
        training = Training(runs, out=out, resume=False, opened=opened)
        for _ in range(60):
            training._step()
        yield training


def parts(training: Training, n: int) -> Any:
    (chunk,) = training.stack.chunks
    scopes = [training.runs[e].loss_on for e in chunk.members]
    streams = [training.streams[e] for e in chunk.members]
    return chunk, streams, held_out(streams, scopes, split="validation", first=0, n=n)


def test_evaluation_does_not_depend_on_its_batch_size(trained: Training) -> None:
    chunk, _, held = parts(trained, 32)
    results = []
    for tokens in (1, 200, 1000, 1 << 20):
        engine = dataclasses.replace(trained.engine, tokens=tokens)
        results.append([one.totals for own in teacher_forced(engine, chunk, held) for one in own])
    for other in results[1:]:
        for first, second in zip(results[0], other, strict=True):
            assert first["match"] == second["match"]
            assert first["loss"].keys() == second["loss"].keys()
            for role, (total, count) in first["loss"].items():
                assert second["loss"][role] == pytest.approx([total, count], abs=1e-4)


def test_teacher_forced_match_is_match_by_generation(trained: Training) -> None:
    chunk, streams, held = parts(trained, 200)
    found = teacher_forced(trained.engine, chunk, held)
    answers = generate(trained.engine, chunk, held.rows)
    right = 0
    for stream, own, given in zip(streams, found, answers, strict=True):
        audited = audit(trained.engine, stream, own, given)
        assert audited["disagreements"] == 0
        assert audited["match_stands"]
        for one in own:
            match, meaning = (one.totals[name]["example"][0] for name in ("match", "meaning_match"))
            assert match <= meaning <= one.totals["format_match"]["example"][0]
            right += match
    # A comparison of zeros alone would show nothing.
    assert 0 < right < 400


def test_match_is_withheld_where_generation_disagrees(trained: Training) -> None:
    chunk, streams, held = parts(trained, 40)
    own = teacher_forced(trained.engine, chunk, held)[0]
    gold = [list(one.row.tokens.ids[one.row.tokens.prompt_tokens :]) for one in own]
    flipped = [[] if one.totals["match"]["example"][0] else answer for one, answer in zip(own, gold, strict=True)]
    audited = audit(trained.engine, streams[0], own, flipped)
    assert audited["disagreements"] == 40
    assert not audited["match_stands"]
    lines = review_lines(own, audited, step=1, split="validation")
    assert all("match" not in line["metrics"] for line in lines)
    assert all(line["absent"] == {"match": evaluate.DOUBTED} for line in lines[:-1])


def test_generation_ignores_the_bases_own_penalties(trained: Training) -> None:
    chunk, _, held = parts(trained, 8)
    plain = generate(trained.engine, chunk, held.rows)
    config = trained.engine.base.model.generation_config
    config.repetition_penalty, config.do_sample, config.temperature = 3.0, True, 5.0
    torch.manual_seed(0)
    try:
        assert generate(trained.engine, chunk, held.rows) == plain
    finally:
        config.repetition_penalty, config.do_sample, config.temperature = 1.0, False, 1.0


def test_a_bfloat16_base_is_reviewed_in_float32_and_keeps_its_bits(run_spec: MakeRun, tmp_path: Path) -> None:
    runs = [run_spec("a", dtype="bfloat16", steps=4, reviews=(0, 4), review_examples=40, checkpoint_every=4)]
    with ExitStack() as opened, deterministic():
        training = Training(runs, out=tmp_path, resume=False, opened=opened)
        model = training.engine.base.model
        before = {name: parameter.clone() for name, parameter in model.named_parameters()}
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        for _ in range(4):
            training._step()
        chunk, streams, held = parts(training, 40)
        (lines,) = evaluate.review(training.engine, chunk, streams, held, step=4)
        assert model.dtype == torch.bfloat16
        assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
        assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())
    assert lines[-1]["audit"]["exact_arithmetic"]
    assert lines[-1]["audit"]["disagreements"] == 0
    assert training.stack.chunks[0].params.dtype == torch.float32
