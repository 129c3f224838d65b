"""The sections of the observation document that a reader checks: arms, floors, audit, integrity, as Markdown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from leonids.gym.tasks import UNKNOWN, passed_over_line
from leonids.ledger.lines import MAIN
from leonids.ledger.registered import registered
from leonids.records import Grade
from leonids.report.claimed import verdict_of
from leonids.report.escape import markdown
from leonids.report.findings import Findings
from leonids.report.numbers import Value, ends, share
from leonids.report.sections import cell, table
from leonids.report.seeds import OVER_SEEDS, moved_of, of_arms, rows_of
from leonids.report.transfer import Moved, always, points
from leonids.spec import FOREIGN, RunSpec
from leonids.study.folder import StudyFolder
from leonids.universe.splits import GYM

GRADES: Mapping[Grade, str] = {
    "anchored": "locked before the data, and dated outside by the word of an anchor, which `leonids anchor` checks",
    "sealed": "locked before the data, by the order of the ledger",
    "late": "the data existed: a retrodiction",
    "unverifiable": "imported without times",
    "broken": "the record is not what was written",
}


def arms(findings: Findings) -> str:
    """Return what each arm is: universe, adapter, loss, seeds, and how far its runs have come."""
    folder = findings.folder
    rows = []
    for arm in dict.fromkeys(run.arm for run in folder.runs):
        runs = folder.runs_of(arm)
        done = ", ".join(f"{folder.streams(run.run).done_steps:,}" for run in runs)
        rows.append((*_settings(runs[0]), ", ".join(str(run.data_seed) for run in runs), done))
    about = [
        f"- **{markdown(arm)}**: {markdown(spec.about)}"
        for arm, spec in folder.study.arms.items()
        if spec.about and folder.runs_of(arm)
    ]
    header = ("Arm", "Universe", "Rank", "Scale", "Targets", "Starts from", "Loss on", "Learning rate",
              "Steps × batch", "Seeds", "Steps done")  # fmt: skip
    return "\n".join(["## Arms", "", table(header, rows), "", *about]).rstrip("\n")


def _settings(run: RunSpec) -> tuple[str, ...]:
    adapter = run.adapter
    whole = adapter.method == "full"
    return (
        markdown(run.arm),
        FOREIGN if run.universe is None else markdown(f"{run.universe.universe} v{run.universe.version}"),
        "none: every weight" if whole else str(adapter.rank),
        "none" if whole else f"{adapter.scale:g} (alpha rule {adapter.alpha_rule})",
        "all" if whole else f"{len(adapter.targets)} modules",
        markdown(run.start_from) or "the base",
        run.loss_on,
        f"{run.lr:g}, {run.schedule}" + (f", warm-up {run.warmup_steps:,}" if run.warmup_steps else ""),
        f"{run.steps:,} × {run.batch_size}",
    )


def floors(findings: Findings) -> str:
    """Return the floors and ceilings of each arm, as computed before the first run."""
    text = ["## Floors", ""]
    known = findings.folder.floors
    if not known:
        return "\n".join([*text, "No floors are in the ledger: what of these losses could be removed is unknown."])
    ordered = [arm for arm in dict.fromkeys(run.arm for run in findings.folder.runs) if arm in known]
    header = ("Arm", "Prompt, nats/example", "Answer, nats/example", "All, nats/token", "Answer, nats/token",
              "Head, nats/token by role", "Best match", "Best meaning match")  # fmt: skip
    text += [table(header, [_floor_row(arm, known[arm]) for arm in ordered]), ""]
    first = next(iter(known.values()))["all"]
    text.append(
        f"Computed before the first run from {first['nats_per_example']['n']:,} examples of each universe with the "
        f"tokenizer of {markdown(str(first['tokenizer']))}; ± is a standard error, absent where it is zero. The paired "
        "floors in the explain lines are of the very tokens that were measured."
    )
    hard = [line for arm in ordered for line in _hard_tokens(arm, known[arm]["head"])]
    return "\n".join([*text, *(["", "Tokens that this head cannot say:", "", *hard] if hard else [])])


def _floor_row(arm: str, floor: Mapping[str, Any]) -> tuple[str, ...]:
    both, answer, head = floor["all"], floor["answer"], floor["head"]
    by_role = ", ".join(f"{role} {value:.4f}" for role, value in head["nats"].items() if value > 0)
    unknown = f"unknown: {markdown(str(head['reason']))}"
    return (
        markdown(arm),
        _estimate(answer["prompt_nats"]),
        _estimate(answer["answer_nats"]),
        f"{both['nats_per_token']:.4f}",
        f"{answer['nats_per_token']:.4f}",
        unknown if head["reason"] else by_role or "0",
        _estimate(answer["ceiling"], scale=100) + " %",
        _estimate(answer["meaning_ceiling"], scale=100) + " %",
    )


def _estimate(value: Mapping[str, Any], *, scale: float = 1.0) -> str:
    error = scale * value["standard_error"]
    digits = 4 if scale == 1.0 else 1
    return f"{scale * value['mean']:.{digits}f}" + (f" ± {error:.{digits}f}" if error > 1e-12 else "")


def _hard_tokens(arm: str, head: Mapping[str, Any]) -> list[str]:
    tokens = [f"`{_code(str(token))}` {nats:.3f} nats" for token, nats in head["worst"] if nats > 0.01]
    return [f"- {markdown(arm)}: {', '.join(tokens)}"] if tokens else []


def _code(token: str) -> str:
    """A token as it may stand between backticks: its control characters escaped, without a backtick of its own."""
    return ascii(token)[1:-1].replace("`", "\\x60").replace("|", "\\x7c")


def audit(findings: Findings) -> str:
    """Return how often real generation disagreed with the teacher-forced pass that match is measured by."""
    text = ["## What was audited", ""]
    runs = findings.folder.runs
    rows = [row for name, own in rows_of(runs).items() if (row := _audit_row(findings.folder, name, own)) is not None]
    if not rows:
        return "\n".join([*text, "Nothing yet: the first review has not come."])
    text += [
        "Match is measured by one teacher-forced pass. On a fixed part of each review the answers are generated as "
        "well, greedily; where the two disagree more often than 1 % for certain, that review's match is withdrawn.",
        "",
        table(
            ("Arm" if of_arms(runs) else "Run", "Reviews", "Disagreements", "95 % interval", "Match withdrawn at"), rows
        ),
    ]
    return "\n".join(text)


def _audit_row(folder: StudyFolder, name: str, runs: Sequence[RunSpec]) -> tuple[str, ...] | None:
    """The audits of ``runs``, pooled over them and their reviews."""
    lines = [line for run in runs for line in folder.streams(run.run).audits if "n" in line.get("audit", {})]
    if not lines:
        return None
    n, off = (sum(int(line["audit"][key]) for line in lines) for key in ("n", "disagreements"))
    found = share(off, n)
    withdrawn = [f"step {line['step']:,}" for line in lines if not line["audit"]["match_stands"]]
    return (
        markdown(name),
        str(len(lines)),
        f"{off} of {n}",
        f"{ends(found, scale=100, places=1)} %" if isinstance(found, Value) else found.reason,
        ", ".join(dict.fromkeys(withdrawn)) or "no review",
    )


def transfer(findings: Findings) -> str:
    """Return what became of match on the transfer splits of each run or arm, beside what learnt the format alone."""
    arms = {run.run: run.arm for run in findings.folder.runs}
    several = of_arms(findings.explanations)
    rows = [
        (
            markdown(name),
            one.split if not one.part else f"{one.split}, {one.part}",
            cell(one.before, scale=100, places=1),
            cell(one.after, scale=100, places=1),
            points(one.change),
            *_beside(one),
        )
        for name, own in rows_of(findings.explanations).items()
        for one in moved_of(own, arms=arms)
    ]
    text = ["## Transfer", ""]
    if not rows:
        return "\n".join([*text, "Nothing yet: it is measured before training and at the last review."])
    header = (
        "Arm" if several else "Run",
        "Split",
        "Match before, %",
        "After, %",
        "Change, points",
        "Control's change",
        "Beyond the control",
    )
    text += [
        "Match where nothing was trained, on the same items before and after; 95 % intervals in brackets, paired by "
        "item. A control trains on the same prompts with the answers of others: it learns the format alone, begins as "
        "the same base and sees the same items, so what is beyond it is what no format explains."
        + (f" {OVER_SEEDS}" if several else ""),
        "",
        table(header, rows),
    ]
    foreign = [one for found in findings.explanations for one in found.transfer if one.split == GYM and not one.part]
    if foreign:
        said = dict.fromkeys(f"{markdown(always(one))}, {passed_over_line(one.passed_over)}" for one in foreign)
        text += ["", f"{GYM}: {UNKNOWN}; {' · '.join(said)}."]
    return "\n".join(text)


def _beside(one: Moved) -> tuple[str, str]:
    """Return a control's change, and what is beyond it; or why there is neither."""
    if isinstance(one.beyond, Value):
        return f"{markdown(one.control)} {points(one.control_change)}", points(one.beyond)
    return ("it is one", "none: the format alone") if one.control else ("none", "unknown: no control")


def integrity(findings: Findings) -> str:
    """Return what the ledger proves, the grades of the verdicts, and how to check."""
    entries = findings.folder.entries
    grades = Counter(verdict.grade for verdict in findings.verdicts.values())
    counted = ", ".join(f"{grades[name]} {name} ({says})" for name, says in GRADES.items() if grades[name])
    locked = [entry.ts for entry in entries if entry.type == "register"]
    changes = [
        f"- {markdown(version.id)} version {version.version}: "
        + (
            f"withdrawn, {markdown(version.withdrawn)}"
            if version.withdrawn
            else f"{'amended' if version.version > 1 else 'added'}, {markdown(version.reason)}"
        )
        for versions in registered(entries).values()
        for version in versions
        if version.withdrawn or version.reason
    ]
    revised = _revised(findings)
    others = sorted({entry.writer for entry in entries} - {MAIN})
    return "\n".join([
        "## Integrity",
        "",
        f"- Ledger: {len(entries)} entries, head `{entries[-1].sha256}`.",
        *([f"- Other writers' chains, taken over: {markdown(', '.join(others))}."] if others else []),
        f"- Predictions locked: {', '.join(locked) or 'never'}.",
        f"- Plan digest: `{markdown(str(findings.folder.plan.get('digest', 'absent')))}`.",
        f"- Grades of the verdicts: {counted or 'no verdicts yet'}.",
        f"- Changed after the lock: {'nothing' if not changes else ''}".rstrip(),
        *(f"  {line}" for line in changes),
        *(["- Verdicts that a later review changed:", *(f"  {line}" for line in revised)] if revised else []),
        "- To check: `leonids verify` on this folder, or `python verify.py` in it, which needs Python alone. A ledger",
        "  shows that nothing was changed after it was written; it does not show that the clock was right.",
    ])  # fmt: skip


def _revised(findings: Findings) -> list[str]:
    """Words of verdicts in the order of the ledger, where there is more than one word beside not due."""
    history: dict[str, list[str]] = {}
    for entry in findings.folder.entries:
        if entry.type != "verdict":
            continue
        listed: Any = entry.body["verdicts"]
        at = entry.body.get("at")
        when = f"at {100 * at:g} %" if isinstance(at, float | int) else "at the end"
        for verdict in map(verdict_of, listed):
            words = history.setdefault(verdict.prediction, [])
            if verdict.word != "not_due" and (not words or words[-1].split(" ")[0] != verdict.word):
                words.append(f"{verdict.word} {when}")
    return [f"- {markdown(name)}: {', then '.join(words)}" for name, words in history.items() if len(words) > 1]
