"""Foreign text made safe to show. Names and sentences come from files, so they are text and never markup.

A terminal obeys control characters, a reader is misled by bidirectional ones, and Markdown and HTML obey
punctuation; after ``visible`` and ``markdown`` each of them is shown instead.
"""

import json
import re
import unicodedata
from typing import Any

UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode categories that are not seen, or change how their surroundings are seen."""

MOST_LINE = 2000
"""Characters of a line in a terminal; what is longer is cut, and says so."""

MARKS = re.compile(r"([\\`*_\[\]|~$#])")


def visible(text: str, *, most: int | None = None) -> str:
    r"""Return ``text`` on one line, with every character that cannot be seen written as its escape.

    ``most`` caps its length in characters.

    >>> print(visible("a\x1b[31m\u202eb"))
    a\x1b[31m\u202eb
    """
    shown = _seen(" ".join(text.split()))
    return shown if most is None or len(shown) <= most else shown[: most - 1] + "…"


def visible_lines(text: str) -> str:
    r"""Return ``text`` line by line as ``visible`` does, its spaces, tabs and line ends kept.

    >>> print(visible_lines("# a\n\u202e  b"))
    # a
    \u202e  b
    """
    return _seen(text.replace("\r\n", "\n"), but="\t\n")


def for_terminal(text: str) -> str:
    """Return ``text`` as ``visible_lines`` does, each line cut after ``MOST_LINE`` characters."""
    lines = visible_lines(text).split("\n")
    return "\n".join(line if len(line) <= MOST_LINE else line[: MOST_LINE - 1] + "…" for line in lines)


def json_text(value: Any) -> str:
    r"""Return ``value`` as JSON on one line: the same value to a program, and nothing that a terminal obeys.

    >>> print(json_text(["é", "\x9b", "\u202e"]))
    ["é", "\u009b", "\u202e"]
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if text.isprintable():
        return text
    return "".join(json.dumps(char)[1:-1] if unicodedata.category(char) in UNSEEN else char for char in text)


def _seen(text: str, *, but: str = "") -> str:
    if text.isprintable():
        return text
    return "".join(
        _escaped(char) if char not in but and unicodedata.category(char) in UNSEEN else char for char in text
    )


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def markdown(text: str, *, most: int | None = None) -> str:
    r"""Return ``text`` as Markdown that shows it, inside a line or a table's cell.

    >>> print(markdown("<img onerror=x> *a* [TBD]"))
    &lt;img onerror=x&gt; \*a\* \[TBD\]
    """
    line = MARKS.sub(r"\\\1", visible(text, most=most))
    # An ampersand first: what follows adds its own.
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
