"""A value as canonical text, every character with a role, and the text read back.

``structure`` is what the format forces. ``decided`` is where an answer must be chosen: the digits of a number,
the first letter of a name, and whether a list or an object goes on. ``copied`` is the rest of a name.
"""

import json
import math
import re
from collections.abc import Collection, Iterator
from functools import partial
from typing import TypeAlias

from leonids.digest import Json
from leonids.records import Role, Span
from leonids.universe.blueprint import AnswerFormat
from leonids.universe.values import Hundredths, Record, Value, value_json

Pieces: TypeAlias = "list[tuple[str, Role]]"

_span = partial(tuple.__new__, Span)
"""A ``Span`` of the tuple of its fields, at half the time of the class's own constructor."""


def _word_pieces(word: str, fmt: AnswerFormat, opening: Role) -> Pieces:
    return [(fmt.quote, opening), (word[0], "decided"), (word[1:], "copied"), (fmt.quote, "copied")]


def _list_pieces(names: tuple[str, ...], fmt: AnswerFormat) -> Pieces:
    pieces: Pieces = [(fmt.list_open, "structure")]
    if names:
        pieces += _word_pieces(names[0], fmt, "decided")
    # As ``_word_pieces``, with what is the same for every name made once.
    before: Pieces = [(fmt.list_separator, "decided"), (fmt.quote, "structure")]
    after: tuple[str, Role] = (fmt.quote, "copied")
    for name in names[1:]:
        pieces += before
        pieces += ((name[0], "decided"), (name[1:], "copied"), after)
    pieces.append((fmt.list_close, "decided"))
    return pieces


def _record_pieces(value: Record, fmt: AnswerFormat) -> Pieces:
    pieces: Pieces = [(fmt.object_open, "structure")]
    for i, (key, inner) in enumerate(value.entries):
        if i:
            pieces.append((fmt.list_separator, "structure" if value.fixed else "decided"))
        if value.fixed:
            pieces.append((f"{fmt.quote}{key}{fmt.quote}", "structure"))
        else:
            pieces += _word_pieces(key, fmt, "structure" if i else "decided")
        pieces += [(fmt.key_end, "structure"), *_value_pieces(inner, fmt)]
    pieces.append((fmt.object_close, "structure" if value.fixed else "decided"))
    return pieces


def _value_pieces(value: Value, fmt: AnswerFormat) -> Pieces:
    if isinstance(value, Record):
        return _record_pieces(value, fmt)
    if isinstance(value, tuple):
        return _list_pieces(value, fmt)  # type: ignore[arg-type]
    if isinstance(value, str):
        return _word_pieces(value, fmt, "decided")
    return [(value.text if isinstance(value, Hundredths) else "null" if value is None else str(value), "decided")]


def answer_pieces(value: Value, fmt: AnswerFormat) -> Pieces:
    """Return the answer's text in pieces, each with its role."""
    return [(fmt.before, "structure"), *_value_pieces(value, fmt), (fmt.after, "structure")]


def answer_text(value: Value, fmt: AnswerFormat) -> str:
    """Return the answer's text.

    >>> answer_text(("otter", "onion"), AnswerFormat())
    '{"result":["otter","onion"]}'
    """
    return "".join(text for text, _ in answer_pieces(value, fmt))


def spans_of(prompt: str, pieces: Pieces) -> tuple[Span, ...]:
    """Return the spans of prompt and answer, neighbours of the same role joined, empty pieces left out."""
    spans: list[Span] = []
    role: Role = "prompt"
    start, position = 0, len(prompt)
    for text, now in pieces:
        if now != role and text:
            spans.append(_span((start, position, role)))
            role, start = now, position
        position += len(text)
    return (*spans, _span((start, position, role)))


def answer_json(value: Value) -> Json:
    """Return the answer as the JSON value that every format of a universe stands for."""
    return {"result": value_json(value)}


INNER = ("number", "names", "name", "nothing")
"""What an object's values can be."""

_NUMBER = re.compile(r"(0|[1-9]\d*)(\.\d?[1-9])?(?![\d.])")
_WORD = re.compile(r"[A-Za-z]+")


def _read_scalar(text: str, at: int, fmt: AnswerFormat) -> Iterator[tuple[Json, int]]:
    number = _NUMBER.match(text, at)
    if number is not None:
        yield (float(number[0]) if number[2] else int(number[0])), number.end()
    if text.startswith("null", at):
        yield None, at + len("null")
    yield from _read_word(text, at, fmt)


def _read_word(text: str, at: int, fmt: AnswerFormat) -> Iterator[tuple[str, int]]:
    word = _WORD.match(text, at + len(fmt.quote)) if text.startswith(fmt.quote, at) else None
    if word is not None and text.startswith(fmt.quote, word.end()):
        yield word[0], word.end() + len(fmt.quote)


def _read_list(text: str, at: int, fmt: AnswerFormat) -> Iterator[tuple[Json, int]]:
    if not text.startswith(fmt.list_open, at):
        return
    at += len(fmt.list_open)
    if text.startswith(fmt.list_close, at):
        yield [], at + len(fmt.list_close)
    names: list[str] = []
    while True:
        word = next(_read_word(text, at, fmt), None)
        if word is None:
            return
        names.append(word[0])
        at = word[1]
        if text.startswith(fmt.list_close, at):
            yield list(names), at + len(fmt.list_close)
        if not text.startswith(fmt.list_separator, at):
            return
        at += len(fmt.list_separator)


def _read_record(text: str, at: int, fmt: AnswerFormat) -> Iterator[tuple[Json, int]]:
    if not text.startswith(fmt.object_open, at):
        return
    at += len(fmt.object_open)
    entries: dict[str, Json] = {}
    while not text.startswith(fmt.object_close, at):
        if entries:
            if not text.startswith(fmt.list_separator, at):
                return
            at += len(fmt.list_separator)
        key = next(_read_word(text, at, fmt), None)
        if key is None or key[0] in entries or not text.startswith(fmt.key_end, key[1]):
            return
        value = next(_read(text, key[1] + len(fmt.key_end), fmt), None)
        if value is None:
            return
        entries[key[0]], at = value
    yield entries, at + len(fmt.object_close)


def _read(text: str, at: int, fmt: AnswerFormat) -> Iterator[tuple[Json, int]]:
    """Yield the values that ``text`` may show from ``at`` on, each with the place where it ends."""
    yield from _read_list(text, at, fmt)
    yield from _read_record(text, at, fmt)
    yield from _read_scalar(text, at, fmt)


def parse_answer(text: str, fmt: AnswerFormat, *, kinds: Collection[str]) -> Json:
    """Return the JSON value that ``text`` stands for under ``fmt``, or None where it is not in that format.

    ``kinds`` are the kinds of answers there are (skills.Kind), with ``nothing`` where null is one. JSON formats
    are read as JSON, so that white space and the order of keys do not change the meaning.
    """
    if fmt.name == "json":
        try:
            whole = json.loads(text, object_pairs_hook=_no_key_twice)
        except (ValueError, RecursionError):
            return None
        is_answer = isinstance(whole, dict) and set(whole) == {"result"} and _is_value(whole["result"], kinds)
        return whole if is_answer else None
    if len(text) < len(fmt.before) + len(fmt.after) or not (text.startswith(fmt.before) and text.endswith(fmt.after)):
        return None
    end = len(text) - len(fmt.after)
    for value, stop in _read(text[:end], len(fmt.before), fmt):
        if stop == end and _is_value(value, kinds):
            return {"result": value}
    return None


def _no_key_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)


def _is_value(value: object, kinds: Collection[str]) -> bool:
    if isinstance(value, dict):
        return "object" in kinds and all(_is_value(inner, INNER) for inner in value.values())
    if isinstance(value, list):
        return "names" in kinds and all(isinstance(name, str) for name in value)
    if isinstance(value, float):
        return "decimal" in kinds and math.isfinite(value)
    if isinstance(value, str):
        return "name" in kinds
    if value is None:
        return "nothing" in kinds
    return isinstance(value, int) and not isinstance(value, bool) and ("number" in kinds or "decimal" in kinds)
