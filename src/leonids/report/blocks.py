"""Two hands in one document: blocks between markers are filled, every other byte is a person's and is kept.

A block is ``<!-- leonids:begin NAME -->``, its text, ``<!-- leonids:end NAME -->``, each marker on a line of its
own. Blocks may be moved, and words may stand before, between and after them.
"""

import re
from collections.abc import Mapping
from typing import NoReturn

from leonids.errors import OutputError

REPORT, FIGURES = "report.md", "figures"
"""A study's document in its folder, and the folder of its figures there."""

MARKER = re.compile(r"<!-- leonids:(begin|end) ([A-Za-z0-9][A-Za-z0-9_.-]*) -->[ \t]*")
LINE = re.compile(r"[^\n]*\n|[^\n]+")
LIKE_A_MARKER = re.compile(r"<!--.*leonids:\s*(begin|end)\b")
"""What was meant as a marker. Text in blocks is escaped, so it never holds the opening of a comment."""


def filled(blocks: Mapping[str, str], *, into: str, name: str) -> str:
    """Return the document ``into`` with the text of every block replaced; blocks it lacks are put at its end.

    ``name`` is the file's name for messages. Raises ``OutputError`` for markers that are broken: nothing is
    guessed, so nothing that a person wrote can be lost.
    """
    newline = _newline(into)
    out: list[str] = []
    open_block = ""
    seen: set[str] = set()
    for number, line in enumerate(LINE.findall(into), 1):
        marker = _marker(line, f"{name}:{number}")
        if marker is None:
            if not open_block:
                out.append(line)
            continue
        kind, block = marker
        _check(kind, block, open_block=open_block, seen=seen, known=blocks, place=f"{name}:{number}")
        if kind == "begin":
            open_block = block
            seen.add(block)
            out += [line, *_lines(blocks[block], newline)]
        else:
            open_block = ""
            out.append(line)
    if open_block:
        _broken(f"{name} ends inside the block {open_block!r}", way_out=f"add <!-- leonids:end {open_block} -->")
    return "".join(out) + _added([block for block in blocks if block not in seen], blocks, after=out, newline=newline)


def _newline(text: str) -> str:
    """Return the line end of the first line: it stays what it is, whatever is added after it."""
    first, _, _ = text.partition("\n")
    # A lone carriage return at the end becomes a Windows line end with whatever follows it.
    return "\r\n" if first.endswith("\r") else "\n"


def _marker(line: str, place: str) -> tuple[str, str] | None:
    found = MARKER.fullmatch(line.rstrip("\r\n"))
    if found is not None:
        return found[1], found[2]
    if LIKE_A_MARKER.search(line):
        _broken(f"{place} holds a marker that cannot be read: {line.strip()[:80]!r}", way_out="mend or remove the line")
    return None


def _check(kind: str, block: str, *, open_block: str, seen: set[str], known: Mapping[str, str], place: str) -> None:
    if kind == "begin" and open_block:
        _broken(f"{place} begins {block!r} inside {open_block!r}", way_out=f"end {open_block!r} before it")
    if kind == "end" and block != open_block:
        inside = f"{open_block!r} is open" if open_block else "no block is open"
        _broken(f"{place} ends {block!r}, but {inside}", way_out="restore the begin marker or remove this one")
    if kind == "begin" and block in seen:
        _broken(f"{place} begins {block!r} a second time", way_out="keep one of the two blocks")
    if block not in known:
        _broken(f"{place} names the block {block!r}", way_out=f"known blocks are {', '.join(known)}; remove this one")


def _broken(problem: str, *, way_out: str) -> NoReturn:
    raise OutputError(problem, rule="a report's markers come in pairs, each name once", way_out=way_out)


def _lines(text: str, newline: str) -> list[str]:
    return [line + newline for line in text.split("\n")]


def _added(missing: list[str], blocks: Mapping[str, str], *, after: list[str], newline: str) -> str:
    added: list[str] = []
    for block in missing:
        added += [
            newline if after or added else "",
            f"<!-- leonids:begin {block} -->{newline}",
            *_lines(blocks[block], newline),
            f"<!-- leonids:end {block} -->{newline}",
        ]
    if added and after and not after[-1].endswith("\n"):
        added.insert(0, newline)
    return "".join(added)
