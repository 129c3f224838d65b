import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from leonids.report.escape import markdown, visible

TEXTS = st.text(alphabet=st.characters(), max_size=60)
NASTY = (
    "<img src=x onerror=alert(1)>",
    "[TBD]",
    "| a | b |",
    "`x`",
    "![a](b)",
    "\x1b[31mred",
    "a\u202eb",
    "&lt;",
    "-->",
)


def shown(rendered: str) -> str:
    return html.unescape(re.sub(r"</?(p|table|thead|tbody|tr|th|td)>", "", rendered)).strip()


@given(TEXTS)
def test_a_text_renders_as_itself_in_a_line(text: str) -> None:
    rendered = MarkdownIt("commonmark", {"html": False}).render(f"Name: {markdown(text)} end")
    assert " ".join(shown(rendered).split()) == " ".join(f"Name: {visible(text)} end".split())


@given(TEXTS)
def test_a_text_stays_in_its_cell_of_a_table(text: str) -> None:
    table = f"| a | b |\n| --- | --- |\n| x{markdown(text)}x | y |"
    rendered = MarkdownIt("commonmark", {"html": False}).enable("table").render(table)
    cells = re.findall(r"<td>(.*?)</td>", rendered, re.DOTALL)
    assert len(cells) == 2
    assert " ".join(html.unescape(cells[0]).split()) == " ".join(f"x{visible(text)}x".split())


@given(TEXTS)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert all(char.isprintable() or char == " " for char in visible(text))


@pytest.mark.parametrize("text", NASTY)
def test_markup_in_names_is_never_markup(text: str) -> None:
    assert "[TBD]" not in markdown(text)
    assert "<" not in markdown(text)
    assert "-->" not in markdown(text)


@given(TEXTS, st.integers(min_value=1, max_value=20))
def test_a_cap_holds(text: str, most: int) -> None:
    assert len(visible(text, most=most)) <= most
