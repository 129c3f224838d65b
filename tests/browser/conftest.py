"""A real headless Chromium, and the served studies of tests/web."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

path = Path(__file__).parents[1] / "web" / "conftest.py"
spec = importlib.util.spec_from_file_location("tests_serving", path)
assert spec is not None
assert spec.loader is not None
web = importlib.util.module_from_spec(spec)
sys.modules["tests_serving"] = web
spec.loader.exec_module(web)

home, whole, planted, site = web.home, web.whole, web.planted, web.site
study_text, serve_folder, line_of = web.study_text, web.serve_folder, web.line_of

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium")
    assert found is not None, "no chromium is installed: apt-get install chromium"
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures of the pages go: the folder that ``LEONIDS_PICTURES`` names, to be looked at."""
    folder = Path(os.environ.get("LEONIDS_PICTURES", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def window(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open a window on a served study: ``window(client)``; anything that goes wrong in its console fails the test."""
    wrong: list[str] = []

    @contextmanager
    def opened(client: Any, *, flooded: bool = False, **options: Any) -> Iterator[Any]:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        name, _, value = client.cookie.partition("=")
        context.add_cookies([{"name": name, "value": value, "domain": "127.0.0.1", "path": "/"}])
        page = context.new_page()
        page.set_default_timeout(20_000)
        full = "503 (Service Unavailable)" if flooded else None

        def said(message: Any) -> None:
            if message.type == "error" and not (full and full in message.text):
                wrong.append(message.text)

        page.on("console", said)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        try:
            yield page
        finally:
            context.close()

    yield opened
    # A server that is away is what some tests are about; the browser says so in its console.
    assert [text for text in wrong if "net::ERR_" not in text] == []
