"""Where a run's loss comes from: the first screen, for one run at one review.

Everything is measured on the held-out examples of that review, with floors paired on the same tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np

from leonids.errors import UsageError
from leonids.floor.oracle import match_bounds
from leonids.ledger.lines import LEDGER
from leonids.records import LossScope
from leonids.report.anatomy import SHORT, Anatomy, Floors, Part, anatomy, head_reason, in_short, mean
from leonids.report.numbers import Known, Missing, Value, adding_up, interval, nats, percent, ratio, share
from leonids.report.phases import Phase, Standing, ladder_of, phase_of, standing_of
from leonids.report.reliability import Reliability, reliability
from leonids.report.transfer import Moved, moved, moved_lines
from leonids.spec import RunSpec
from leonids.study.cases import Case, cases_of
from leonids.study.folder import StudyFolder
from leonids.study.streams import Table

SPLIT = "validation"

CONFIDENT_TOKENS = ("decided", "answer")
"""Whose confidence is shown: of the tokens that have to be worked out; of all answer tokens where roles are unknown."""


@final
@dataclass(frozen=True, slots=True)
class Bounds:
    """What an answer loss in nats per example says of match in a consistent universe: at least ``greedy``."""

    answer_nats: Value
    sampled: float
    greedy: float


@final
@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a run's loss comes from at one review. What is not known is a ``Missing`` with its reason.

    ``ceiling`` is the best expected match under the universe; ``step`` is None before the first review; ``foreign``
    says that the data are not LEO's. ``cases`` are the matches by the examples' tags, where they have any;
    ``transfer`` is there at the last review alone.
    """

    run: str
    arm: str
    loss_on: LossScope
    step: int | None
    planned_steps: int
    done_steps: int
    split: str
    n: int
    all: Anatomy | Missing
    answer: Anatomy | Missing
    match: Known
    ceiling: Known
    confident_tokens: str
    confidence_right: Known
    confidence_wrong: Known
    phase: Phase | Missing
    bounds: Bounds | Missing
    ladder: Standing | Missing
    reliability: Reliability | Missing
    cases: tuple[Case, ...]
    head_unknown: str
    foreign: bool
    wall_s: float
    transfer: tuple[Moved, ...] = ()


def located(path: Path) -> tuple[Path, str]:
    """Return the study's folder that ``path`` is, or lies in, and the name of its folder there (empty for none).

    Raises ``UsageError`` for a path outside of any, saying what reads other files.
    """
    if (path / LEDGER).is_file():
        return path, ""
    for folder in path.resolve().parents:
        if path.exists() and (folder / LEDGER).is_file():
            return folder, path.resolve().relative_to(folder).parts[0]
    raise UsageError(
        f"{path} {'lies in no study' if path.exists() else 'does not exist'}",
        rule="explain reads a study's folder, a run's folder in it, or a file in it",
        way_out="for data: `leonids audit FILE.jsonl`; for a run of another trainer: train it with LeonidsCallback",
    )


def run_named(folder: StudyFolder, name: str) -> RunSpec:
    """Return a planned run. Raises ``UsageError`` for a name that is not in the plan."""
    for run in folder.runs:
        if run.run == name:
            return run
    names = ", ".join(run.run for run in folder.runs)
    raise UsageError(f"no run {name!r} in {folder.out}", rule=f"its runs are {names}")


def review_rows(folder: StudyFolder, run: RunSpec, *, step: int | None, split: str = SPLIT) -> tuple[int, Table] | None:
    """Return a review's step and its examples: the one at ``step``, or the last (None); None where there is none."""
    last = folder.last_step(run.run, split=split, by=run.steps) if step is None else step
    table = folder.table(run.run, split)
    if last is None or table is None:
        return None
    rows = table.where(table.steps == last)
    return (last, rows) if len(rows.steps) else None


def explain(folder: StudyFolder, run: str, *, step: int | None = None) -> Explanation:
    """Return where a run's loss comes from at the review at ``step`` (None: the last one).

    Raises ``UsageError`` for a run that is not in the plan.
    """
    spec = run_named(folder, run)
    streams = folder.streams(run)
    found = review_rows(folder, spec, step=step)
    none = _no_review(spec, step, done=streams.done_steps)
    blank = Explanation(
        run=run,
        arm=spec.arm,
        loss_on=spec.loss_on,
        step=None,
        planned_steps=spec.steps,
        done_steps=streams.done_steps,
        split=SPLIT,
        n=0,
        all=none,
        answer=none,
        match=none,
        ceiling=_ceiling(folder, spec.arm),
        confident_tokens=CONFIDENT_TOKENS[0],
        confidence_right=none,
        confidence_wrong=none,
        phase=none,
        bounds=none,
        ladder=none,
        reliability=none,
        cases=(),
        head_unknown=head_reason(folder.floors.get(spec.arm)),
        foreign=spec.universe is None,
        wall_s=streams.wall_s,
        transfer=moved(folder, spec) if step is None and found else (),
    )
    return blank if found is None else _measured(blank, folder, *found)


def _no_review(spec: RunSpec, step: int | None, *, done: int) -> Missing:
    due = spec.reviews[0] if step is None and spec.reviews else step
    if due is None:
        return Missing(
            "no review: nothing held out is measured in this run (a run file's reviews, a trainer's evaluation)"
        )
    if spec.universe is None and done > due:
        return Missing(f"no review: the run passed step {due} without an evaluation, and is at step {done}")
    return Missing(f"no review yet: the run is at step {done}, the review is at step {due}")


def _measured(blank: Explanation, folder: StudyFolder, step: int, rows: Table) -> Explanation:
    tokens, right, wrong = _confidence(rows)
    floors = folder.floors.get(blank.arm)
    return replace(
        blank,
        step=step,
        n=len(rows.steps),
        all=anatomy(rows, floors=floors, tokens="all"),
        answer=anatomy(rows, floors=floors, tokens="answer"),
        match=match_of(rows),
        confident_tokens=tokens,
        confidence_right=right,
        confidence_wrong=wrong,
        phase=phase_of(right, tokens=tokens),
        bounds=_bounds(floors, rows),
        ladder=standing_of(_answer_nats(rows), ladder_of(floors)),
        reliability=reliability(rows),
        cases=_cases(rows),
    )


def match_of(rows: Table) -> Known:
    """Return the match of held-out rows with its exact interval."""
    pooled = rows.pooled("match", "example")
    if pooled is None or not pooled[1].sum():
        return Missing("match was not measured, or the audit by generation does not let it stand")
    return share(round(float(pooled[0].sum())), int(pooled[1].sum()))


def _cases(rows: Table) -> tuple[Case, ...]:
    pooled = rows.pooled("match", "example")
    if pooled is None:
        return ()
    return cases_of((tags, total > 0) for tags, total, n in zip(rows.tags, *pooled, strict=True) if n)


def _confidence(rows: Table) -> tuple[str, Known, Known]:
    tokens = next((t for t in CONFIDENT_TOKENS if rows.pooled("confidence", t) is not None), CONFIDENT_TOKENS[-1])
    right, wrong = (mean(rows, f"confidence_{side}", tokens=tokens) for side in ("right", "wrong"))
    return tokens, _none(right, "right", tokens), _none(wrong, "wrong", tokens)


def _none(value: Known, side: str, tokens: str) -> Known:
    """No counts of right (or wrong) tokens where confidence was measured means that there were none."""
    return Missing(f"no {tokens} token was {side}") if isinstance(value, Missing) else value


def _ceiling(folder: StudyFolder, arm: str) -> Known:
    floors = folder.floors.get(arm)
    if floors is None:
        return Missing("no floors are in the ledger")
    found = floors["answer"]["ceiling"]
    return Value(found["mean"], None, None, int(found["n"]), "examples")


def _answer_nats(rows: Table) -> Known:
    """Return the answer's loss in nats per example."""
    pooled = rows.pooled("loss", "answer")
    if pooled is None:
        return Missing("no loss of answer tokens was measured")
    return ratio(pooled[0], np.ones_like(pooled[0]))


def _bounds(floors: Floors | None, rows: Table) -> Bounds | Missing:
    if floors is None:
        return Missing("the universe of these data is not known, so neither is how many answers a prompt has")
    if floors["answer"]["answer_nats"]["mean"] > 0:
        return Missing("loss bounds match where every prompt has one answer; this universe has several")
    loss = _answer_nats(rows)
    return loss if isinstance(loss, Missing) else Bounds(loss, *match_bounds(loss.estimate))


def answer_excess(found: Explanation) -> Known:
    """Return the excess of the answer in nats per token, or why it is not known."""
    if isinstance(found.answer, Missing):
        return found.answer
    return found.answer.excess or Missing(found.answer.reason)


def answer_loss(found: Explanation) -> Known:
    """Return the answer's loss in nats per token, or why it is not known."""
    return found.answer if isinstance(found.answer, Missing) else found.answer.loss


def lines(explanation: Explanation) -> list[str]:
    """Return the explanation as lines of text; printed sums add up exactly as printed."""
    found = explanation
    if found.step is None:
        reason = found.match.reason if isinstance(found.match, Missing) else ""
        return [f"run {found.run}: {reason}"]
    head = f"run {found.run}, step {found.step} of {found.planned_steps}, {found.n} {found.split} examples"
    text = [
        head,
        *(_not_ours(found) if found.foreign else in_short(found.all if found.loss_on == "all" else found.answer)),
        f"loss on all tokens {_sum(found.all, found.head_unknown)}",
        f"answer loss        {_sum(found.answer, found.head_unknown)}",
        " · ".join((_match(found), _confident(found), _phase(found.phase))),
        *_ladder_line(found.ladder),
        *_reliability_line(found.reliability),
        _bounds_line(found.bounds),
        *moved_lines(found.transfer),
        f"wall time {found.wall_s:.0f} s for {found.done_steps} steps",
    ]
    return text + alarms(found)


def _not_ours(found: Explanation) -> list[str]:
    """What cannot be known of data that LEO did not make, and what to do about it."""
    masked = found.loss_on == "answer"
    return [
        f"{SHORT}how much of this loss training can remove is not known: these data are not LEO's, so their floor is "
        "not computed, and neither are the excess, the best match and the ladder",
        ("what to do: " + ("" if masked else "mask the prompt, so that its own draw is not in the loss; "))
        + "`leonids audit FILE.jsonl` counts copies, conflicts and overlap in the data and bounds what it can",
    ]


def alarms(explanation: Explanation) -> list[str]:
    """Return what a reader must know before believing the figures; mostly nothing."""
    return [line for part in (explanation.all, explanation.answer) for line in _alarms(part)]


def _sum(part: Anatomy | Missing, head_unknown: str) -> str:
    if isinstance(part, Missing):
        return f"unknown: {part.reason}"
    if not part.parts:
        return f"{nats(part.loss.estimate)} ({interval(part.loss)}); its floor is unknown: {part.reason}"
    total, shown = adding_up([addend.value.estimate for addend in part.parts])
    excess = part.parts[-1].value
    extra = interval(excess) if part.tokens == "all" else f"{_roles(part.roles, shown[-1])}; {interval(excess)}"
    missing = f"; the head's floor is in the excess, since it is unknown: {head_unknown}" if head_unknown else ""
    return f"{total} = {_signed(part.parts, shown)} ({extra}{missing})"


def _signed(parts: Sequence[Part], shown: Sequence[str]) -> str:
    text = f"{shown[0]} {parts[0].name}"
    for part, number in zip(parts[1:], shown[1:], strict=True):
        sign = "-" if number.startswith("-") else "+"
        text += f" {sign} {number.removeprefix('-')} {part.name}"
    return text


def _roles(roles: Sequence[Part], excess: str) -> str:
    """The shares of the excess, rounded so that they add up to the excess as printed."""
    values = [role.value.estimate for role in roles]
    # The excess is rounded already: what that took from it or gave to it goes to the largest share.
    largest = max(range(len(values)), key=lambda i: abs(values[i]))
    values[largest] += float(excess) - math.fsum(values)
    _, shown = adding_up(values)
    return " · ".join(f"{role.name} {number}" for role, number in zip(roles, shown, strict=True))


def _match(found: Explanation) -> str:
    match = found.match
    if isinstance(match, Missing):
        return f"match unknown: {match.reason}"
    ceiling = "" if isinstance(found.ceiling, Missing) else f" of at most {percent(found.ceiling.estimate)}"
    right = round(match.estimate * match.n)
    return f"match {percent(match.estimate)} ({right} of {match.n}, {interval(match, scale=100, places=1)}){ceiling}"


def _confident(found: Explanation) -> str:
    sides = {"right": found.confidence_right, "wrong": found.confidence_wrong}
    shown = (
        f"{side} {value.estimate:.2f}" if isinstance(value, Value) else f"{side} unknown ({value.reason})"
        for side, value in sides.items()
    )
    return f"confidence on {found.confident_tokens} tokens {', '.join(shown)}"


def _phase(phase: Phase | Missing) -> str:
    return f"phase: unknown ({phase.reason})" if isinstance(phase, Missing) else f"phase: {phase.word}, by {phase.by}"


def _bounds_line(bounds: Bounds | Missing) -> str:
    if isinstance(bounds, Missing):
        return f"no bound on match: {bounds.reason}"
    loss = bounds.answer_nats
    greedy = f"at least {percent(bounds.greedy)} greedy" if bounds.greedy > 0 else "nothing is sure of greedy match"
    return (
        f"an answer loss of {nats(loss.estimate)} nats an example ({interval(loss)}) bounds match: "
        f"at least {percent(bounds.sampled)} sampled, {greedy}"
    )


def _ladder_line(standing: Standing | Missing) -> list[str]:
    if isinstance(standing, Missing):
        return []
    plateaus = ", ".join(f"{step.knows} {step.nats:.2f}" for step in standing.steps)
    return [
        f"on the ladder: {standing.word}, at {nats(standing.loss.estimate)} nats an example "
        f"({interval(standing.loss)}); who knows only {plateaus}"
    ]


def _reliability_line(found: Reliability | Missing) -> list[str]:
    if isinstance(found, Missing):
        return []
    told = found.told_apart
    apart = (
        f"; {told.reason}"
        if isinstance(told, Missing)
        else (f"; right ones told from wrong ones at {told.estimate:.2f} ({interval(told, places=2)})")
    )
    return [
        f"calibration error {found.error.value:.3f}, {found.error.null:.3f} by chance alone "
        f"({found.of} of {found.n} answers){apart}"
    ]


def _alarms(part: Anatomy | Missing) -> list[str]:
    if isinstance(part, Missing):
        return []
    text = []
    excess = part.excess
    if excess is not None and excess.high is not None and 2 * excess.high < excess.estimate:
        text.append(
            f"ALARM: the loss on {part.tokens} tokens is below its floor by more than chance: repeated examples, "
            "a leak, a wrong mask or another generator"
        )
    if part.left_out:
        text.append(f"{part.left_out} examples are left out of the loss on {part.tokens} tokens: it is not a number")
    return text
