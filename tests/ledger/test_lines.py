import enum
import math

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from leonids.ledger.lines import Broken, canonical, open_entry, open_line, strict_object

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
SCALARS = st.none() | st.booleans() | INTEGERS | FLOATS | TEXT
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=10)


@given(JSON)
def test_our_canonical_form_is_rfc_8785(value):
    assert canonical(value) == rfc8785.dumps(value)


@given(st.integers(0, 2**64 - 1).map(lambda bits: math.ldexp(bits, (bits % 2000) - 1000 - 64)))
def test_numbers_of_every_size_are_written_as_rfc_8785_writes_them(value):
    if math.isfinite(value):
        assert canonical([value, -value]) == rfc8785.dumps([value, -value])


@given(st.dictionaries(TEXT, JSON))
def test_a_strict_reader_reads_back_what_was_written(value):
    assert canonical(strict_object(canonical(value))) == canonical(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53, -(2**53), {1: 2}, {"a": {1, 2}}, "\ud800", b"x"])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(ValueError, match=r"not a JSON|beyond|not text|surrogates"):
        canonical(value)


def test_subclasses_are_written_as_their_json_type():
    class Colour(enum.StrEnum):
        RED = "red"

    class Size(enum.IntEnum):
        BIG = 3

    assert canonical([Colour.RED, Size.BIG]) == rfc8785.dumps([Colour.RED, Size.BIG]) == b'["red",3]'


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"a":1,"b":{"c":1,"c":2}}', "'c' stands twice"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":-Infinity}', "-Infinity"),
        (b'{"a":1e400}', "beyond the range"),
        (b'{"a":' + b"9" * 400 + b"}", "beyond the range"),
        (b'\xef\xbb\xbf{"a":1}', "byte order mark"),
        (b'{"a":1}\r', "CR LF"),
        (b'{"a":"\xff"}', "not JSON"),
        (b'{"a":' * 100_000, "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"a":1', "not JSON"),
        (b"", "not JSON"),
    ],
)
def test_a_line_that_two_readers_could_read_differently_is_refused(line, why):
    with pytest.raises(Broken, match=why):
        strict_object(line)


@given(st.binary(max_size=300))
def test_any_bytes_are_opened_or_refused_in_words(line):
    for reader in (strict_object, open_entry, lambda raw: open_line(raw, "0" * 64)):
        with pytest.raises(Broken):
            reader(line)
