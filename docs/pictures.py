"""Take the pictures of the page from a finished run: the one in the README, or all pages to look at.

    python docs/pictures.py DIR                     docs/pictures/page.png, 1280 x 800
    python docs/pictures.py DIR --every FOLDER      every page whole: light, dark and narrow

DIR is a run's folder, such as `make demo` makes. A Chromium that is installed takes them.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parent / "pictures" / "page.png"
PAGES = ("/", "/prediction", "/arms", "/anatomy", "/confidence", "/examples", "/ledger", "/report")
LOOKS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 800}},
    "narrow": {"color_scheme": "light", "viewport": {"width": 390, "height": 800}},
}
WIDE = {"color_scheme": "light", "viewport": {"width": 1760, "height": 1100}, "device_scale_factor": 8 / 11}
"""The README's picture: more of the page on 1280 x 800 pixels."""

DRAWN = "[...document.querySelectorAll('figure[data-drawn]')].every(f => f.dataset.points)"


@contextmanager
def served(out: Path) -> Iterator[str]:
    """Serve a folder in a process of its own; gives the link that opens it once."""
    command = [sys.executable, "-m", "leonids", "serve", str(out)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        yield server.stderr.readline().strip()
    finally:
        server.terminate()
        server.wait()


def settled(page: Any, address: str) -> None:
    """Open a page and wait until its reviews are read and its charts are drawn from all points."""
    for _ in range(100):
        page.goto(address)
        if "being read" not in page.content() and page.evaluate(DRAWN):
            break
        page.wait_for_timeout(200)
    page.wait_for_timeout(200)


def main() -> None:
    """Take the picture, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="DIR")
    parser.add_argument("--page", default="/anatomy", choices=PAGES)
    parser.add_argument("--every", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        parser.error("no chromium is installed: apt-get install chromium")
    with served(given.out) as link, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        first = browser.new_context()
        first.new_page().goto(link)
        cookies, site = first.cookies(), link.partition("/?")[0]
        for look, options in LOOKS.items() if given.every else [("wide", WIDE)]:
            context = browser.new_context(**options)
            context.add_cookies(cookies)
            page = context.new_page()
            for path in PAGES if given.every else [given.page]:
                settled(page, site + path)
                name = f"{path.strip('/') or 'board'}-{look}.png"
                where = given.every / name if given.every else PICTURE
                where.parent.mkdir(parents=True, exist_ok=True)
                page.screenshot(path=where, full_page=given.every is not None)
        browser.close()


if __name__ == "__main__":
    main()
