"""The sections of the observation document that speak of loss, hypotheses and questions, as Markdown."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from leonids.claims.prediction import Hypothesis, Prediction
from leonids.records import Verdict
from leonids.report.claimed import claimed, consequence, found, measured, word_of
from leonids.report.escape import markdown
from leonids.report.explain import Explanation, alarms, lines, match_of, review_rows
from leonids.report.findings import Checkpoint, Findings
from leonids.report.numbers import Known, Missing, Value, ends, nats, percent
from leonids.report.seeds import (
    OVER_SEEDS,
    numbers_of,
    of_arms,
    over_seeds,
    rows_of,
)

STATUS_ICONS = {"supported": "✔", "refuted": "✘", "open": "◐", "void": "∅"}


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; cells are Markdown already."""
    marks = ["|".join(f" {cell} " for cell in row) for row in (header, *rows)]
    return "\n".join([f"|{marks[0]}|", "|" + " --- |" * len(header), *(f"|{row}|" for row in marks[1:])])


def head(findings: Findings) -> str:
    """Return title, dates, progress, and the loss and match of each arm now."""
    folder = findings.folder
    starts = [entry.ts for entry in folder.entries if entry.type in ("data_start", "import")]
    done = min(
        ((run.done_steps, run.planned_steps) for run in findings.explanations), key=lambda pair: pair[0] / pair[1]
    )
    study = folder.study
    dates = f"first data {_time(min(starts))}, " if starts else "no data yet, "
    about = [markdown(study.about)] if study.about.strip() else []
    return "\n".join([
        f"# {markdown(study.title)}",
        *about,
        "",
        f"- **Date:** {_time(folder.entries[0].ts)} ({dates}last entry of the ledger {_time(folder.entries[-1].ts)})",
        f"- **Study:** {markdown(study.study)}, scale {markdown(str(folder.plan['scale']))}, base "
        f"{markdown(folder.runs[0].base)}, {len(folder.runs)} runs",
        f"- **Training Progress:** {100 * done[0] / done[1]:.3g} % (step {done[0]:,} / {done[1]:,}; the run that is "
        "behind counts)",
        f"- **Current Loss:** {_by_arm(findings, _trained_loss, nats)} (nats/token over the tokens "
        "in each arm's loss; least to greatest seed at the last review)",
        f"- **Match Rate:** {_by_arm(findings, lambda found: found.match, percent)}",
        f"- **Verdicts:** {_verdicts(findings)}",
    ])  # fmt: skip


def _verdicts(findings: Findings) -> str:
    words = Counter(verdict.word for verdict in findings.verdicts.values())
    counted = " · ".join(f"{n} {word.replace('_', ' ')}" for word, n in words.most_common())
    return f"{counted or 'none yet'}, of {len(findings.predictions)} predictions"


def _time(stamp: str) -> str:
    return f"{stamp[:10]} {stamp[11:16]} UTC"


def _by_arm(findings: Findings, pick: Callable[[Explanation], Known], show: Callable[[float], str]) -> str:
    texts = []
    for arm in dict.fromkeys(run.arm for run in findings.folder.runs):
        values = [pick(found) for found in findings.explanations if found.arm == arm]
        known = sorted(value.estimate for value in values if isinstance(value, Value))
        if not known:
            texts.append(f"{markdown(arm)} not measured yet")
            continue
        shown = dict.fromkeys((show(known[0]), show(known[-1])))
        n = f", {len(known)} of {len(values)} runs" if len(known) < len(values) else ""
        texts.append(f"{markdown(arm)} {' to '.join(shown)}{n}")
    return " · ".join(texts)


def _trained_loss(found: Explanation) -> Known:
    part = found.all if found.loss_on == "all" else found.answer
    return part if isinstance(part, Missing) else part.loss


def explained(findings: Findings) -> str:
    """Return the explain lines of every run, or with many runs those of each arm's first seed."""
    text = "\n\n".join("\n".join(lines(own[0])) for own in rows_of(findings.explanations).values())
    several = of_arms(findings.explanations)
    which = "\nThe first seed of each arm; `leonids explain` has every run.\n" if several else ""
    return f"""## What the loss is made of

Loss = data floor + head floor + excess, on the held-out examples of each run's last review, paired token by token.
The data floor is what no model can remove; the head floor is what no adapter can remove under a frozen output head;
the excess is what is left to learn, and its shares by role add up to it. Intervals have the example as their unit.
{which}
```text
{text}
```"""


def hypothesis(findings: Findings, name: str, number: int) -> str:
    """Return one hypothesis: what it claims, why, and its predictions with their verdicts."""
    said = findings.folder.hypotheses[name]
    status = findings.statuses[name]
    judged = any(p.id in findings.verdicts for p in said.predictions)
    state = f"{STATUS_ICONS[status.word]} {status.word}: {markdown(status.reason)}" if judged else "… not judged yet"
    text = [f"## Hypothesis {number}: {markdown(said.claim)}", "", f"**Status:** {state}", "", *_why(name, said)]
    return "\n".join([*text, "### Prediction", "", "If this hypothesis is correct:", "", *_predictions(findings, said)])


def _why(name: str, said: Hypothesis) -> list[str]:
    text = [f"Name in the study: {markdown(name)}.", ""]
    if said.needs:
        text += [f"It says nothing unless {', '.join(markdown(need) for need in said.needs)} holds.", ""]
    if said.because.strip():
        text += ["### Proposed Explanation", "", markdown(said.because), ""]
    return text


def _predictions(findings: Findings, said: Hypothesis) -> list[str]:
    text: list[str] = []
    for prediction in said.predictions:
        verdict = findings.verdicts.get(prediction.id)
        text.append(f"- **{markdown(prediction.id)}** {markdown(prediction.says)} **{word_of(verdict)}**")
        text += [f"  - {line}" for line in _facts(prediction, verdict)]
    return text


def _facts(prediction: Prediction, verdict: Verdict | None) -> list[str]:
    lines = [f"Claimed: {markdown(measured(prediction.measure))}: {markdown(claimed(prediction))}"]
    if prediction.role == "supporting":
        lines[0] += " (supporting: it cannot refute the hypothesis alone)"
    if prediction.needs:
        lines.append(f"Needs: {', '.join(markdown(need) for need in prediction.needs)}")
    if verdict is not None:
        scope = {"run": "this run", "seeds": "this recipe (seeds)"}.get(verdict.scope, markdown(verdict.scope))
        lines.append(
            f"Found: {markdown(found(verdict, prediction))}; speaks of {scope}; grade {verdict.grade}"
            + (", a retrodiction" if verdict.grade == "late" else "")
        )
        follows = consequence(verdict, prediction)
        told = {"Reason": verdict.reason, "Would decide": verdict.decides, "What follows": follows}
        lines += [f"{name}: {markdown(text)}" for name, text in told.items() if text]
    lines += [
        f"Rival: {markdown(rival.says)}" + (f" (told apart by arm {markdown(rival.arm)})" if rival.arm else "")
        for rival in prediction.rivals
    ]
    return lines


def checkpoint(findings: Findings, at: Checkpoint) -> str:
    """Return one review: loss, match and phase of every run, what was expected there, and notes."""
    steps = sorted({found.step for found in at.explanations if found.step is not None})
    where = f"step {', '.join(f'{step:,}' for step in steps)}" if steps else "not reached yet"
    base = "" if at.progress else "the base, before training; "
    text = [f"### Checkpoint: {at.label} ({base}{where})", ""]
    measured_rows = [found for found in at.explanations if found.step is not None]
    arms = of_arms(measured_rows)
    if measured_rows:
        n = sorted({found.n for found in measured_rows})
        text += [
            table(
                (
                    "Arm" if arms else "Run",
                    "Loss",
                    "Its excess",
                    "Answer loss",
                    "Match %",
                    "Confidence, right",
                    "Confidence, wrong",
                    "Phase",
                ),
                [_row(name, own) for name, own in rows_of(measured_rows).items()],
            ),
            "",
            *([OVER_SEEDS, ""] if arms else []),
            f"Validation examples a run: {' or '.join(str(count) for count in n)}. Loss and excess in nats/token over "
            f"the tokens in the run's loss{'' if arms else '; 95 % intervals in brackets, exact ones for match'}.",
            "",
        ]
    waiting = [found for found in at.explanations if found.step is None and isinstance(found.match, Missing)]
    notes = [f"{markdown(found.run)}: {markdown(_reason(found))}" for found in waiting]
    notes += [f"{markdown(found.run)}: {markdown(line)}" for found in measured_rows for line in alarms(found)]
    if any(found.step == found.planned_steps for found in measured_rows):
        text += [f"- **Match % on test examples:** {_tested(findings)}"]
    expected = [_expected(findings, prediction) for prediction in at.due]
    text += ["- **Expected:**" + ("" if expected else " nothing falls due here")]
    text += [f"  - {line}" for line in expected]
    text += ["- **Notes:**" + ("" if notes else " none from the data; write your own below this block")]
    return "\n".join(text + [f"  - {line}" for line in notes])


def _tested(findings: Findings) -> str:
    """The match of each run, or with many of each arm, on the test split, which is measured once, at the end."""
    texts = []
    for name, own in rows_of(findings.folder.runs).items():
        found = [rows[1] for run in own if (rows := review_rows(findings.folder, run, step=None, split="test"))]
        if found:
            match = cell(over_seeds([match_of(rows) for rows in found]), scale=100, places=1)
            examples = sorted({len(rows.steps) for rows in found})
            texts.append(f"{markdown(name)} {match}, n {' or '.join(map(str, examples))}")
    return " · ".join(texts) or "not measured"


def _reason(found: Explanation) -> str:
    return found.match.reason if isinstance(found.match, Missing) else ""


def _expected(findings: Findings, prediction: Prediction) -> str:
    verdict = findings.verdicts.get(prediction.id)
    got = "" if verdict is None else f": {markdown(found(verdict, prediction))}"
    return f"**{markdown(prediction.id)}** {markdown(prediction.says)} {word_of(verdict)}{got}"


def _row(name: str, own: Sequence[Explanation]) -> tuple[str, ...]:
    *losses, match, right, wrong = numbers_of(own)
    phases = ("unknown" if isinstance(one.phase, Missing) else one.phase.word for one in own)
    return (
        markdown(name),
        *(cell(value) for value in losses),
        cell(match, scale=100, places=1),
        *(cell(value, places=2) for value in (right, wrong)),
        ", ".join(f"{word} ({n})" if n < len(own) else word for word, n in Counter(phases).items()),
    )


def cell(value: Known, *, scale: float = 1.0, places: int = 3) -> str:
    """Return a number with its interval for a table's cell; a missing one says why."""
    if isinstance(value, Missing):
        return f"unknown: {markdown(value.reason)}"
    shown = ends(value, scale=scale, places=places)
    return f"{scale * value.estimate:.{places}f}" + (f" ({shown})" if shown else "")


def questions(findings: Findings) -> str:
    """Return the key questions with their answers and what was said beforehand to follow."""
    text = ["## Key Questions To Answer", ""]
    for number, (question, answer) in enumerate(zip(findings.folder.questions, findings.answers, strict=True), 1):
        text += [f"{number}. **{markdown(question.asks)}** → {answer.word}", ""]
        for word, follows in (("yes", question.yes), ("no", question.no)):
            text.append(f"   - {'☑' if answer.word == word else '☐'} {word.capitalize()} → {markdown(follows)}")
        text += [f"   - Rests on: {markdown(answer.reason)}", ""]
    return "\n".join(text if findings.answers else [*text, "The study asks none."]).rstrip("\n")


def next_review(findings: Findings) -> str:
    """Return what comes next: the first review that not every run has reached, or what would decide the rest."""
    ahead = findings.ahead
    if ahead is not None:
        due = ", ".join(markdown(p.id) for p in ahead.due) or "nothing"
        return f"**Next Review:** after reaching {ahead.label} training completion; due then: {due}."
    undecided = [v for v in findings.verdicts.values() if v.word == "inconclusive" and v.decides]
    text = ["**Next Review:** none; every run has reached its end."]
    if undecided:
        text += ["", "What would decide what is open:", ""]
        text += [f"- **{markdown(v.prediction)}**: {markdown(v.decides)}" for v in undecided]
    return "\n".join(text)
