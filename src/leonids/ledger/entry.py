"""One ledger entry: sealed once, never changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, final

import rfc8785

from leonids.digest import Json, canonical_json, digest_of
from leonids.errors import UsageError
from leonids.ledger.chains import known_before
from leonids.ledger.lines import ENTRY_DOMAIN, MAIN, VERSION, open_entry

EntryType: TypeAlias = Literal[
    "genesis",
    "register",
    "amend",
    "withdraw",
    "data_start",
    "run_head",
    "run_end",
    "import",
    "review",
    "verdict",
    "anchor",
    "note",
]


@final
@dataclass(frozen=True, slots=True)
class Head:
    """How long the ledger is, and the last entry's sha256."""

    count: int
    sha256: str


@final
@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger. ``prev`` is the sha256 of the entry before it; ``ts`` is UTC with microseconds."""

    v: int
    seq: int
    ts: str
    type: EntryType
    prev: str
    body: Mapping[str, Json]
    sha256: str

    @property
    def count(self) -> int:
        """How many entries the ledger has up to and with this one: also its line number."""
        return self.seq + 1

    @property
    def known_before(self) -> int:
        """How many entries of the main chain are known to come before this one (``chains.known_before``)."""
        return known_before(self.body, self.seq)

    @property
    def writer(self) -> str:
        """Whose entry it is: the main chain's own, or one that it took over from another writer."""
        of = self.body.get("of")
        return str(of["writer"]) if isinstance(of, Mapping) else MAIN

    @property
    def origin(self) -> Head:
        """The entry's place and hash in the chain that it was first written into: streams quote that one."""
        of = self.body.get("of")
        if isinstance(of, Mapping):
            return Head(cast("int", of["count"]), str(of["sha256"]))
        return Head(self.count, self.sha256)


def seal(kind: EntryType, body: Mapping[str, Json], *, seq: int, ts: str, prev: str) -> bytes:
    """Return a new entry's line, without its newline: canonical JSON with the hash of all the rest in it.

    Raises ``UsageError`` for a body that JSON cannot hold exactly.
    """
    content: dict[str, Json] = {"v": VERSION, "seq": seq, "ts": ts, "type": kind, "prev": prev, "body": dict(body)}
    try:
        return canonical_json({**content, "sha256": digest_of(ENTRY_DOMAIN, content)})
    except rfc8785.CanonicalizationError as error:
        raise UsageError(
            f"a {kind} entry cannot be sealed ({error})",
            rule="entries hold finite numbers, exact integers and text",
            way_out="leave out what is missing",
        ) from None


def entry_of(line: bytes) -> Entry:
    """Return the entry that a line holds. Raises ``lines.Broken`` when it is not what was sealed."""
    return Entry(**open_entry(line))
