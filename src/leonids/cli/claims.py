"""Commands on what was predicted: register, amend, withdraw, lint, judge, verify, anchor, export."""

from pathlib import Path
from typing import Annotated

import typer

from leonids.cli.common import Arms, Base, Folder, Json, Out, Scale, Steps, Study, app, listed, put, say, show, tell
from leonids.errors import UsageError

GATE = {"refuted": 10, "inconclusive": 11, "not_due": 12, "void": 13}


def _share(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise UsageError(f"--at is {text!r}", rule="it is a share of the run such as 30% or 0.3")
    return share


@app.command()
def register(
    study: Study, out: Out, scale: Scale = None, base: Base = None, arms: Arms = None, steps: Steps = None
) -> None:
    """Lock a study's predictions without running it, and say what their planned numbers can decide."""
    from leonids.report.linting import power_lines
    from leonids.spec import find_study, load_study
    from leonids.study.conduct import register as lock
    from leonids.study.plan import Choices, make_plan

    path = find_study(study)
    choices = Choices(scale=scale, base=base, arms=listed(arms), steps=steps)
    plan = make_plan(load_study(path), choices, beside=path.parent)
    ledger = lock(plan, out)
    say("\n".join(power_lines(plan.study, plan.runs)))
    tell(f"{ledger.head().count} {ledger.head().sha256}")


Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the ledger.")]


@app.command()
def amend(
    folder: Folder,
    prediction: Annotated[Path, typer.Argument(help="One prediction as YAML, as in a study.")],
    reason: Reason,
) -> None:
    """Lock a new version of a prediction, or one more; what was locked before it is judged as well."""
    from leonids.study.amend import amend as lock

    entry, name = lock(folder, prediction, reason=reason)
    tell(f"{entry.count} {entry.sha256} {name}")


@app.command()
def withdraw(
    folder: Folder, prediction: Annotated[str, typer.Argument(help="A prediction's id.")], reason: Reason
) -> None:
    """Withdraw a prediction that was not judged yet; it stays visible, with the reason."""
    from leonids.study.amend import withdraw as take_back

    entry = take_back(folder, prediction, reason=reason)
    tell(f"{entry.count} {entry.sha256}")


@app.command()
def lint(
    reference: Annotated[str, typer.Argument(help="A study or a universe.")],
    tokenizer: Annotated[str | None, typer.Option(help="A base whose tokens a universe is to be written in.")] = None,
    as_json: Json = False,
) -> None:
    """Say what is wrong with a study or a universe."""
    from leonids.report.linting import lint_reference

    findings = lint_reference(reference, tokenizer=tokenizer)
    said = [str(finding) for finding in findings] or ["nothing found"]
    show([finding.to_json() for finding in findings], said, as_json=as_json)
    if any(finding.refuses for finding in findings):
        raise typer.Exit(1)


@app.command()
def judge(
    folder: Folder,
    at: Annotated[str | None, typer.Option(help="The progress to judge at, such as 30%.")] = None,
    gate: Annotated[bool, typer.Option("--gate", help="Exit 10-13 for the worst verdict.")] = False,
    as_json: Json = False,
) -> None:
    """Judge a folder's predictions; write nothing.

    With --gate: 10 refuted, 11 inconclusive, 12 not due, 13 void, the first of them that occurs.
    """
    from leonids.study.folder import StudyFolder

    share = _share(at)
    study = StudyFolder.open(folder)
    progress = share if share is not None else (None if study.closed else study.progress_frac)
    # Long streams are read and hashed beside, while the rest is imported: a process first, then threads.
    study.read_ahead(at=1.0 if progress is None else progress)
    study.begin_checks()
    from leonids.study.conduct import judge_folder, verdict_json

    verdicts = judge_folder(study, at=progress)
    if as_json:
        put([verdict_json(verdict) for verdict in verdicts])
    else:
        from leonids.report.tables import print_verdicts

        print_verdicts(verdicts, predictions=study.study.predictions)
    if gate:
        codes = [GATE[verdict.word] for verdict in verdicts if verdict.word in GATE]
        raise typer.Exit(min(codes, default=0))


@app.command()
def verify(
    folder: Folder,
    rederive: Annotated[bool, typer.Option("--rederive", help="Judge again and compare every byte.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="First remove a last ledger line cut by a crash.")] = False,
    as_json: Json = False,
) -> None:
    """Check that a folder is what was written, and say what that proves; exit 3 where something is broken."""
    from dataclasses import asdict

    from leonids.report.checking import check, mend

    if repair:
        say(mend(folder))
    report, problems = check(folder, rederive=rederive)
    show(asdict(report) | {"problems": problems}, report.lines(), as_json=as_json)
    if rederive and not report.problems and not as_json:
        tell("\n".join(f"BROKEN   {p}" for p in problems) or "checked  each verdict follows from the files")
    if problems:
        raise typer.Exit(3)


@app.command()
def anchor(
    folder: Folder,
    to: Annotated[str | None, typer.Option(help="git, or the URL of a time-stamping authority (RFC 3161).")] = None,
    roots: Annotated[Path | None, typer.Option(help="Root certificates (PEM) to check time stamps with.")] = None,
) -> None:
    """Have something outside date the ledger; without --to, check what anchors there are (exit 3: one is broken).

    git commits the ledger alone, and holds once a remote branch has the commit. What cannot be reached is owed.
    """
    from leonids.report.outside import anchor_lines, anchor_states

    if to is not None:
        tell("\n".join(anchor_lines(folder, to=to)))
        return
    lines, whole = anchor_states(folder, roots=roots)
    tell("\n".join(lines))
    if not whole:
        raise typer.Exit(3)


@app.command()
def export(
    folder: Folder,
    to: Annotated[str, typer.Option("--to", help="preregister, prml or csv.")],
    out: Out,
) -> None:
    """Write a folder's predictions for another registry, or its measurements as a table.

    What a format cannot hold is left out and named, with the reason.
    """
    from leonids.report.outside import export_lines

    tell("\n".join(export_lines(folder, form=to, to=out)))
