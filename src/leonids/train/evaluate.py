"""Held-out examples: match by one teacher-forced pass, audited by real generation.

Greedy decoding gives the gold answer exactly when the most probable token is the gold token at every answer
position, the end token included (induction on the prefix). So one forward pass measures match. It holds for
the same arithmetic only; ``audit`` counts how often generation disagrees.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, final

import torch
from torch import Tensor
from transformers import GenerationConfig

from leonids.digest import Json
from leonids.records import ROLES, LossScope
from leonids.stats.intervals import Interval, binomial_interval
from leonids.train.bases import Base, in_float32
from leonids.train.batches import collate, in_passes
from leonids.train.bodies import Body
from leonids.train.data import Row, Stream
from leonids.train.probe import Totals, add_totals, observe, totals_of
from leonids.train.scoring import Head
from leonids.train.stacked import Chunk

AUDITED = 32
"""Examples of a review whose answers are generated as well."""

MAX_DISAGREEMENT = 0.01
"""Above this share of disagreements (lower bound of the interval) teacher-forced match is not called match."""

DOUBTED = "generation disagrees with the teacher-forced pass"

UNFINISHED = "\ufffd"
"""What a tokenizer gives for bytes that are no whole character yet."""

AUDIT_LEVEL = 0.95
SPARE_TOKENS = 8


class Adapters(Protocol):
    """What sits on a base: the adapters of a stack, of which a chunk is active at a time, or one of PEFT's own."""

    def active(self, chunk: Chunk | None, *, keep: bool = False) -> AbstractContextManager[None]:
        """Let the base's forward use the adapters of ``chunk``."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Engine:
    """What a forward pass needs: the base, its head, the adapters on it, padded tokens a pass."""

    base: Base
    body: Body
    head: Head
    adapters: Adapters
    tokens: int


@final
@dataclass(frozen=True, slots=True)
class HeldOut:
    """The same number of held-out rows for each adapter of a chunk, and the scope of its loss."""

    split: str
    rows: Sequence[Sequence[Row]]
    scopes: Sequence[LossScope]


@final
@dataclass(frozen=True, slots=True)
class Found:
    """What one adapter did on one example.

    ``said`` has a row for each answer token: the likeliest token after the right ones before it, that token's
    probability, and the probability of the right one.
    """

    row: Row
    totals: Totals
    said: list[list[float]]


def held_out(streams: Sequence[Stream], scopes: Sequence[LossScope], *, split: str, first: int, n: int) -> HeldOut:
    """Return examples ``first`` to ``first + n`` of a split for each adapter."""
    rows = [[stream.row(split, index) for index in range(first, first + n)] for stream in streams]
    return HeldOut(split, rows, scopes)


def teacher_forced(engine: Engine, chunk: Chunk | None, held: HeldOut) -> list[list[Found]]:
    """Return what each adapter of a chunk does on each of its rows, in the rows' order."""
    count, adapters = len(held.rows[0]), len(held.rows)
    ids = [[row.tokens.ids[:-1] for row in rows] for rows in held.rows]
    order: list[tuple[int, int]] = []
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    with torch.no_grad(), engine.adapters.active(chunk, keep=True):
        for places in in_passes(ids, tokens=max(1, engine.tokens // adapters)):
            batch = collate(
                [
                    [(rows[at].tokens, scope) for at in places]
                    for rows, scope in zip(held.rows, held.scopes, strict=True)
                ],
                pad_id=engine.base.eos_id,
                device=engine.base.device,
            )
            scores = engine.head.score(engine.body.states(batch), batch.gold)
            groups = torch.arange(batch.size, device=batch.ids.device)
            sums = observe(scores, batch, groups=groups, count=batch.size)
            said = torch.stack((scores.best.double(), scores.top.double(), torch.exp(-scores.nats.double())), dim=1)
            parts.append((sums.columns, sums.matched, said))
            order += [(slot, at) for slot in range(adapters) for at in places]
    # The only moment of a review at which the host waits for the device.
    columns, matched, spoken = (torch.cat(column).tolist() for column in zip(*parts, strict=True))
    found: list[dict[int, Found]] = [{} for _ in held.rows]
    first = 0
    for number, (slot, at) in enumerate(order):
        row = held.rows[slot][at]
        first += row.tokens.prompt_tokens - 1 if held.scopes[slot] == "all" else 0
        last = first + len(row.tokens.ids) - row.tokens.prompt_tokens
        totals = totals_of(columns[number], matched=matched[number], examples=1)
        found[slot][at] = Found(row, totals, spoken[first:last])
        first = last
    return [[own[at] for at in range(count)] for own in found]


def generate(engine: Engine, chunk: Chunk | None, rows: Sequence[Sequence[Row]]) -> list[list[list[int]]]:
    """Return the greedy answers (token ids up to and with the end token) of each adapter to its rows' prompts."""
    flat = [row for own in rows for row in own]
    prompts = [row.tokens.ids[: row.tokens.prompt_tokens] for row in flat]
    room = max(len(row.tokens.ids) - row.tokens.prompt_tokens for row in flat) + SPARE_TOKENS
    width, end = max(len(prompt) for prompt in prompts), engine.base.eos_id
    ids = torch.tensor([[end] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    model, device = engine.base.model, engine.base.device
    with torch.no_grad(), engine.adapters.active(chunk, keep=True):
        out: Tensor = model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            generation_config=greedy(end=end, room=room),
        )
    answers = [until(answer, end) for answer in out[:, width:].tolist()]
    size = len(rows[0])
    return [answers[slot * size : (slot + 1) * size] for slot in range(len(rows))]


def greedy(*, end: int, room: int) -> GenerationConfig:
    """Return plain greedy decoding: a base's own penalties and sampling would be another measurement."""
    return GenerationConfig(
        do_sample=False, num_beams=1, max_new_tokens=room, eos_token_id=end, pad_token_id=end, repetition_penalty=1.0
    )


def until(ids: Sequence[int], end: int) -> list[int]:
    """Return ``ids`` up to and with the first ``end``.

    >>> until([5, 7, 0, 0], 0)
    [5, 7, 0]
    """
    taken = list(ids)
    return taken[: taken.index(end) + 1] if end in taken else taken


def audit(engine: Engine, stream: Stream, found: Sequence[Found], answers: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Compare generated answers with teacher-forced match, and judge their text; adds text metrics to ``found``."""
    disagreements = 0
    for one, answer in zip(found, answers, strict=True):
        tokens = one.row.tokens
        same = list(answer) == list(tokens.ids[tokens.prompt_tokens :])
        disagreements += same != bool(one.totals["match"]["example"][0])
        formatted, right = stream.marks(one.row.example, engine.base.decode(list(answer)).strip())
        finished = bool(answer) and answer[-1] == engine.base.eos_id
        one.totals["format_match"] = {"example": [int(finished and formatted), 1]}
        one.totals["meaning_match"] = {"example": [int(finished and right), 1]}
    interval = binomial_interval(disagreements, len(found), level=AUDIT_LEVEL)
    low, high = (interval.low, interval.high) if isinstance(interval, Interval) else (0.0, 1.0)
    return {
        "n": len(found),
        "disagreements": disagreements,
        "low": low,
        "high": high,
        "level": AUDIT_LEVEL,
        "match_stands": low <= MAX_DISAGREEMENT,
    }


def answer_of(base: Base, one: Found) -> dict[str, Json]:
    """Return an example's answer token by token, as its review line holds it; every list has one entry a token.

    ``gold`` are the right tokens' texts, which add up to the answer (the end token's is empty), ``said`` the text of
    the likeliest token where that is another one, else None. ``roles`` is a text, the first letter of each role.
    """
    ids = list(one.row.tokens.ids[one.row.tokens.prompt_tokens :])
    whole = [""]
    gold: list[Json] = []
    said: list[Json] = []
    for at, (best, *_) in enumerate(one.said):
        # A character whose bytes are spread over tokens belongs to the last of them.
        whole.append(base.decode(ids[: at + 1]).rstrip(UNFINISHED))
        gold.append(whole[-1][len(whole[-2]) :])
        other = None if best == ids[at] else base.decode([*ids[:at], int(best)])
        said.append(None if other is None else other[len(whole[-2]) :])
    return {
        "gold": gold,
        "said": said,
        "confidence": [round(top, 6) for _, top, _ in one.said],
        "gold_confidence": [round(right, 6) for _, _, right in one.said],
        "roles": "".join(ROLES[role][0] for role in one.row.tokens.roles[one.row.tokens.prompt_tokens :]),
    }


def review_lines(
    base: Base,
    found: Sequence[Found],
    answers: Sequence[Sequence[int]],
    audited: dict[str, Any],
    *,
    step: int,
    split: str,
) -> list[dict[str, Any]]:
    """Return the lines of one run's review: an observation an example, then the pooled review.

    ``answers`` are the generated ones of the first examples, whose lines hold their text as well. Match is left
    out, with the reason, where the audit does not let it stand.
    """
    stands = bool(audited["match_stands"])
    lines: list[dict[str, Any]] = []
    for at, one in enumerate(found):
        if not stands:
            one.totals.pop("match", None)
        line: dict[str, Any] = {
            "kind": "observation",
            "step": step,
            "split": split,
            "index": one.row.example.index,
            "tags": dict(one.row.example.tags),
            "metrics": one.totals,
            "answer": answer_of(base, one),
        }
        if at < len(answers):
            line["generated"] = base.decode(list(answers[at]))
        lines.append(line if stands else {**line, "absent": {"match": DOUBTED}})
    pooled = add_totals([one.totals for one in found])
    head = {"kind": "review", "step": step, "split": split, "n": len(found)}
    return [*lines, {**head, "metrics": pooled, "audit": audited}]


def review(
    engine: Engine, chunk: Chunk | None, streams: Sequence[Stream], held: HeldOut, *, step: int
) -> list[list[dict[str, Any]]]:
    """Return the review lines of each adapter of a chunk on ``held``."""
    with in_float32(engine.base.model) as wide:
        found = teacher_forced(engine, chunk, held)
        answers = generate(engine, chunk, [rows[:AUDITED] for rows in held.rows])
    lines: list[list[dict[str, Any]]] = []
    for stream, own, given in zip(streams, found, answers, strict=True):
        audited = {**audit(engine, stream, own[: len(given)], given), "exact_arithmetic": wide}
        if passed := stream.passed_over(held.split, len(own)):
            audited["passed_over"] = dict(passed)
        lines.append(review_lines(engine.base, own, given, audited, step=step, split=held.split))
    return lines
