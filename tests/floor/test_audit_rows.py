"""Files of any content are read or refused: what is wrong is named by its line, and nothing crashes."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leonids.errors import UsageError
from leonids.floor import audit_rows, audit_sample
from leonids.floor.audit import audit
from leonids.floor.audit_rows import FORMS, Malformed, Row, read_rows
from leonids.floor.audit_sample import Sample
from leonids.floor.base_files import find_base, read_tokenizer

GOOD = json.dumps({"prompt": "p", "completion": "a"}).encode()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(sorted({key for form in FORMS for key in form.keys} | {"input", "role", "from", "content"}))
SHAPED = st.dictionaries(KEYS, VALUES | st.lists(st.dictionaries(KEYS, VALUES, max_size=3), max_size=3), max_size=4)
LINES = st.one_of(
    st.binary(max_size=40).filter(lambda line: b"\n" not in line and b"\0" not in line),
    VALUES.map(lambda value: json.dumps(value).encode()),
    SHAPED.map(lambda value: json.dumps(value).encode()),
)


@given(lines=st.lists(LINES, max_size=8))
def test_any_lines_are_read_and_each_is_an_example_or_named(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    file = tmp_path_factory.mktemp("any") / "any.jsonl"
    file.write_bytes(b"\n".join([GOOD, *lines, GOOD]))
    wanted = [n for n, line in enumerate([GOOD, *lines, GOOD], start=1) if line.strip()]
    found = list(read_rows(file))
    assert [row.line for row in found] == wanted
    assert all(isinstance(row, Row) or row.reason for row in found)
    report = audit(file, read_tokenizer(find_base("nano")))
    assert report.examples == sum(isinstance(row, Row) for row in found)
    bad = [finding.numbers["count"] for finding in report.findings if finding.topic == "malformed"]
    assert bad == ([sum(isinstance(row, Malformed) for row in found)] if report.examples < len(found) else [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON"),
        (b'{"prompt": NaN, "completion": 1}', "NaN is not JSON"),
        (b'{"prompt": "\xff", "completion": ""}', "not UTF-8"),
        (b'{"prompt": "\\ud800", "completion": ""}', "surrogate"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"prompt": 1' + b"0" * 5000 + b"}", "not JSON"),
        (b'{"a": 1}', r"none of the known forms \(keys: a\)"),
        (b'{"messages": [{"role": "user", "content": "p"}]}', "no assistant turn"),
        (b'{"messages": "p"}', "no list of messages"),
        (b"3", "a JSON number"),
        (b"x" * 2000, "longer than"),
    ],
)
def test_a_malformed_line_is_named_with_its_reason(
    line: bytes, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason == "longer than":
        monkeypatch.setattr(audit_rows, "MOST_LINE_BYTES", 1000)
    file = tmp_path / "bad.jsonl"
    file.write_bytes(GOOD + b"\n\n" + line + b"\n" + GOOD)
    first, bad, last = read_rows(file)
    assert isinstance(bad, Malformed)
    assert (first.line, bad.line, last.line) == (1, 3, 4)
    assert re.search(reason, bad.reason)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (gzip.compress(GOOD), "gzip"),
        (b"PAR1\x15\x04", "parquet"),
        (b"\x7fELF\0\0\0", "binary"),
        (json.dumps([{"prompt": 1}]).encode(), "JSON array"),
        (b"\xef\xbb\xbf[\n", "JSON array"),
        (json.dumps({"prompt": 1}, indent=1).encode(), "several lines"),
        (GOOD.decode().encode("utf-16"), "UTF-16"),
        (b"BZh91AY", "compressed"),
    ],
)
def test_what_is_not_jsonl_is_refused_with_the_way_out(content: bytes, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=problem) as raised:
        list(read_rows(file))
    assert "\n" not in str(raised.value)
    with pytest.raises(UsageError, match="no file"):
        list(read_rows(tmp_path / "absent.jsonl"))


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD)
    assert [type(row) for row in read_rows(file)] == [Row]


@given(lengths=st.lists(st.integers(0, 400), min_size=1, max_size=60))
def test_a_sample_is_bounded_and_holds_the_longest(lengths: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit_sample, "MOST_ROWS", 10)
        patch.setattr(audit_sample, "MOST_CHARS", 1000)
        sample = Sample()
        made: list[Any] = [Row(i, "text", "x" * n, None, "string") for i, n in enumerate(lengths, start=1)]
        for row in made:
            sample.add(row)
    assert 1 <= len(sample.rows) <= 10
    assert len(sample.rows) == 1 or sum(len(row.text) for row in sample.rows) <= 1000
    assert max(len(row.text) for row in sample.longest) == max(lengths)
