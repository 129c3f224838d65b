"""Check that a study folder is what was written. Standard library only; ``bundle.py`` makes one file of it.

The folder holds ``ledger.jsonl`` (one hash-chained entry a line), ``ledger.head`` (how many entries there are
and the last hash, so that a cut tail shows) and one folder a run with ``manifest.json`` and rolling-hashed
``.jsonl`` streams, whose heads are copied into the ledger. A writer on another machine has a chain of its own
(``chains.py``). Exit status: 0 whole, 3 broken, 2 nothing to check.
"""

import hashlib
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from leonids.ledger.chains import Chain, Findings, Problem, check_chains, check_witnesses, known_before
from leonids.ledger.lines import (
    FIRST,
    MAIN,
    MANIFEST,
    RUN_NAME,
    STREAMS,
    TYPES,
    Broken,
    Head,
    first_record,
    heads_of,
    numbered,
    open_line,
)


@final
@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found, what it looked at, and what that does not prove."""

    problems: tuple[Problem, ...]
    checked: tuple[str, ...]
    not_proven: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is broken."""
        return not self.problems

    def lines(self) -> Iterator[str]:
        """Yield the report as lines of text."""
        yield from (f"BROKEN   {p.place}: {p.what}" for p in self.problems)
        yield from (f"checked  {text}" for text in self.checked)
        yield from (f"unproven {text}" for text in self.not_proven)


@final
@dataclass(slots=True)
class _RunEntries:
    """What a chain says of one run: its data_start stands at ``line``, at ``place``; each mark seals stream lines."""

    name: str
    place: str
    line: int
    start: dict[str, Any]
    marks: list[tuple[str, dict[str, Head]]] = field(default_factory=list)
    ended: bool = False


def check_predictions(main: Chain, found: Findings) -> None:
    """Check that no prediction was registered twice, and that amendments and verdicts speak of registered ones."""
    known: set[str] = set()
    judged: set[str] = set()
    for place, _, entry in main.present(*STATED):
        try:
            stated = _stated(entry)
            names = {name for name, _ in stated}
            if entry["type"] == "register":
                if again := sorted(known & names):
                    raise Broken(f"{again[0]} is registered a second time; a changed prediction is an amendment")
                known |= names
            elif unknown := sorted(names - known):
                raise Broken(f"{unknown[0]} was not registered before this {entry['type']}")
            if entry["type"] in {"amend", "withdraw"} and not entry["body"].get("reason"):
                raise Broken(f"this {entry['type']} gives no reason")
            if entry["type"] == "amend":
                known |= {f"{name}.v{entry['body'].get('version')}" for name in names}
        except Broken as error:
            found.broken(place, str(error))
        else:
            judged |= {name for name, word in stated if word is not None and word != "not_due"}
    found.checked.append(f"predictions: {len(known)} registered once each, {len(judged)} with a verdict")
    if waiting := sorted(known - judged):
        found.unproven(f"no verdict is recorded for {', '.join(waiting)}")


STATED = {"register": "predictions", "amend": "prediction", "withdraw": "prediction", "verdict": "verdicts"}
"""The types of entries that speak of predictions, and the key under which they do."""


def _stated(entry: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return each prediction's id with the word of its verdict, if the entry is one."""
    stated = entry["body"].get(STATED[entry["type"]])
    items = stated if isinstance(stated, list) else [stated]
    rows = [item if isinstance(item, dict) else {"id": item} for item in items]
    key = "prediction" if entry["type"] == "verdict" else "id"
    ids = [(row[key], row.get("word")) for row in rows if isinstance(row.get(key), str)]
    if len(ids) != len(rows):
        raise Broken(f"a prediction in this {entry['type']} has no id")
    if entry["type"] == "register" and len({name for name, _ in ids}) != len(ids):
        raise Broken("two predictions in it have the same id")
    return ids


def check_anchors(main: Chain, found: Findings) -> None:
    """Check that each anchor quotes an entry of this ledger; the proofs themselves lie outside it."""
    dated = 0
    for place, number, entry in main.present("anchor"):
        head = entry["body"].get("head")
        count = head.get("count") if isinstance(head, dict) else None
        if type(count) is not int or not 0 < count < number:
            found.broken(place, "the anchor quotes no entry before it")
        elif (quoted := main.entries[count - 1]) is not None and quoted["sha256"] != head.get("sha256"):
            found.broken(place, f"the anchor quotes a hash that is not entry {count}'s")
        dated += entry["body"].get("status") != "owed"
    if dated:
        found.unproven(f"that the {dated} anchors' outside proofs are genuine: check them with whoever issued them")
    else:
        found.unproven(
            "without an anchor: that this ledger was not written anew at a later time, as after a failure, or with a "
            "clock set back, or that its tail was not cut together with ledger.head and whatever quotes it"
        )


def gather_runs(chains: Mapping[str, Chain], found: Findings) -> list[_RunEntries]:
    """Collect each run's start and sealed heads from the chain that it is written into."""
    runs: dict[str, _RunEntries] = {}
    for chain in chains.values():
        for place, number, entry in chain.present("data_start", "run_head", "run_end"):
            try:
                if "of" not in entry["body"]:
                    _gather(runs, place, number, entry)
            except Broken as error:
                found.broken(place, str(error))
    return list(runs.values())


def _gather(runs: dict[str, _RunEntries], place: str, number: int, entry: dict[str, Any]) -> None:
    name = entry["body"].get("run")
    if not isinstance(name, str) or not RUN_NAME.fullmatch(name):
        raise Broken(f"{name!r} is not the name of a run")
    run = runs.get(name)
    if entry["type"] == "data_start":
        if run is not None:
            raise Broken(f"run {name} starts a second time, after {run.place}")
        runs[name] = _RunEntries(name, place, number, entry)
        return
    if run is not None and place.split(":")[0] != run.place.split(":")[0]:
        raise Broken(f"run {name} is written into another chain too, {run.place}")
    if run is None or run.ended:
        raise Broken(f"run {name} {'has no data_start before this' if run is None else 'had ended before this'}")
    marks = heads_of(entry["body"])
    for stream, head in marks.items():
        if run.marks and head.records < (before := run.marks[-1][1][stream].records):
            raise Broken(f"{name}/{stream}.jsonl goes back from {before} lines to {head.records}")
    run.marks.append((place, marks))
    run.ended = entry["type"] == "run_end"


def check_run(folder: Path, run: _RunEntries, found: Findings) -> None:
    """Check a run's manifest and its streams against what the ledger sealed of them."""
    manifest = folder / run.name / MANIFEST
    if not manifest.is_file() or hashlib.sha256(manifest.read_bytes()).hexdigest() != run.start["body"].get("manifest"):
        found.broken(f"{run.name}/{MANIFEST}", f"it is missing or not what {run.place} sealed")
    for stream in STREAMS:
        place = f"{run.name}/{stream}.jsonl"
        found.covered.add(place)
        path = folder / place
        raw = path.read_bytes() if path.is_file() else b""
        try:
            hashes = _rolling(numbered(raw)[0], first_record(run.start, run.line, stream))
        except _At as at:
            found.broken(f"{place}:{at.line}", at.what)
        else:
            _check_marks(run, stream, hashes, raw, found)


class _At(Exception):
    """A stream's first broken line; the lines after it cannot be checked."""

    def __init__(self, line: int, what: str) -> None:
        self.line, self.what = line, what


def _rolling(lines: list[bytes], first: dict[str, Any]) -> list[str]:
    hashes: list[str] = []
    for number, line in enumerate(lines, 1):
        try:
            record, rolling = open_line(line, hashes[-1] if hashes else FIRST)
        except Broken as error:
            raise _At(number, str(error)) from None
        if number == 1 and record != {**first, "sha256": rolling}:
            raise _At(1, "it does not quote this run, its manifest and the ledger entry that started it")
        hashes.append(rolling)
    return hashes


class _Content:
    """The hash of a file's bytes up to one place after another."""

    def __init__(self, raw: bytes) -> None:
        self._raw, self._hash, self._at = memoryview(raw), hashlib.sha256(), 0

    def up_to(self, end: int) -> str:
        self._hash.update(self._raw[self._at : end])
        self._at = end
        return self._hash.hexdigest()


def _check_marks(run: _RunEntries, stream: str, hashes: list[str], raw: bytes, found: Findings) -> None:
    name = f"{run.name}/{stream}.jsonl"
    sealed, ends = 0, [at.end() for at in re.finditer(b"\n", raw)]
    content = _Content(raw)
    for place, marks in run.marks:
        sealed = marks[stream].records
        if sealed > len(hashes):
            found.broken(f"{name}:{len(hashes) + 1}", f"{place} sealed {sealed} lines, the file has {len(hashes)}")
            return
        if hashes[sealed - 1] != marks[stream].sha256:
            found.broken(f"{name}:{sealed}", f"it is not the line that {place} sealed")
            return
        stated = marks[stream].size, marks[stream].file_sha256
        if stated != (None, None) and stated != (ends[sealed - 1], content.up_to(ends[sealed - 1])):
            found.broken(place, f"what it states of the bytes of {name} up to line {sealed} is not so")
    beyond, rest = len(hashes) - sealed, raw[ends[-1] if ends else 0 :]
    if run.ended and (beyond or rest):
        found.broken(f"{name}:{sealed + 1}", "it was added after the run ended")
    found.checked.append(f"{name}: {len(hashes)} lines, {sealed} of them sealed by {len(run.marks)} ledger entries")
    if not run.ended and (beyond or rest or not sealed):
        found.unproven(
            f"{name}: the run has not ended; that its last {beyond} lines are all that was written"
            + (" (one more is being written or was cut short)" if rest else "")
        )


def check_files(folder: Path, main: Chain, found: Findings) -> None:
    """Check the files whose digests entries state, and that no ``.jsonl`` file lies here unaccounted for."""
    stated: dict[str, tuple[str, Any]] = {}
    for place, _, entry in main.present(*TYPES):
        files = entry["body"].get("files", {})
        stated |= {name: (place, sha256) for name, sha256 in files.items()} if isinstance(files, dict) else {}
    for name, (place, sha256) in sorted(stated.items()):
        path = folder / name
        if "\0" in name or not path.resolve().is_relative_to(folder.resolve()):
            found.broken(place, f"it names {name!r}, which lies outside the folder")
        elif not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            found.broken(name, f"it is missing or not what {place} sealed")
        found.covered.add(name)
    for path in sorted(folder.rglob("*.jsonl")):
        if (name := path.relative_to(folder).as_posix()) not in found.covered:
            found.broken(name, "no ledger entry covers this file")
    found.checked.append(f"files: {len(stated)} sealed by digest; every .jsonl file here is covered")


def verify(folder: Path) -> Report:
    """Check the study in ``folder``: the chains, their witnesses, every run's streams, predictions, sealed files."""
    found = Findings()
    chains = check_chains(folder, found)
    main = chains[MAIN]
    check_predictions(main, found)
    for run in gather_runs(chains, found):
        check_run(folder, run, found)
        before = known_before(run.start["body"], run.line - 1)
        if late := [place for place, line, _ in main.present("register", "amend") if line > before]:
            found.unproven(f"run {run.name} began before the predictions of {', '.join(late)}")
    check_files(folder, main, found)
    check_anchors(main, found)
    check_witnesses(chains, found)
    found.unproven("that no other runs were made and left out, and that the numbers are what the code computed")
    return Report(tuple(found.problems), tuple(found.checked), tuple(found.not_proven))


def main(arguments: list[str]) -> int:
    """Verify the folder named by the one argument and print the report."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        sys.stderr.write("usage: verify.py DIR, where DIR is the folder that holds ledger.jsonl\n")
        return 2
    report = verify(Path(arguments[0]))
    text = "".join(f"{line}\n" for line in report.lines())
    # Names come from files: a terminal must not obey them.
    sys.stdout.write("".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text))
    return 0 if report.ok else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
