"""The terminal on a folder that another process writes: what `leonids watch` shows, over SSH too."""

import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from leonids.ledger.lines import LEDGER
from leonids.report.findings import verdicts_of
from leonids.report.live import Terminal
from leonids.report.tables import print_verdicts
from leonids.study.folder import StudyFolder
from leonids.study.progress import Progress

LOOK_EVERY_S = 0.5


def watch(out: Path) -> None:
    """Show a study's runs until its last verdicts are in the ledger (stderr), then the verdicts (stdout).

    Without a terminal there are plain lines. An interrupt takes the live table away and passes on. Raises
    ``UsageError`` where there is no study, ``IntegrityError`` for a ledger that was changed.
    """
    folder = StudyFolder.open(out)
    progress = Progress(folder.runs, out, head=folder.head)
    seen = (out / LEDGER).stat().st_size
    with Terminal(folder.study) as terminal:
        while True:
            terminal.moved(progress.read())
            size = (out / LEDGER).stat().st_size
            if size != seen:
                folder, seen = _reviewed(terminal, folder, out), size
            if folder.closed:
                break
            time.sleep(LOOK_EVERY_S)
    _say(folder)


def _reviewed(terminal: Terminal, before: StudyFolder, out: Path) -> StudyFolder:
    """Open the folder again and show the verdicts that have come since."""
    now = StudyFolder.open(out)
    reviews = [entry for entry in now.entries[len(before.entries) :] if entry.type == "verdict"]
    if reviews and not now.closed:
        at = reviews[-1].body["at"]
        terminal.reviewed(now, float(at) if isinstance(at, float | int) else 1.0, verdicts_of(now))
    return now


def _say(folder: StudyFolder) -> None:
    console = Console(highlight=False)
    console.print(Text(f"every run has reached its end: {len(folder.verdicts)} verdicts"))
    print_verdicts(verdicts_of(folder), predictions=folder.study.predictions, console=console)
