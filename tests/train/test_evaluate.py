"""Promises of reviews: match without generation is match by generation, and batch size changes nothing."""

import dataclasses
import math
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from leonids.spec import RunSpec
from leonids.train import evaluate, native
from leonids.train.batches import bucketed
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
    longest = bucketed(max(len(row.tokens.ids) for rows in held.rows for row in rows))
    for size in (1, 2, 8, 32):
        # Room for this many examples of each adapter at the longest one's length.
        engine = dataclasses.replace(trained.engine, tokens=size * longest * len(held.rows))
        results.append([one.totals for own in teacher_forced(engine, chunk, held) for one in own])

    def reported(found: list[Any]) -> float:
        cells = [cell for one in found for cell in one["loss"].values()]
        return float(sum(total for total, _ in cells) / sum(count for _, count in cells))

    for other in results[1:]:
        # Nats a token; what remains is the rounding of float32 products of other shapes.
        assert reported(other) == pytest.approx(reported(results[0]), abs=1e-6)
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


def test_a_reviewed_example_holds_its_answer_token_by_token(trained: Training) -> None:
    chunk, streams, held = parts(trained, 40)
    reviewed = evaluate.review(trained.engine, chunk, streams, held, step=60)
    generated = generate(trained.engine, chunk, [rows[: evaluate.AUDITED] for rows in held.rows])
    right = 0
    for rows, lines, answers in zip(held.rows, reviewed, generated, strict=True):
        for at, (row, line) in enumerate(zip(rows, lines[:-1], strict=True)):
            answer = line["answer"]
            assert "".join(answer["gold"]) == row.example.completion
            assert {len(column) for column in answer.values()} == {len(row.tokens.ids) - row.tokens.prompt_tokens}
            counts = {role: count for role, (_, count) in line["metrics"]["loss"].items() if role != "prompt"}
            assert {role: answer["roles"].count(role[0]) for role in counts} == counts
            loss = sum(total for role, (total, _) in line["metrics"]["loss"].items() if role != "prompt")
            # Probabilities are rounded to six digits: one of p is off by 5e-7 / p nats, of which p > 1e-3 is compared.
            if min(answer["gold_confidence"]) > 1e-3:
                assert loss == pytest.approx(-sum(map(math.log, answer["gold_confidence"])), abs=0.02)
            for said, top, gold in zip(answer["said"], answer["confidence"], answer["gold_confidence"], strict=True):
                assert abs(top - gold) < 2e-6 if said is None else top > gold - 2e-6
            matched = line["metrics"]["match"]["example"][0]
            assert matched == all(said is None for said in answer["said"])
            right += matched
            assert ("generated" in line) == (at < evaluate.AUDITED)
            if at < evaluate.AUDITED:
                assert line["generated"] == trained.engine.base.decode(answers[at])
                assert not matched or line["generated"] == row.example.completion
    assert 0 < right < 80


def test_a_character_spread_over_tokens_belongs_to_the_last_of_them(trained: Training) -> None:
    base = trained.engine.base
    row = trained.streams[0].row("validation", 0)
    text = "x€y"
    ids = [*base.encode(text), base.eos_id]
    tokens = dataclasses.replace(row.tokens, ids=ids, prompt_tokens=0)
    said = [[float(token), 1.0, 1.0] for token in ids]
    answer = evaluate.answer_of(base, evaluate.Found(dataclasses.replace(row, tokens=tokens), {}, said))
    assert len(ids) > len(text) + 1
    assert "".join(answer["gold"]) == text
    assert answer["said"] == [None] * len(ids)


def test_match_is_withheld_where_generation_disagrees(trained: Training) -> None:
    chunk, streams, held = parts(trained, 40)
    own = teacher_forced(trained.engine, chunk, held)[0]
    gold = [list(one.row.tokens.ids[one.row.tokens.prompt_tokens :]) for one in own]
    flipped = [[] if one.totals["match"]["example"][0] else answer for one, answer in zip(own, gold, strict=True)]
    audited = audit(trained.engine, streams[0], own, flipped)
    assert audited["disagreements"] == 40
    assert not audited["match_stands"]
    lines = review_lines(trained.engine.base, own, [], audited, step=1, split="validation")
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
