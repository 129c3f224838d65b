"""Several machines that write one folder: each run has one owner, and each owner a chain of its own.

Where a network file system keeps no locks, two processes must not append to one file. What it does keep is that a
file is created once: so a run is claimed, by whoever trains it, before it begins. Decision 0009.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from leonids.errors import IntegrityError, OutputError
from leonids.ledger.chain import Ledger, read_entries
from leonids.ledger.chains import Chain, Findings, check_chains, copied
from leonids.ledger.disk import make_folder, unreadable, unwritable
from leonids.ledger.entry import Entry, EntryType
from leonids.ledger.lines import MAIN, RUN_NAME, WRITERS

CLAIMS = "claims"


def owner(out: Path, run: str) -> str:
    """Return who claimed a run; empty before anybody did, and for what is no run's name."""
    try:
        return (out / CLAIMS / run).read_text("utf-8") if RUN_NAME.fullmatch(run) else ""
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(out / CLAIMS / run, error if isinstance(error, OSError) else OSError(str(error))) from None


def claim(out: Path, run: str, writer: str) -> str:
    """Claim a run for a writer, if nobody has, and return whose it is."""
    make_folder(out / CLAIMS)
    path = out / CLAIMS / run
    try:
        with path.open("x", encoding="utf-8") as handle:
            handle.write(writer)
    except FileExistsError:
        return owner(out, run)
    except OSError as error:
        raise unwritable(path, error) from None
    return writer


def claim_all(out: Path, runs: Sequence[str], writer: str) -> None:
    """Claim runs for a writer. Raises ``OutputError``, before the first is claimed, where one is another's."""
    others = {run: whose for run in runs if (whose := owner(out, run) or writer) != writer}
    others = others or {run: whose for run in runs if (whose := claim(out, run, writer)) != writer}
    for run, whose in others.items():
        raise OutputError(
            f"run {run} is claimed by {whose or 'a writer who did not say its name'}",
            rule="a run is trained by one writer",
            way_out=f"choose other --arms; if that writer never begins it, delete {out / CLAIMS / run}",
        )


def run_ledger(out: Path, run: str) -> Ledger:
    """Open the chain that a run is written into: its owner's, and the main one where nobody claimed it."""
    return Ledger.open(out, writer=owner(out, run) or MAIN)


def take_over(out: Path, ledger: Ledger) -> None:
    """Copy into the main chain what the other writers have added to theirs, each entry with its place and hash.

    Raises ``IntegrityError`` for a chain that is not whole, or not as the others have seen it.
    """
    if not (out / WRITERS).is_dir():
        return
    found = Findings()
    chains = check_chains(out, found, live=True)
    for problem in found.problems:
        raise IntegrityError(
            f"{out / problem.place}: {problem.what}",
            rule="each writer's chain is only appended to, and witnessed by the others",
            way_out="restore it from a copy; `leonids verify` lists all that is broken",
        )
    for chain in chains.values():
        if chain.name != MAIN:
            _take_over(chain, ledger)


def _take_over(chain: Chain, ledger: Ledger) -> None:
    known = sum(entry.writer == chain.name for entry in ledger.entries())
    for entry in chain.entries[known:]:
        if entry is None:
            return
        kind, body = copied(entry, chain.name)
        run = str(body.get("run", ""))
        begun = [e for e in ledger.entries() if e.type == "data_start" and e.body.get("run") == run]
        if begun and (kind == "data_start" or begun[0].writer != chain.name):
            raise IntegrityError(
                f"{chain.place(entry['seq'] + 1)}: run {run} is in the chain of {begun[0].writer} already",
                rule="a run has one writer",
                way_out="begin the study anew in another --out",
            )
        ledger.append(cast("EntryType", kind), body)


def read_witnessed(out: Path) -> tuple[Entry, ...]:
    """Return a folder's ledger, as ``read_entries`` does, after asking the other writers' chains what they saw of it.

    Raises ``IntegrityError`` where one has seen more, or something else.
    """
    if (out / WRITERS).is_dir():
        found = Findings()
        check_chains(out, found, live=True)
        for problem in found.problems:
            if not problem.place.startswith(f"{WRITERS}/"):
                raise IntegrityError(
                    f"{out / problem.place}: {problem.what}",
                    rule="a ledger is only appended to",
                    way_out="restore the folder from a copy; `leonids verify` lists all that is broken",
                )
    return read_entries(out)


def broken_writers(out: Path) -> frozenset[str]:
    """Return the writers whose chains are not whole, or not as others saw them: no verdict rests on their runs."""
    found = Findings()
    check_chains(out, found, live=True)
    return frozenset(p.place.split("/")[1].split(":")[0] for p in found.problems if p.place.startswith(f"{WRITERS}/"))
