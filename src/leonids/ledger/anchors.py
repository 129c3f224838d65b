"""Anchors: something outside dates a head of the ledger, so that the whole of it cannot be written anew later.

Only the head, a number and a hash, goes out. An anchor that cannot be had now is *owed*: the entry says so and
why, and it counts for nothing until a later one is held.
"""

import hashlib
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, final

from leonids.digest import Json
from leonids.errors import OutputError, UsageError
from leonids.ledger.chain import Ledger
from leonids.ledger.disk import make_folder, unreadable, write_whole
from leonids.ledger.entry import Entry, Head
from leonids.ledger.lines import HEAD, LEDGER, Broken, head_bytes, numbered, open_entry

PROOFS = "anchors"
WAIT_S = 60.0

Stamp: TypeAlias = Callable[[bytes], "Stamped"]
"""Ask a time-stamping authority (RFC 3161) for a signed time of a message. Raises ``OSError`` when offline."""


@final
@dataclass(frozen=True, slots=True)
class Stamped:
    """An authority's answer: the signed token as it came, the time in it (UTC, RFC 3339), and who was asked."""

    token: bytes
    time: str
    authority: str


@final
@dataclass(frozen=True, slots=True)
class AnchorCheck:
    """What was found of one anchor entry: ``line`` in the ledger, whether it holds, and why or why not."""

    line: int
    kind: str
    state: Literal["held", "owed", "broken"]
    says: str


def anchor_git(ledger: Ledger) -> Entry:
    """Commit the ledger (no other file) to the git repository around it, and write down the commit.

    Held once a remote-tracking branch has the commit, since whoever holds the remote then vouches for it; owed
    before that: push, and anchor again. Raises ``UsageError`` outside a repository, ``OutputError`` where git fails.
    """
    folder = ledger.folder
    _git(folder, "rev-parse", "--show-toplevel", way_out="make the folder part of a git repository")
    head = ledger.head()
    _git(folder, "add", "--force", "--", LEDGER, HEAD)
    if _git(folder, "status", "--porcelain", "--", LEDGER, HEAD):
        _git(folder, "commit", "--quiet", "--message", f"Ledger head {head.count} {head.sha256}", "--", LEDGER, HEAD)
    commit = _git(folder, "log", "-1", "--format=%H", "--", LEDGER)
    remotes = _branches(folder, commit)
    body: dict[str, Json] = {"kind": "git", "commit": commit}
    if remotes:
        return _append(ledger, head, {**body, "status": "held", "branch": remotes[0]})
    return _append(ledger, head, {**body, "status": "owed", "reason": "no remote branch has the commit yet: push"})


def anchor_timestamp(ledger: Ledger, *, stamp: Stamp, authority: str) -> Entry:
    """Have the head signed with the time by an authority (``timestamps.stamp_at``), and keep the token.

    Owed, with the reason, where the authority cannot be reached.
    """
    head = ledger.head()
    try:
        stamped = stamp(head_bytes(head.count, head.sha256))
    except OSError as error:
        reason = str(error.strerror or error)
        return _append(ledger, head, {"kind": "rfc3161", "authority": authority, "status": "owed", "reason": reason})
    name = f"{PROOFS}/{head.count}.tsr"
    make_folder(ledger.folder / PROOFS)
    write_whole(ledger.folder / name, stamped.token)
    body: dict[str, Json] = {"kind": "rfc3161", "authority": stamped.authority, "time": stamped.time}
    files: dict[str, Json] = {name: hashlib.sha256(stamped.token).hexdigest()}
    return _append(ledger, head, {**body, "status": "held", "files": files})


def check_anchors(
    folder: Path, entries: Sequence[Entry], *, stamped: Callable[[bytes, bytes], str]
) -> Iterator[AnchorCheck]:
    """Yield what is found of each anchor against what lies outside the ledger.

    ``stamped`` takes a token and the message it signs and returns its time, or raises ``Broken``
    (``timestamps.checker``). A commit must have the quoted entry in its ledger and be an ancestor of what is
    checked out, and of its remote branch where it is said to be held.
    """
    for entry in entries:
        if entry.type != "anchor":
            continue
        kind = str(entry.body.get("kind"))
        if entry.body.get("status") == "owed":
            yield AnchorCheck(entry.count, kind, "owed", str(entry.body.get("reason", "")))
            continue
        try:
            head = _head(entry)
            if not 0 < head.count < entry.count or entries[head.count - 1].sha256 != head.sha256:
                raise Broken(f"it quotes a hash that is not entry {head.count}'s")
            says = _check_commit(folder, entry) if kind == "git" else _check_token(folder, entry, stamped)
            yield AnchorCheck(entry.count, kind, "held", says)
        except Broken as error:
            yield AnchorCheck(entry.count, kind, "broken", str(error))


def _check_commit(folder: Path, entry: Entry) -> str:
    commit, branch = str(entry.body.get("commit")), str(entry.body.get("branch"))
    head = _head(entry)
    prefix = _git(folder, "rev-parse", "--show-prefix")
    there = _run(folder, "show", f"{commit}:{prefix}{LEDGER}")
    if there.returncode:
        raise Broken(f"the repository has no commit {commit[:12]} with this ledger")
    lines, _ = numbered(there.stdout)
    if len(lines) < head.count or open_entry(lines[head.count - 1])["sha256"] != head.sha256:
        raise Broken(f"the ledger in commit {commit[:12]} has another entry {head.count}")
    for name in ("HEAD", branch):
        if _run(folder, "merge-base", "--is-ancestor", commit, name).returncode:
            raise Broken(f"commit {commit[:12]} is no ancestor of {name}: history was rewritten")
    date = _git(folder, "log", "-1", "--format=%cI", commit)
    return f"commit {commit[:12]} of {date} is in {branch}; the date is the committer's own word"


def _check_token(folder: Path, entry: Entry, stamped: Callable[[bytes, bytes], str]) -> str:
    head = _head(entry)
    path = folder / PROOFS / f"{head.count}.tsr"
    try:
        token = path.read_bytes()
    except OSError as error:
        raise Broken(str(unreadable(path, error))) from None
    time = stamped(token, head_bytes(head.count, head.sha256))
    if time != entry.body.get("time"):
        raise Broken(f"the token says {time}, the entry {entry.body.get('time')}")
    return f"{entry.body.get('authority')} signed head {head.count} at {time}"


def _append(ledger: Ledger, head: Head, body: dict[str, Json]) -> Entry:
    quoted: dict[str, Json] = {"count": head.count, "sha256": head.sha256}
    return ledger.append("anchor", {"head": quoted, **body})


def _head(entry: Entry) -> Head:
    quoted = entry.body.get("head")
    if not isinstance(quoted, dict):
        raise Broken("the anchor quotes no head")
    return Head(int(quoted["count"]), str(quoted["sha256"]))


def _branches(folder: Path, commit: str) -> list[str]:
    listed = _git(folder, "branch", "--remotes", "--contains", commit, "--format=%(refname:short)").splitlines()
    return sorted(name for name in listed if not name.endswith("/HEAD") and "/" in name)


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, timeout=WAIT_S, check=False)
    except FileNotFoundError:
        raise UsageError("git is not installed", rule="a git anchor is made with git") from None
    except subprocess.TimeoutExpired:
        raise OutputError(f"git {arguments[0]} took more than {WAIT_S:.0f} s", rule="git answers at once") from None


def _git(folder: Path, *arguments: str, way_out: str = "see what git says in that folder") -> str:
    done = _run(folder, *arguments)
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise UsageError(f"git {arguments[0]} failed in {folder}", rule=said[0] if said else "", way_out=way_out)
    return done.stdout.decode().strip()
