"""Whether a folder is what was written: what `leonids verify` does beyond the verifier that ships with a report."""

from dataclasses import replace
from pathlib import Path

from leonids.errors import UsageError
from leonids.ledger.anchors import check_anchors
from leonids.ledger.chain import Ledger, read_entries
from leonids.ledger.chains import chain_path
from leonids.ledger.lines import HEAD, LEDGER, MAIN, MANIFEST, WRITERS
from leonids.ledger.timestamps import unchecked
from leonids.ledger.verify import Report, verify
from leonids.study.rederive import differences


def _check_folder(folder: Path) -> None:
    if not any((folder / name).is_file() for name in (LEDGER, HEAD)) and not any(folder.glob(f"*/{MANIFEST}")):
        raise UsageError(f"{folder} holds no study", rule=f"a study's folder has {LEDGER}", way_out="check the path")


def check(folder: Path, *, rederive: bool) -> tuple[Report, list[str]]:
    """Return the verifier's report, and all problems as ``place: what``, judging again if ``rederive``.

    Of a whole ledger's anchors it asks what can be asked without a network: git, where the folder is in its repository.

    Raises ``UsageError`` for a folder that is no study's; one whose ledger was taken away is a broken one.
    """
    _check_folder(folder)
    report = verify(folder)
    problems = [f"{problem.place}: {problem.what}" for problem in report.problems]
    if not problems:
        held, unsure = _anchors(folder)
        report = replace(report, checked=(*report.checked, *held), not_proven=(*report.not_proven, *unsure))
    if rederive and not problems:
        problems = differences(folder)
    return report, problems


def _anchors(folder: Path) -> tuple[list[str], list[str]]:
    """Return which anchors hold, and which could not be checked here: grades go by what the entries themselves say."""
    held, unsure = [], []
    try:
        for one in check_anchors(folder, read_entries(folder), stamped=unchecked):
            place = f"{LEDGER}:{one.line}: {one.kind} anchor"
            if one.state == "held":
                held.append(f"{place}: {one.says}")
            elif one.state == "broken":
                unsure.append(f"{place} does not hold here ({one.says}): `anchored` rests on this entry's own word")
    except UsageError as error:
        unsure.append(f"its anchors cannot be checked here ({error}): `anchored` rests on their own word")
    return held, unsure


def mend(folder: Path) -> str:
    """Repair a half-written last line of a folder's chains and say what was done.

    Raises ``UsageError`` for a folder that is no study's, ``IntegrityError`` for what no crash can have left.
    """
    _check_folder(folder)
    said = []
    for writer in (MAIN, *sorted(path.parent.name for path in (folder / WRITERS).glob(f"*/{LEDGER}"))):
        if (entry := Ledger.repair(folder, writer=writer)) is not None:
            done = "completed" if "completed" in entry.body else "removed"
            place = f"{chain_path(writer)}{LEDGER}:{entry.count}"
            said.append(f"repaired: a half-written last line was {done}; {place} says so")
    return "\n".join(said) or "nothing to repair: the ledger's last line is whole"
