"""Other people's examples: JSONL of several forms read line by line, in bounded memory, with what is wrong named."""

import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from leonids.errors import UsageError

MOST_LINE_BYTES = 16 << 20
SNIFFED_BYTES = 8192
ASSISTANTS = ("assistant", "gpt", "model", "chatgpt", "bot")


@final
@dataclass(frozen=True, slots=True)
class Row:
    """One example. ``answer`` is absent in the text form, whose prompt is the whole text.

    ``kind`` says what the answer's value was in the file: string, number, bool, null, object or list.
    """

    line: int
    form: str
    prompt: str
    answer: str | None
    kind: str

    @property
    def text(self) -> str:
        """The whole example."""
        return self.prompt if self.answer is None else f"{self.prompt}\n{self.answer}"


@final
@dataclass(frozen=True, slots=True)
class Malformed:
    """A line that is no example, and why."""

    line: int
    reason: str


@final
@dataclass(frozen=True, slots=True)
class Form:
    """A way to write examples: ``read`` returns (prompt, answer value), or the reason why it cannot."""

    name: str
    keys: tuple[str, ...]
    read: Callable[[Mapping[str, Any]], tuple[str, Any] | str]


def _joined(value: Any) -> str:
    """Return a prompt's text: a string, or the contents of messages in their order."""
    if not isinstance(value, list):
        return _written(value)
    return "\n".join(_content(turn) for turn in value)


def _content(turn: Any) -> str:
    value = turn.get("content", turn.get("value", turn.get("text"))) if isinstance(turn, dict) else turn
    if isinstance(value, list):
        return "".join(_content(part) for part in value)
    return "" if value is None else _written(value)


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _turns(value: Any) -> tuple[str, Any] | str:
    """Split a conversation before its last assistant turn, which is the answer."""
    if not isinstance(value, list) or not all(isinstance(turn, dict) for turn in value):
        return "its conversation is no list of messages"
    said = [i for i, turn in enumerate(value) if turn.get("role", turn.get("from")) in ASSISTANTS]
    if not said:
        return "its conversation has no assistant turn"
    last = value[said[-1]]
    answer = last.get("content", last.get("value"))
    if isinstance(answer, list):
        answer = _content(last)
    # A turn that only calls tools says nothing else.
    return _joined(value[: said[-1]]), last.get("tool_calls") if answer is None else answer


def _pair(prompt: str, answer: str) -> Callable[[Mapping[str, Any]], tuple[str, Any] | str]:
    def read(row: Mapping[str, Any]) -> tuple[str, Any] | str:
        value = row[answer]
        turns = isinstance(value, list) and value and all(isinstance(turn, dict) and "role" in turn for turn in value)
        return _joined(row[prompt]), _joined(value) if turns else value

    return read


def _alpaca(row: Mapping[str, Any]) -> tuple[str, Any] | str:
    parts = (row["instruction"], row.get("input"))
    return "\n".join(_written(part) for part in parts if part not in (None, "")), row["output"]


FORMS: tuple[Form, ...] = (
    Form("messages", ("messages",), lambda row: _turns(row["messages"])),
    Form("ShareGPT", ("conversations",), lambda row: _turns(row["conversations"])),
    Form("prompt/completion", ("prompt", "completion"), _pair("prompt", "completion")),
    Form("Alpaca", ("instruction", "output"), _alpaca),
    Form("prompt/response", ("prompt", "response"), _pair("prompt", "response")),
    Form("question/answer", ("question", "answer"), _pair("question", "answer")),
    Form("input/output", ("input", "output"), _pair("input", "output")),
    Form("text", ("text",), lambda row: (_written(row["text"]), None)),
)
"""The forms that are known; the first whose keys a line has is its form."""

KINDS: tuple[tuple[type, str], ...] = (
    (str, "string"),
    (bool, "bool"),
    (int, "number"),
    (float, "number"),
    (dict, "object"),
    (list, "list"),
)


def read_rows(path: Path) -> Iterator[Row | Malformed]:
    """Yield the examples of a JSONL file, and its malformed lines, in their order. Blank lines are passed over.

    Raises ``UsageError`` for a file that is absent, empty, compressed, binary, or JSON of another shape.
    """
    _check(path)
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(MOST_LINE_BYTES + 1):
            number += 1
            if len(line) > MOST_LINE_BYTES:
                while line and not line.endswith(b"\n"):
                    line = stream.readline(MOST_LINE_BYTES)
                yield Malformed(number, f"is longer than {MOST_LINE_BYTES >> 20} MiB")
                continue
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line.strip():
                yield _row(number, line)


def _check(path: Path) -> None:
    if not path.is_file():
        raise UsageError(f"there is no file {path}", rule="audit reads one JSONL file")
    with path.open("rb") as stream:
        head = stream.read(SNIFFED_BYTES)
    if not head.strip():
        raise UsageError(f"{path} is empty", rule="audit needs one JSON object a line")
    marks = (
        (head.startswith(b"\x1f\x8b"), "is compressed with gzip", f"gunzip -k {path.name}"),
        (head.startswith(b"PAR1"), "is a parquet file", "write it as JSONL: pandas.read_parquet(...).to_json(...)"),
        (head.startswith((b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ")), "is compressed", "decompress it"),
        (zipfile.is_zipfile(path) and head.startswith(b"PK"), "is a zip archive", "unpack it"),
        (head.startswith((b"\xff\xfe", b"\xfe\xff")), "is UTF-16", "convert it to UTF-8"),
        (b"\0" in head, "is binary", "give a text file"),
        (
            head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["),
            "is a JSON array",
            "write one object a line: jq -c '.[]'",
        ),
        (re.match(rb"\s*\{\s*\n", head), "is JSON over several lines", "write one object a line: jq -c ."),
    )
    for found, problem, way_out in marks:
        if found:
            raise UsageError(f"{path} {problem}", rule="audit reads JSONL: one JSON object a line", way_out=way_out)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _row(number: int, line: bytes) -> Row | Malformed:
    try:
        text = line.decode("utf-8")
        value = json.loads(text, parse_constant=_no_constant)
    except UnicodeDecodeError:
        return Malformed(number, "is not UTF-8")
    except RecursionError:
        return Malformed(number, "is nested too deeply")
    except ValueError as error:
        return Malformed(number, f"is not JSON ({str(error)[:80]})")
    if not isinstance(value, dict):
        return Malformed(number, f"is a JSON {_kind(value)}, not an object")
    if "\\ud" in text.lower() and not _encodable(value):
        return Malformed(number, "has half of a surrogate pair")
    return _of(number, value)


def _of(number: int, value: Mapping[str, Any]) -> Row | Malformed:
    form = next((form for form in FORMS if all(key in value for key in form.keys)), None)
    if form is None:
        keys = ", ".join(list(value)[:5])[:80]
        return Malformed(number, f"has none of the known forms (keys: {keys or 'none'})")
    found = form.read(value)
    if isinstance(found, str):
        return Malformed(number, found)
    prompt, answer = found
    if form.name == "text":
        return Row(number, form.name, prompt, None, _kind(value["text"]))
    return Row(number, form.name, prompt, _written(answer), _kind(answer))


def _kind(value: Any) -> str:
    return next((name for kind, name in KINDS if isinstance(value, kind)), "null")


def _encodable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
