import base64
import hashlib
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leonids.report.document import write_report
from leonids.report.escape import markdown
from leonids.report.html import MANY_SECTIONS, page
from leonids.study.folder import StudyFolder

SVG = b"<svg xmlns='http://www.w3.org/2000/svg'/>"


class Seen(HTMLParser):
    """The tags and attributes of a page, as a browser would read them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def harmless(seen: Seen) -> None:
    for tag, attributes in seen.tags:
        assert tag not in {"script", "iframe", "object", "embed", "link", "base", "form", "svg"}
        assert not any(name.startswith("on") for name in attributes)
        assert str(attributes.get("src", "data:")).startswith("data:image/svg+xml;base64,") or "src" not in attributes
        assert not str(attributes.get("href", "")).lower().startswith(("javascript:", "data:", "vbscript:"))


ATTACKS = st.sampled_from([
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "![x](http://example.org/a.png)",
    "![x](javascript:1)",
    "[x](javascript:alert(1))", "[x](data:text/html,x)", "<!-- c -->", "<!--", "-->", "```", "<svg onload=x>",
    "&lt;b&gt;",
    "![f](figures/a.svg)", "<style>", "</style>", "</main>", "\n\n", "| a |\n| - |\n", "> ", "- ", "text ",
])  # fmt: skip


@given(st.lists(ATTACKS, max_size=8).map("".join), st.text(max_size=30))
def test_whatever_the_markdown_holds_the_page_runs_and_loads_nothing(text: str, title: str) -> None:
    harmless(Seen(page(text, title=title, images={"figures/a.svg": SVG})))


def test_figures_are_in_the_page_and_other_images_are_text() -> None:
    seen = Seen(
        page("![one](figures/a.svg) ![two](http://example.org/b.png)", title="t", images={"figures/a.svg": SVG})
    )
    images = [attributes for tag, attributes in seen.tags if tag == "img"]
    assert [image["alt"] for image in images] == ["one"]
    assert base64.b64decode(str(images[0]["src"]).split(",")[1]) == SVG
    assert "two" in seen.text


def test_the_policy_allows_the_pages_own_style_and_nothing_else() -> None:
    text = page("x", title="t", images={})
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = next(a["content"] for tag, a in Seen(text).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert f"style-src 'sha256-{digest}'" in str(policy)
    assert str(policy).startswith("default-src 'none'")
    assert "unsafe" not in str(policy)


@given(st.lists(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20), max_size=9))
def test_a_document_of_many_sections_begins_with_links_to_each(names: list[str]) -> None:
    text = "# title\n\n" + "\n\n".join(f"## {markdown(name)}\n\nwords" for name in names)
    seen = Seen(page(text, title="t", images={}))
    harmless(seen)
    anchors = [one["id"] for tag, one in seen.tags if tag == "h2"]
    links = [one["href"] for tag, one in seen.tags if tag == "a"]
    assert len(set(anchors)) == len(names)
    assert links == ([f"#{anchor}" for anchor in anchors] if len(names) >= MANY_SECTIONS else [])
    for name in names:
        assert seen.text.count(name) >= (2 if links else 1)


def test_raw_html_is_shown_and_comments_are_left_out() -> None:
    text = page("<b>bold?</b>\n\n<!-- leonids:begin loss -->\nwords\n<!-- leonids:end loss -->\n", title="t", images={})
    assert "<b>bold?</b>" in Seen(text).text
    assert "leonids:begin" not in text
    assert "words" in text


def test_a_whole_report_is_one_harmless_file(whole: StudyFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole.out, out)
    write_report(out, html=True)
    once = (out / "report.html").read_bytes()
    seen = Seen(once.decode())
    harmless(seen)
    assert sum(tag == "img" for tag, _ in seen.tags) == len(list((out / "figures").iterdir())) > 5
    assert "leonids:begin" not in once.decode()
    for heading in ("What the loss is made of", "Progress Tracking", "Key Questions To Answer", "Integrity"):
        assert heading in seen.text
    images = {path.relative_to(out).as_posix(): path.read_bytes() for path in (out / "figures").iterdir()}
    again = page((out / "report.md").read_text("utf-8"), title=whole.study.title, images=images)
    assert again.encode() == once


@pytest.mark.parametrize("title", ["</title><script>x</script>", "a\u202eb"])
def test_a_title_is_text(title: str) -> None:
    assert all(tag != "script" for tag, _ in Seen(page("x", title=title, images={})).tags)
