"""The chains of a folder: the main one, and one of each other writer. Each is whole, and as the others have seen it.

Standard library only. A writer's chain is ``writers/NAME/ledger.jsonl`` with its own ``ledger.head``. Each of its
entries quotes the heads of the other chains (``sees``), and the main chain takes each of them over (``of``), so
that every chain is witnessed by the others.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from leonids.ledger.lines import (
    FIRST,
    HEAD,
    LEDGER,
    MAIN,
    RUN_NAME,
    TYPES,
    WRITER_TYPES,
    WRITERS,
    Broken,
    head_bytes,
    numbered,
    open_entry,
)


@final
@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not what was written: ``place`` is ``file`` or ``file:line``."""

    place: str
    what: str


@final
@dataclass(frozen=True, slots=True)
class Findings:
    """What a check has found so far: it is added to while the check goes on."""

    problems: list[Problem] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    not_proven: list[str] = field(default_factory=list)
    covered: set[str] = field(default_factory=set)

    def broken(self, place: str, what: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(place, what))

    def unproven(self, what: str) -> None:
        """Add something that the check cannot speak for."""
        self.not_proven.append(what)


def chain_path(name: str) -> str:
    """Return where in a folder a chain lies, as the beginning of its files' paths."""
    return "" if name == MAIN else f"{WRITERS}/{name}/"


@final
@dataclass(frozen=True, slots=True)
class Chain:
    """One chain. ``entries`` has an item for each line: None where the line is broken."""

    name: str
    entries: list[dict[str, Any] | None]

    def place(self, number: int) -> str:
        """Return the file and line of an entry."""
        return f"{chain_path(self.name)}{LEDGER}:{number}"

    def present(self, *types: str) -> Iterator[tuple[str, int, dict[str, Any]]]:
        """Yield place, line number and entry of each whole entry of some types."""
        for number, entry in enumerate(self.entries, 1):
            if entry is not None and entry["type"] in types:
                yield self.place(number), number, entry


def check_chains(folder: Path, found: Findings, *, live: bool = False) -> dict[str, Chain]:
    """Check every chain of a folder by itself and against what the others quote of it; return them, the main first.

    ``live``: they may be growing, so that a half-written last line is none of them and no problem.
    """
    names = [MAIN, *_writer_names(folder, found)]
    before = [_read(folder, name, Findings(), live=live) for name in names] if names[1:] else []
    chains = {name: _read(folder, name, found, live=live) for name in names}
    # Chains grow while they are read: what was quoted before must be there now.
    for chain in before or chains.values():
        # What a writer's chain says of others counts while it is whole itself; the main chain speaks first.
        own = f"{chain_path(chain.name)}{LEDGER}"
        if chain.name == MAIN or not any(problem.place.startswith(own) for problem in found.problems):
            _check_quotes(chain, chains, found)
    for name in names[1:]:
        _check_writer(chains[name], chains[MAIN], found)
    return chains


def _writer_names(folder: Path, found: Findings) -> Iterator[str]:
    for path in sorted((folder / WRITERS).glob("*")):
        if path.is_symlink() or not path.is_dir() or not RUN_NAME.fullmatch(path.name) or path.name == MAIN:
            found.broken(f"{WRITERS}/{path.name}", "it is not the folder of a writer's chain")
        else:
            yield path.name


def _read(folder: Path, name: str, found: Findings, *, live: bool) -> Chain:
    """Check a chain's entries, their order and their witness. A broken line does not hide the ones after it."""
    at = chain_path(name)
    # The witness first: a chain that is being written is then never shorter than it says.
    witness = (folder / at / HEAD).read_bytes() if (folder / at / HEAD).is_file() else b""
    raw = (folder / at / LEDGER).read_bytes() if (folder / at / LEDGER).is_file() else b""
    lines, rest = numbered(raw)
    found.covered.add(at + LEDGER)
    chain = Chain(name, [])
    if (rest and not live) or not lines:
        found.broken(chain.place(len(lines) + 1), "it is half-written: no newline ends it" if rest else "it is missing")
    previous: dict[str, Any] | None = {"sha256": FIRST, "ts": ""}
    for number, line in enumerate(lines, 1):
        try:
            entry = open_entry(line)
        except Broken as error:
            found.broken(chain.place(number), str(error))
            chain.entries.append(None)
            previous = None
            continue
        for what in _misplaced(entry, number, previous):
            found.broken(chain.place(number), what)
        chain.entries.append(entry)
        previous = entry
    found.checked.append(f"{at}{LEDGER}: {len(lines)} entries, each one's hash, order, time and link to the one before")
    _check_head(chain, witness, found)
    return chain


def _misplaced(entry: dict[str, Any], number: int, previous: dict[str, Any] | None) -> Iterator[str]:
    if entry["seq"] != number - 1:
        yield f"its seq is {entry['seq']} where {number - 1} belongs: entries were removed, added or moved"
    if (entry["type"] == "genesis") != (number == 1):
        yield "a ledger begins with its only genesis entry"
    if previous is not None and entry["prev"] != previous["sha256"]:
        yield "its prev is not the hash of the entry before it"
    if previous is not None and entry["ts"] < previous["ts"]:
        yield f"its time {entry['ts']} is before the entry above it, {previous['ts']}"


def _check_head(chain: Chain, witness: bytes, found: Findings) -> None:
    """Check that the witness names the last entry, or an earlier one (a crash cut appends short)."""
    head, n = chain_path(chain.name) + HEAD, len(chain.entries)
    heads = {head_bytes(i, e["sha256"]): n - i for i, e in enumerate(chain.entries, 1) if e is not None}
    if witness not in heads:
        found.broken(head, f"it does not witness the last of {n} entries: the ledger's tail, or it, changed")
        return
    if heads[witness]:
        at = chain_path(chain.name) + LEDGER
        found.unproven(f"{head} is {heads[witness]} entries behind {at}, as after a crash; the next append repairs it")
    found.checked.append(f"{head}: the number of entries and the last hash")


def quotes_of(entry: Mapping[str, Any]) -> Iterator[tuple[str, int, str]]:
    """Yield ``(chain, number of entries, last sha256)`` of each head that an entry quotes. Raises ``Broken``."""
    body = entry["body"]
    sees, of = body.get("sees", {}), body.get("of")
    if not isinstance(sees, Mapping) or not (of is None or isinstance(of, Mapping)):
        raise Broken("what it quotes of other chains is no object")
    # What a writer saw is quoted by the writer; the main chain's copy of it quotes the copied entry alone.
    for name, head in sees.items() if of is None else [(of.get("writer"), of)]:
        count = head.get("count") if isinstance(head, Mapping) else None
        if not isinstance(name, str) or type(count) is not int or count < 1 or not isinstance(head["sha256"], str):
            raise Broken("what it quotes of another chain is not its number of entries and a sha256")
        yield name, count, head["sha256"]


def known_before(body: Mapping[str, Any], seq: int) -> int:
    """Return how many entries of the main chain are known to come before an entry.

    In the main chain that is all before it; of a writer's entry, or the copy of one, what the writer had seen.
    """
    if not isinstance(body.get("sees"), Mapping):
        return seq
    head = body["sees"].get(MAIN)
    count = head.get("count") if isinstance(head, Mapping) else None
    return count if type(count) is int else 0


def _check_quotes(chain: Chain, chains: Mapping[str, Chain], found: Findings) -> None:
    said: set[str] = set()
    for place, _, entry in chain.present(*TYPES):
        try:
            quotes = list(quotes_of(entry))
        except (Broken, KeyError) as error:
            found.broken(place, str(error))
            continue
        for name, count, sha256 in quotes:
            what = _unlike(chains.get(name), count, sha256)
            if what and name not in said:
                said.add(name)
                target = f"{chain_path(name)}{LEDGER}" if RUN_NAME.fullmatch(name) else place
                found.broken(f"{target}:{count}", f"{place} quotes this entry, {what}")


def _unlike(chain: Chain | None, count: int, sha256: str) -> str:
    if chain is None or not chain.entries:
        return "and the chain is missing"
    if count > len(chain.entries):
        return f"and the chain has {len(chain.entries)}: its tail was cut"
    entry = chain.entries[count - 1]
    return "and it is another one: the chain was written anew" if entry and entry["sha256"] != sha256 else ""


def taken_over(main: Chain) -> Iterator[tuple[str, str, int, dict[str, Any]]]:
    """Yield place, writer, number in the writer's chain and entry of each that the main chain has taken over."""
    for place, _, entry in main.present(*TYPES):
        of = entry["body"].get("of")
        if isinstance(of, dict) and isinstance(of.get("writer"), str) and type(of.get("count")) is int:
            yield place, of["writer"], of["count"], entry


def copied(entry: Mapping[str, Any], writer: str) -> tuple[str, dict[str, Any]]:
    """Return type and body of the main chain's copy of a writer's entry (its number is ``seq`` + 1)."""
    of = {"writer": writer, "count": entry["seq"] + 1, "sha256": entry["sha256"]}
    return "note" if entry["type"] == "genesis" else entry["type"], {**entry["body"], "of": of}


def _check_writer(chain: Chain, main: Chain, found: Findings) -> None:
    """Check that a writer's chain is one of runs, under its own name, and that the main chain's copies are true."""
    for place, number, entry in chain.present(*TYPES):
        body = entry["body"]
        foreign = entry["type"] == "note" and body.get("about") != "repair"
        if entry["type"] not in WRITER_TYPES or foreign or "of" in body:
            found.broken(place, f"a writer's chain holds its runs; a {entry['type']} belongs into {LEDGER}")
        elif number == 1 and body.get("writer") != chain.name:
            found.broken(place, f"it is the chain of {body.get('writer')!r}, in the folder of {chain.name!r}")
        elif not isinstance(body.get("sees"), dict) or MAIN not in body["sees"]:
            found.broken(place, f"it does not quote the head of {LEDGER}")
    copies = [(place, count, entry) for place, writer, count, entry in taken_over(main) if writer == chain.name]
    for expected, (place, count, entry) in enumerate(copies, 1):
        own = chain.entries[count - 1] if 0 < count <= len(chain.entries) else None
        if count != expected:
            found.broken(place, f"it takes over entry {count} of {chain.name!r} where {expected} belongs")
        elif (
            own is not None
            and own["sha256"] == entry["body"]["of"].get("sha256")
            and copied(own, chain.name) != (entry["type"], entry["body"])
        ):
            found.broken(place, f"it is not a copy of {chain.place(count)}")
    if (left := len(chain.entries) - len(copies)) > 0:
        at = chain_path(chain.name) + LEDGER
        found.unproven(f"{at}: {left} entries are not taken over yet; no verdict rests on them")


def check_witnesses(chains: Mapping[str, Chain], found: Findings) -> None:
    """Say of each chain how far the others vouch for it, where there are others."""
    if found.problems:
        return
    seen = dict.fromkeys(chains, 0)
    for chain in chains.values():
        for _, _, entry in chain.present(*TYPES):
            for name, count, _ in quotes_of(entry):
                seen[name] = max(seen.get(name, 0), count)
    if len(chains) > 1:
        found.checked.append(f"witnesses: what {len(chains)} chains quote of each other is there")
        for name, chain in chains.items():
            if beyond := len(chain.entries) - seen[name]:
                at = chain_path(name)
                found.unproven(
                    f"{at}{LEDGER}: no other chain quotes its last {beyond} entries: cut off together with {at}{HEAD} "
                    "they would not be missed"
                )
        found.unproven("that not all chains were cut back together, each to before it quotes what is gone")
