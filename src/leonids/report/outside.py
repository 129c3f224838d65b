"""A folder and the world outside it, for a reader: anchors of its ledger, its predictions in other registries."""

from pathlib import Path

from leonids.errors import UsageError
from leonids.ledger.anchors import anchor_git, anchor_timestamp, check_anchors
from leonids.ledger.chain import Ledger, read_entries
from leonids.ledger.exports import export_predictions
from leonids.ledger.timestamps import checker, stamp_at, unchecked


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
    """Write a folder's predictions for another registry and say what was written and what was left out."""
    exported = export_predictions(folder, form=form, to=to)
    written = [str(to / name) for name in exported.files]
    return written + [f"left out {name}: {reason}" for name, reason in exported.left_out.items()]
