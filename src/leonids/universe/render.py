"""A value as canonical text, every character with a role.

``structure`` is what the format forces. ``decided`` is where an answer must be chosen: the digits of a
number, the first letter of a name, and whether a list goes on. ``copied`` is the rest of a name.
"""

import json
from typing import TypeAlias

from leonids.digest import Json
from leonids.records import Role, Span
from leonids.universe.blueprint import AnswerFormat
from leonids.universe.skills import Value

Pieces: TypeAlias = "list[tuple[str, Role]]"


def _list_pieces(names: tuple[str, ...], fmt: AnswerFormat) -> Pieces:
    pieces: Pieces = [(fmt.list_open, "structure")]
    for i, name in enumerate(names):
        if i:
            pieces += [(fmt.list_separator, "decided"), (fmt.quote, "structure")]
        else:
            pieces.append((fmt.quote, "decided"))
        pieces += [(name[0], "decided"), (name[1:], "copied"), (fmt.quote, "copied")]
    pieces.append((fmt.list_close, "decided"))
    return pieces


def answer_pieces(value: Value, fmt: AnswerFormat) -> Pieces:
    """Return the answer's text in pieces, each with its role."""
    inner: Pieces = [(str(value), "decided")] if isinstance(value, int) else _list_pieces(value, fmt)  # type: ignore[arg-type]
    return [(fmt.before, "structure"), *inner, (fmt.after, "structure")]


def answer_text(value: Value, fmt: AnswerFormat) -> str:
    """Return the answer's text.

    >>> answer_text(("otter", "onion"), AnswerFormat())
    '{"result":["otter","onion"]}'
    """
    return "".join(text for text, _ in answer_pieces(value, fmt))


def spans_of(prompt: str, pieces: Pieces) -> tuple[Span, ...]:
    """Return the spans of prompt and answer, neighbours of the same role joined, empty pieces left out."""
    spans = [Span(0, len(prompt), "prompt")]
    position = len(prompt)
    for text, role in pieces:
        if not text:
            continue
        if spans[-1].role == role and spans[-1].end == position:
            spans[-1] = Span(spans[-1].start, position + len(text), role)
        else:
            spans.append(Span(position, position + len(text), role))
        position += len(text)
    return tuple(spans)


def answer_json(value: Value) -> Json:
    """Return the answer as the JSON value that every format of a universe stands for."""
    return {"result": value if isinstance(value, int) else list(value)}  # type: ignore[arg-type]


def _parse_names(text: str, fmt: AnswerFormat) -> list[str] | None:
    if not (text.startswith(fmt.list_open) and text.endswith(fmt.list_close)):
        return None
    inner = text[len(fmt.list_open) : len(text) - len(fmt.list_close)]
    if not inner:
        return []
    names = []
    for part in inner.split(fmt.list_separator):
        name = part[len(fmt.quote) : len(part) - len(fmt.quote)]
        if part != f"{fmt.quote}{name}{fmt.quote}" or not name.isalpha():
            return None
        names.append(name)
    return names


def parse_answer(text: str, fmt: AnswerFormat) -> Json:
    """Return the JSON value that ``text`` stands for under ``fmt``, or None where it is not in that format.

    JSON formats are read as JSON, so that white space does not change the meaning.
    """
    if fmt.name == "json":
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
        return value if _is_answer(value) else None
    if len(text) < len(fmt.before) + len(fmt.after) or not (text.startswith(fmt.before) and text.endswith(fmt.after)):
        return None
    inner = text[len(fmt.before) : len(text) - len(fmt.after)]
    if inner.isascii() and inner.isdigit():
        return {"result": int(inner)}
    names = _parse_names(inner, fmt)
    return None if names is None else {"result": list(names)}


def _is_answer(value: object) -> bool:
    if not isinstance(value, dict) or set(value) != {"result"}:
        return False
    result = value["result"]
    if isinstance(result, list):
        return all(isinstance(name, str) for name in result)
    return isinstance(result, int) and not isinstance(result, bool)
