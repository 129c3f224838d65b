"""Judging again: every verdict in a ledger must follow from the files, byte for byte."""

from pathlib import Path

from leonids.digest import canonical_json
from leonids.study.conduct import judge_folder, verdict_json
from leonids.study.folder import StudyFolder


def differences(out: Path) -> list[str]:
    """Return one line for each verdict entry that does not follow from the folder's data, in order."""
    folder = StudyFolder.open(out)
    found = []
    for entry in folder.entries:
        if entry.type != "verdict":
            continue
        at = entry.body["at"]
        share = None if at == "end" else float(at)  # type: ignore[arg-type]
        again = [verdict_json(verdict) for verdict in judge_folder(folder, at=share)]
        if canonical_json(again) != canonical_json(entry.body["verdicts"]):
            found.append(f"ledger.jsonl:{entry.count}: the verdicts at {at} do not follow from the files")
    return found
