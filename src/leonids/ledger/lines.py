"""The form of the ledger's and the streams' lines: how one is written, and how a strict reader opens it.

Standard library only. With ``chains.py`` and ``verify.py`` this makes the one-file verifier that ships with reports.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Any, NamedTuple

LEDGER, HEAD, MANIFEST = "ledger.jsonl", "ledger.head", "manifest.json"
STREAMS = ("steps", "reviews")
MAIN, WRITERS = "main", "writers"
"""The name of the chain in the folder itself, and the folder of the other writers' chains, by their names."""
VERSION, FIRST = 1, "0" * 64
ENTRY_DOMAIN, LINE_DOMAIN = "leonids/entry/1", "leonids/line/1"
TYPES = (
    "genesis", "register", "amend", "withdraw", "data_start", "run_head", "run_end",
    "import", "review", "verdict", "anchor", "note",
)  # fmt: skip
WRITER_TYPES = ("genesis", "data_start", "run_head", "run_end", "note")
"""What stands in a writer's chain: runs. Predictions, verdicts and anchors are the main chain's."""
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
SEAL = re.compile(rb',"sha256":"([0-9a-f]{64})"\}')
SEAL_BYTES = 77
SAFE_INTEGER = 2**53 - 1


class Head(NamedTuple):
    """How far a stream had come: ``records`` lines with the first, the last one's hash ``sha256``.

    ``size`` is the number of bytes that these lines have, ``file_sha256`` the SHA-256 of those bytes: the same lines a
    second time, in a form that is checked as fast as a file is read. Heads written before it was have neither.
    """

    records: int
    sha256: str
    size: int | None = None
    file_sha256: str | None = None


class Broken(ValueError):
    """A line or a body that cannot be what was written; the text says why."""


def canonical(value: Any) -> bytes:
    """Return ``value`` as RFC 8785 JSON. Raises ``ValueError`` for what JSON cannot hold exactly."""
    return _text(value).encode()


def _text(value: Any) -> str:
    kind = type(value)
    if kind is float:
        return _number(value)
    if kind is int and -SAFE_INTEGER <= value <= SAFE_INTEGER:
        return str(value)
    if kind is str:
        return encode_basestring(value)
    if kind is dict:
        names = sorted(value) if _ascii(value) else sorted(value, key=_utf16)
        return "{" + ",".join([f"{encode_basestring(name)}:{_text(value[name])}" for name in names]) + "}"
    if kind is list or kind is tuple:
        return "[" + ",".join([_text(item) for item in value]) + "]"
    if value is None or kind is bool:
        return "null" if value is None else "true" if value else "false"
    return _text(_plain(value))


def _plain(value: Any) -> Any:
    """Return a value of a JSON type's subclass, such as an enumeration's text, as that type."""
    if isinstance(value, int):
        if abs(value) > SAFE_INTEGER:
            raise ValueError(f"{value} is beyond 2**53, where JSON numbers stop being exact")
        return int(value)
    if isinstance(value, str):
        return str.__str__(value)
    kinds: tuple[type[Any], ...] = (float, dict, list, tuple)
    for kind in kinds:
        if isinstance(value, kind):
            return kind(value)
    raise ValueError(f"{type(value).__name__} is not a JSON type")


def _ascii(names: Any) -> bool:
    """Return whether names are ASCII: then their order as UTF-16, which is RFC 8785's, is that of their characters."""
    try:
        return "".join(names).isascii()
    except TypeError:
        return False


def _utf16(name: Any) -> bytes:
    if not isinstance(name, str):
        raise ValueError(f"the key {name!r} is not text")
    return name.encode("utf-16-be")


def _number(value: float) -> str:
    """Write a number as ECMAScript does (RFC 8785, 3.2.2.3): the shortest digits, no exponent in [1e-6, 1e21)."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a JSON number")
    text = float.__repr__(value)
    if "e" not in text:
        return ("0" if value == 0 else text[:-2]) if text.endswith(".0") else text
    mantissa, exponent = text.split("e")
    sign, mantissa = ("-", mantissa[1:]) if mantissa[0] == "-" else ("", mantissa)
    digits = mantissa.removesuffix(".0").replace(".", "")
    power = int(exponent)
    if -7 < power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{digits}"
    if 0 <= power < 21:
        return sign + digits.ljust(power + 1, "0")
    return f"{sign}{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e{power:+d}"


def sha256_hex(domain: str, data: bytes) -> str:
    """Return the SHA-256 of ``domain``, a zero byte and ``data``."""
    return hashlib.sha256(domain.encode() + b"\0" + data).hexdigest()


def strict_object(line: bytes) -> dict[str, Any]:
    """Parse one line as a JSON object; raise ``Broken`` for all that two readers could read differently."""
    if line.startswith(b"\xef\xbb\xbf"):
        raise Broken("it begins with a byte order mark")
    if line.endswith(b"\r"):
        raise Broken("it ends in CR LF; lines end in LF alone")
    try:
        value = json.loads(
            line.decode("utf-8"),
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_exact_or_float,
        )
    except Broken:
        raise
    except (ValueError, RecursionError) as error:
        raise Broken(f"it is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise Broken("it is not a JSON object")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise Broken(f"the key {next(n for n in names if names.count(n) > 1)!r} stands twice in one object")
    return found


def _no_constant(text: str) -> float:
    raise Broken(f"{text} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Broken(f"{text} is beyond the range of numbers")
    return value


def _exact_or_float(text: str) -> int | float:
    """Integers beyond 2**53 are floats written without an exponent (RFC 8785 writes 1e20 as digits)."""
    return int(text) if len(text) <= 17 and abs(int(text)) <= SAFE_INTEGER else _finite(text)


def open_entry(line: bytes) -> dict[str, Any]:
    """Return one ledger entry after checking its shape, its canonical form and its own hash."""
    entry = strict_object(line)
    _check_shape(entry)
    try:
        if canonical(entry) != line:
            raise Broken("it is not in canonical form (RFC 8785)")
    except RecursionError:
        raise Broken("it is nested too deeply") from None
    except UnicodeEncodeError:
        raise Broken("it holds half a surrogate pair") from None
    # What is hashed is the line without its hash, which only ts, type and v come after: none of them can look like it.
    content = b"".join(line.rpartition(b'"sha256":"%s",' % entry["sha256"].encode())[::2])
    if sha256_hex(ENTRY_DOMAIN, content) != entry["sha256"]:
        raise Broken("its content does not match its sha256")
    return entry


def _check_shape(entry: Mapping[str, Any]) -> None:
    if set(entry) != {"v", "seq", "ts", "type", "prev", "body", "sha256"}:
        raise Broken(f"an entry has the keys v, seq, ts, type, prev, body, sha256; this one has {sorted(entry)}")
    if entry["v"] != VERSION:
        raise Broken(f"it is of format {entry['v']!r}; this verifier reads format {VERSION}")
    if entry["type"] not in TYPES:
        raise Broken(f"its type is {entry['type']!r}; the types are {', '.join(TYPES)}")
    if not isinstance(entry["body"], dict) or type(entry["seq"]) is not int:
        raise Broken("its body is not an object or its seq is not an integer")
    if not isinstance(entry["sha256"], str):
        raise Broken(f"its sha256 is {entry['sha256']!r}, not text")
    if not isinstance(entry["ts"], str) or not TIMESTAMP.fullmatch(entry["ts"]):
        raise Broken(f"its time is {entry['ts']!r}, not of the form 2026-01-31T12:00:00.000000Z")


def open_line(line: bytes, previous: str) -> tuple[dict[str, Any], str]:
    """Return one stream line's record and its rolling hash, which is checked against ``previous``.

    A line is the record's canonical JSON with ``,"sha256":"..."`` put before the last brace.
    """
    stated = SEAL.fullmatch(line[-SEAL_BYTES:])
    if stated is None:
        raise Broken("it does not end in its sha256")
    rolling = stated[1].decode()
    if sha256_hex(LINE_DOMAIN, previous.encode() + line[:-SEAL_BYTES] + b"}") != rolling:
        raise Broken("its content, or a line before it, does not match its sha256")
    return strict_object(line), rolling


def numbered(raw: bytes) -> tuple[list[bytes], bytes]:
    """Return the complete lines and what follows the last newline."""
    *lines, rest = raw.split(b"\n")
    return lines, rest


def head_bytes(count: int, sha256: str) -> bytes:
    """Return the content of the witness file for a ledger of ``count`` entries."""
    return canonical({"count": count, "sha256": sha256, "v": VERSION}) + b"\n"


def heads_of(body: Mapping[str, Any]) -> dict[str, Head]:
    """Return each stream's head of a body that states them. Raises ``Broken`` where it does not."""
    streams = body.get("streams")
    if not isinstance(streams, Mapping) or set(streams) != set(STREAMS):
        raise Broken(f"it does not state the heads of {' and '.join(STREAMS)}")
    heads: dict[str, Head] = {}
    for stream, head in streams.items():
        records = head.get("records") if isinstance(head, Mapping) else None
        if type(records) is not int or records < 1 or not isinstance(head.get("sha256"), str):
            raise Broken(f"its head of {stream} is not a number of records and a sha256")
        size, file_sha256 = head.get("bytes"), head.get("file_sha256")
        stated = type(size) is int and size > 0 and isinstance(file_sha256, str)
        if not stated and (size is not None or file_sha256 is not None):
            raise Broken(f"its head of {stream} does not state the bytes of its lines and their file_sha256 together")
        heads[stream] = Head(records, head["sha256"], size, file_sha256)
    return heads


def first_record(start: Mapping[str, Any], line: int, stream: str) -> dict[str, Any]:
    """Return what a stream's first line says, given its run's data_start entry: it names the ledger it follows."""
    body = start["body"]
    quote = {"count": line, "sha256": start["sha256"]}
    return {
        "kind": "data_start", "ledger": quote, "manifest": body.get("manifest"),
        "run": body["run"], "stream": stream, "v": VERSION,
    }  # fmt: skip
