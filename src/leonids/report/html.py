"""The report as one self-contained HTML file: no script, nothing loaded from anywhere, ready to print."""

import base64
import hashlib
import html
import re
from collections.abc import Mapping, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

from leonids.report.escape import visible

MANY_SECTIONS = 5
"""From so many sections on, a document begins with its contents."""

COMMENT = re.compile(r"^ {0,3}<!--.*?-->[ \t]*$", re.DOTALL | re.MULTILINE)

STYLE = """
:root { color-scheme: light; }
body { margin: 0; color: #1a1a1a; background: #fff; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem 1.25rem 4rem; }
h1, h2, h3 { line-height: 1.25; margin: 2rem 0 0.75rem; }
h2 { border-bottom: 1px solid #ccc; padding-bottom: 0.25rem; }
pre { white-space: pre-wrap; padding: 0.75rem; background: #f5f5f5; font-size: 0.8rem; }
code { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
table { display: block; overflow-x: auto; border-collapse: collapse; font-size: 0.85rem; }
th, td { border: 1px solid #ccc; padding: 0.25rem 0.5rem; text-align: left; vertical-align: top; }
th { background: #f0f0f0; }
.contents ul { columns: 20rem; padding-left: 1.25rem; }
.contents li { break-inside: avoid; }
img { display: block; max-width: 100%; height: auto; margin: 1rem auto 0.25rem; }
@media print {
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  pre { background: none; border: 1px solid #ccc; }
  table { display: table; width: 100%; font-size: 8pt; }
  h1, h2, h3 { break-after: avoid; }
  img, tr, li { break-inside: avoid; }
}
"""


def page(text: str, *, title: str, images: Mapping[str, bytes]) -> str:
    """Return a report's Markdown as a whole HTML page.

    ``images`` maps the paths of its figures to SVG, which goes into the page; any other image is shown as its
    text, since nothing is loaded. Raw HTML in the Markdown is shown as text, comments are left out.
    """
    body = rendered(text, images=images)
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(visible(title))}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{body}</main>
</body>
</html>
"""


def rendered(text: str, *, images: Mapping[str, bytes]) -> str:
    """Return a report's Markdown as the HTML inside a page's body, under the same rules as ``page``."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(COMMENT.sub("", text))
    _inline(tokens, {path: _data(svg) for path, svg in images.items()})
    _contents(tokens)
    return str(reader.renderer.render(tokens, reader.options, {}))


def _contents(tokens: list[Token]) -> None:
    """Give every section an anchor, and a document of many of them a list of links before the first."""
    places = [at for at, token in enumerate(tokens) if token.type == "heading_open" and token.tag == "h2"]
    items = []
    for number, at in enumerate(places, 1):
        tokens[at].attrs["id"] = f"section-{number}"
        words = html.escape("".join(part.content for part in tokens[at + 1].children or ()))
        items.append(f'<li><a href="#section-{number}">{words}</a></li>\n')
    if len(items) >= MANY_SECTIONS:
        listed = Token("html_block", "", 0)
        listed.content = f'<nav class="contents" aria-label="Contents">\n<ul>\n{"".join(items)}</ul>\n</nav>\n'
        tokens.insert(places[0], listed)


def _data(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def _inline(tokens: Sequence[Token], data: Mapping[str, str]) -> None:
    """Put the figures into the tokens that show them; turn every other image into text."""
    for token in tokens:
        if token.type == "image":
            source = data.get(str(token.attrs.get("src", "")))
            if source is None:
                token.type, token.tag, token.children = "text", "", None
            else:
                token.attrs["src"] = source
        _inline(token.children or (), data)
