"""A folder and the world outside it, for a reader: anchors of its ledger, its predictions in other registries."""

import csv
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from leonids.errors import UsageError
from leonids.ledger.anchors import anchor_git, anchor_timestamp, check_anchors
from leonids.ledger.chain import Ledger, read_entries
from leonids.ledger.disk import make_folder, unwritable, write_whole
from leonids.ledger.entry import Entry
from leonids.ledger.exports import FORMS, Exported
from leonids.ledger.streams import read_stream
from leonids.ledger.timestamps import checker, stamp_at, unchecked
from leonids.study.folder import StudyFolder
from leonids.study.streams import REVIEWS, STEPS

Writer: TypeAlias = Callable[[Path, Path], list[str]]
"""Write a study's folder into another one, and say what was written."""


def anchor_lines(folder: Path, *, to: str) -> list[str]:
    """Anchor a folder's ledger to ``git``, or to the time-stamping authority at a URL, and say what came of it."""
    entries = read_entries(folder)
    ledger = Ledger.open(folder)
    if to == "git":
        entry = anchor_git(ledger)
    elif to.startswith(("http://", "https://")):
        entry = anchor_timestamp(ledger, stamp=stamp_at(to), authority=to)
    else:
        raise UsageError(f"no anchor {to!r}", rule="git, or the URL of a time-stamping authority (RFC 3161)")
    state = f"held by {to}" if entry.body["status"] == "held" else f"owed: {entry.body['reason']}"
    return [f"head {len(entries)} {entries[-1].sha256} is {state}"]


def anchor_states(folder: Path, *, roots: Path | None = None) -> tuple[list[str], bool]:
    """Say of each anchor whether it holds, and whether none is broken. ``roots`` are trusted certificates (PEM)."""
    stamped = unchecked if roots is None else checker(roots.read_bytes())
    found = list(check_anchors(folder, read_entries(folder), stamped=stamped))
    lines = [f"{one.state:7s}ledger.jsonl:{one.line}: {one.kind}: {one.says}" for one in found]
    return lines or ["no anchor: nothing outside dates this ledger"], all(one.state != "broken" for one in found)


def export_lines(folder: Path, *, form: str, to: Path) -> list[str]:
    """Write a folder in another format into ``to``; say what was written and what was left out, and why.

    Raises ``UsageError`` for an unknown format or a folder without a study, ``OutputError`` where it cannot write.
    """
    writers: dict[str, Writer] = {name: partial(_predictions, make) for name, make in FORMS}
    writers |= dict(TABLES)
    if form not in writers:
        raise UsageError(f"no export to {form!r}", rule=f"one of {', '.join(writers)}")
    return writers[form](folder, to)


def _predictions(make: Callable[[Sequence[Entry]], Exported], folder: Path, to: Path) -> list[str]:
    exported = make(read_entries(folder))
    make_folder(to)
    for name, content in exported.files.items():
        write_whole(to / name, content)
    written = [str(to / name) for name in exported.files]
    return written + [f"left out {name}: {reason}" for name, reason in exported.left_out.items()]


def measurements(study: StudyFolder) -> Iterator[tuple[str | int | float, ...]]:
    """Yield every measurement of a folder's runs, ``COLUMNS`` each. A total of a whole answer has the role example.

    ``index`` is that of a held-out example, and empty for a training step.
    """
    for run in study.runs:
        for stream in (STEPS, REVIEWS):
            path = study.out / run.run / stream
            lines = read_stream(path) if path.is_file() else ()
            for line in (one for one in lines if one.get("kind") in ("step", "observation")):
                place = (run.run, run.arm, run.data_seed, line["split"], line["step"], line.get("index", ""))
                for metric, roles in line["metrics"].items():
                    for role, (total, count) in roles.items():
                        yield (*place, metric, role, float(total), count)


def _csv(folder: Path, to: Path) -> list[str]:
    rows = measurements(StudyFolder.open(folder))
    make_folder(to)
    path = to / "measurements.csv"
    try:
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            writer.writerow(COLUMNS)
            writer.writerows(rows)
    except OSError as error:
        raise unwritable(path, error) from None
    return [str(path)]


COLUMNS = ("run", "arm", "data_seed", "split", "step", "index", "metric", "role", "total", "count")

TABLES: tuple[tuple[str, Writer], ...] = (("csv", _csv),)
"""One row a format of measurements; formats of predictions are ``ledger.exports.FORMS``."""
