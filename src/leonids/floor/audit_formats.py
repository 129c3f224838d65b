"""The format of an answer, and what it says of itself: class, keys, a comment's count against the data's."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

MISSING = object()

COMMENT = re.compile(r"\s*(?://[^\n]*|#[^\n]*|--[^\n]*|/\*.*?\*/|<!--.*?-->)\s*", re.DOTALL)
ASSIGNMENT = re.compile(
    r"(?:(?:const|let|var|final|auto|return)\s+)?[A-Za-z_$][\w$.]*(?:\s*:\s*[\w<>\[\],]+)?\s*=\s*(?!=)"
)
TABLE = re.compile(r"^[ \t]*\|.*\|[ \t]*$", re.MULTILINE)
BULLET = re.compile(r"\s*(?:[-*•]|\d+[.)])\s")
PAIR = re.compile(r"\s*[\w .\"'-]{1,60}:(?:\s|$)")

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
THINGS = "items?|entry|entries|elements?|results?|values?|words?|names?|rows?|records?|match(?:es)?|keys?|lines?"
COUNTED = re.compile(
    rf"\b(\d{{1,9}}|{'|'.join(WORDS)})\s+(?:[a-z-]+\s+)?(?:{THINGS})\b|\b(?:count|total|length|size|n)\s*[:=]\s*(\d{{1,9}})\b",
    re.IGNORECASE,
)
COUNT_KEYS = ("count", "total", "n", "size", "length", "num", "number")


def parsed(text: str) -> Any:
    """Return the JSON value of a text, or ``MISSING`` where it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return MISSING


def meaning(text: str) -> str:
    """Return what two answers share that differ in writing alone: the JSON value, else the words.

    >>> meaning('{"b": 1,"a": 2}') == meaning('{"a": 2, "b": 1}')
    True
    """
    value = parsed(text)
    if value is MISSING:
        return normal(text)
    return json.dumps(value, sort_keys=True)


def normal(text: str) -> str:
    """Return a text without its differences of case and of white space."""
    return " ".join(text.casefold().split())


def split_comment(text: str) -> tuple[str, str]:
    """Return the comments at the start of a text, and the rest."""
    at = 0
    while match := COMMENT.match(text, at):
        if match.end() == at:
            break
        at = match.end()
    return text[:at].strip(), text[at:]


def data_of(text: str) -> Any:
    """Return the JSON value that a text is, or that it assigns to a name; ``MISSING`` where there is none."""
    text = text.strip()
    value = parsed(text)
    if value is MISSING and (match := ASSIGNMENT.match(text)):
        value = parsed(text[match.end() :].strip().removesuffix(";"))
    return value


def _json_class(text: str) -> str:
    value = parsed(text)
    if isinstance(value, dict | list):
        indented = ", indented" if "\n" in text.strip() else ""
        return ("JSON object" if isinstance(value, dict) else "JSON array") + indented
    if value is None or isinstance(value, bool):
        return "bare true, false or null"
    return "bare number" if isinstance(value, int | float) else "bare string in quotes"


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _all_lines(pattern: re.Pattern[str], text: str) -> bool:
    lines = _lines(text)
    return len(lines) > 1 and all(pattern.match(line) for line in lines)


def _columns(text: str) -> bool:
    counts = {line.count(",") for line in _lines(text)}
    return len(_lines(text)) > 1 and len(counts) == 1 and counts != {0}


@final
@dataclass(frozen=True, slots=True)
class Format:
    """A class of answers: ``holds`` says whether a text without white space around it is of it."""

    name: str
    holds: Callable[[str], bool]


FORMATS: tuple[Format, ...] = (
    Format("empty", lambda text: not text),
    Format("fenced block", lambda text: text.startswith("```")),
    Format("assignment", lambda text: ASSIGNMENT.match(text) is not None and data_of(text) is not MISSING),
    Format("XML or HTML", lambda text: text.startswith("<") and ("</" in text or "/>" in text)),
    Format("LaTeX", lambda text: "\\begin{" in text),
    Format("table", lambda text: len(TABLE.findall(text)) > 1),
    Format("list", lambda text: _all_lines(BULLET, text)),
    Format("key: value lines", lambda text: _all_lines(PAIR, text)),
    Format("comma-separated lines", _columns),
    Format("one word", lambda text: len(text.split()) == 1),
    Format("one line of text", lambda text: "\n" not in text),
    Format("text of several lines", lambda _text: True),
)
"""The classes of what is not JSON; the first that holds is the answer's."""


def format_of(text: str) -> str:
    r"""Return the class of an answer's format.

    >>> format_of('{"count": 3}'), format_of("3"), format_of('// 3 items\n{"count": 3}')
    ('JSON object', 'bare number', 'comment, then JSON object')
    """
    text = text.strip()
    if parsed(text) is not MISSING:
        return _json_class(text)
    comment, rest = split_comment(text)
    # A heading or a dash may begin any text: it is a comment where data follow.
    if comment and data_of(rest) is not MISSING:
        return f"comment, then {format_of(rest)}"
    return next(form.name for form in FORMATS if form.holds(text))


def keys_of(text: str) -> str | None:
    """Return the sorted keys of an answer that is a JSON object, else nothing."""
    value = parsed(text)
    return ", ".join(sorted(value)) if isinstance(value, dict) else None


def said_and_counted(text: str) -> tuple[int, int] | None:
    """Return the count that an answer's comment says and the count of its data, where there are both."""
    comment, rest = split_comment(text)
    match = COUNTED.search(comment) if comment else None
    counted = _count(data_of(rest)) if match else None
    if match is None or counted is None:
        return None
    said = (match[1] or match[2]).lower()
    return (WORDS.index(said) if said in WORDS else int(said)), counted


def _count(value: Any) -> int | None:
    if isinstance(value, list):
        return len(value)
    if not isinstance(value, dict):
        return None
    for key, inner in value.items():
        named = key.lower() in COUNT_KEYS or key.lower().endswith("_count")
        if named and isinstance(inner, int) and not isinstance(inner, bool):
            return inner
    lists = [inner for inner in value.values() if isinstance(inner, list)]
    return len(lists[0]) if len(lists) == 1 else None
