"""Another machine on a study's folder: it trains arms of the plan into a chain of its own, and judges nothing."""

from collections.abc import Sequence
from pathlib import Path

from leonids.errors import OutputError, UsageError
from leonids.launch import launch
from leonids.ledger.chain import Ledger, chain_folder
from leonids.ledger.lines import MAIN
from leonids.ledger.writers import claim_all
from leonids.spec import RunSpec
from leonids.study.conduct import Watch, check_trainable
from leonids.study.folder import PLAN, StudyFolder, note_about
from leonids.study.plan import Choices, check_choices
from leonids.study.progress import Progress


def join(out: Path, *, writer: str, arms: Sequence[str], watch: Watch) -> tuple[RunSpec, ...]:
    """Train arms of the study that is locked in ``out``, as the writer of that name; return their runs.

    The same call goes on where it was stopped. Raises ``UsageError`` for a name, a folder or an arm that is none,
    ``OutputError`` where the study is closed or another writer has claimed a run.
    """
    if writer == MAIN:
        raise UsageError(f"--writer is {MAIN!r}", rule="that is who locks the study, trains the rest and judges")
    chain_folder(out, writer)
    folder = StudyFolder.open(out)
    if note_about(folder.entries, PLAN) is None:
        raise UsageError(f"{out} holds runs without predictions", rule="a writer joins a study that was locked")
    if folder.closed:
        raise OutputError(f"{out} holds a study that is closed", rule="its last verdicts are written")
    check_choices(folder.study, Choices(arms=tuple(arms)))
    runs = tuple(run for run in folder.runs if run.arm in arms)
    if missing := sorted(set(arms) - {run.arm for run in runs}):
        planned = ", ".join(dict.fromkeys(run.arm for run in folder.runs))
        raise UsageError(f"the plan in {out} leaves arm {missing[0]!r} out", rule=f"it has {planned}")
    check_trainable(runs)
    claim_all(out, [run.run for run in runs], writer)
    Ledger.open(out, writer=writer)
    progress = Progress(runs, out, head=folder.head)
    launch(runs, out=out, resume=True, tick=lambda: watch.moved(progress.read()), planned=watch.grouped)
    return runs
