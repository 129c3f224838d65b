import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leonids.errors import OutputError
from leonids.report.blocks import filled

NAMES = ("summary", "loss", "next")
OLD = {name: f"old {name}\nsecond line" for name in NAMES}
NEW = {name: f"new {name}" for name in NAMES}
# Whatever a person can type, carriage returns and odd separators among it; a marker is not words.
WORDS = st.text(max_size=80).filter(lambda text: "leonids:" not in text)


def outside(document: str) -> list[str]:
    """What stands outside of blocks, in order."""
    return re.split(r"<!-- leonids:begin \S+ -->\n.*?<!-- leonids:end \S+ -->", document, flags=re.DOTALL)


@given(st.lists(WORDS, min_size=4, max_size=4), st.permutations(NAMES))
def test_a_persons_words_survive_to_the_byte_wherever_they_stand(words: list[str], order: list[str]) -> None:
    def document(blocks: dict[str, str]) -> str:
        text = words[0]
        for name, word in zip(order, words[1:], strict=True):
            text += f"\n<!-- leonids:begin {name} -->\n{blocks[name]}\n<!-- leonids:end {name} -->\n" + word
        return text

    if "\r\n" not in document(OLD):
        assert filled(NEW, into=document(OLD), name="r") == document(NEW)


@given(WORDS)
def test_writing_twice_gives_the_same_bytes(words: str) -> None:
    once = filled(OLD, into=words, name="r")
    assert filled(OLD, into=once, name="r") == once
    assert once.startswith(words)


def test_a_document_with_windows_line_ends_keeps_them() -> None:
    once = filled(OLD, into="mine\r\n", name="r")
    assert once.count("\n") == once.count("\r\n")
    assert filled(OLD, into=once, name="r") == once


def test_a_block_that_was_removed_comes_back_and_one_that_was_moved_stays() -> None:
    once = filled(OLD, into="", name="r")
    start, end = once.index("<!-- leonids:begin loss"), once.index("<!-- leonids:begin next")
    moved = once[:start] + once[end:] + "\n" + once[start:end]
    assert outside(filled(NEW, into=moved, name="r")) == outside(moved)
    without = once[:start] + once[end:]
    assert filled(NEW, into=without, name="r").count("new loss") == 1


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("<!-- leonids:begin loss -->\nx\n", "ends inside the block 'loss'"),
        ("x\n<!-- leonids:end loss -->\n", "r:2 ends 'loss', but no block is open"),
        ("<!-- leonids:begin loss -->\n<!-- leonids:begin next -->\n", "r:2 begins 'next' inside 'loss'"),
        ("<!-- leonids:begin loss -->\n<!-- leonids:end next -->\n", "r:2 ends 'next', but 'loss' is open"),
        ("<!-- leonids:begin loss -->\n<!-- leonids:end loss -->\n" * 2, "r:3 begins 'loss' a second time"),
        ("<!-- leonids:begin other -->\n<!-- leonids:end other -->\n", "r:1 names the block 'other'"),
        ("words <!-- leonids:begin loss -->\n", "r:1 holds a marker that cannot be read"),
        ("<!-- leonids:begin loss -- >\n", "r:1 holds a marker that cannot be read"),
    ],
)
def test_broken_markers_are_refused_with_their_place(document: str, says: str) -> None:
    with pytest.raises(OutputError, match=re.escape(says)):
        filled(NEW, into=document, name="r")
