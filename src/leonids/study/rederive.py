"""Judging again: every verdict in a ledger must follow from the files, byte for byte."""

from pathlib import Path
from typing import cast

from leonids.digest import canonical_json
from leonids.ledger.chain import read_entries
from leonids.study.conduct import judge_folder, plain, verdict_json
from leonids.study.folder import PLAN, StudyFolder, note_about


def differences(out: Path) -> list[str]:
    """Return one line for each verdict entry that does not follow from the folder's data, in order.

    Each is judged from the ledger as it was when it was written: a later entry cannot change what it says.
    Raises ``IntegrityError`` where the plan and a lock state a prediction differently.
    """
    entries = read_entries(out)
    found = []
    if note_about(entries, PLAN) is not None:
        _ = StudyFolder(out, entries).study
    for entry in entries:
        if entry.type != "verdict":
            continue
        folder = StudyFolder(out, entries[: entry.seq])
        at = cast("str | float", entry.body["at"])
        again = [verdict_json(verdict) for verdict in judge_folder(folder, at=None if at == "end" else float(at))]
        if canonical_json(plain(again)) != canonical_json(entry.body["verdicts"]):
            found.append(f"ledger.jsonl:{entry.count}: the verdicts at {at} do not follow from the files")
    return found
