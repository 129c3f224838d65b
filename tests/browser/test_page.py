"""The page in a real Chromium: opened on finished and running studies, by keyboard, without script, after restarts."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leonids.study.folder import StudyFolder

pytestmark = pytest.mark.browser

AXE = Path(__file__).parent / "axe" / "axe.min.js"
PAGES = ("/", "/prediction?at=2", "/arms", "/anatomy", "/confidence", "/examples", "/ledger", "/report")
LOOKS = ({"color_scheme": "light"}, {"color_scheme": "dark", "viewport": {"width": 390, "height": 800}})


def address(client: Any, path: str) -> str:
    return f"http://127.0.0.1:{client.port}{path}"


def until(page: Any, says: str) -> None:
    """Wait until an expression holds. The page's policy forbids a browser that waits by itself to evaluate a text."""
    for _ in range(800):
        if page.evaluate(says):
            return
        time.sleep(0.025)
    raise AssertionError(f"never: {says}")


def grown(page: Any, points: int) -> None:
    until(page, f"Number(document.querySelector('figure[data-points]')?.dataset.points) >= {points}")


def points_of(page: Any) -> int:
    page.wait_for_selector("figure[data-points]")
    return int(page.get_attribute("figure[data-points]", "data-points"))


@pytest.mark.parametrize("path", PAGES)
def test_every_page_opens_without_a_complaint_and_axe_finds_nothing_serious(
    site: Any, window: Callable[..., Any], pictures: Path, path: str
) -> None:
    for look in LOOKS:
        with window(site, **look) as page:
            page.goto(address(site, path))
            until(page, "document.getElementById('state').textContent.startsWith('live')")
            until(page, "[...document.querySelectorAll('figure[data-drawn]')].every(f => f.dataset.points)")
            # The page's policy allows no foreign script, so axe comes through the debugger.
            page.evaluate(AXE.read_text("utf-8"))
            found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            serious = [
                (one["id"], [node["html"][:120] for node in one["nodes"][:3]])
                for one in found["violations"]
                if one["impact"] in ("serious", "critical")
            ]
            assert serious == []
            width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert width <= 0, "the page scrolls sideways"
            name = f"{path.strip('/').partition('?')[0] or 'board'}-{look['color_scheme']}.png"
            page.screenshot(path=pictures / name, full_page=True)
            assert (pictures / name).stat().st_size > 10_000


def test_a_new_point_appears_by_itself(
    planted: Callable[..., StudyFolder], serve_folder: Callable[..., Any], window: Callable[..., Any],
    line_of: Callable[..., bytes], capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = planted(progress=0.3)
    with serve_folder(folder.out) as client, window(client.enter().settled()) as page:
        page.goto(address(client, "/arms"))
        until(page, "document.getElementById('state').textContent === 'live'")
        before = points_of(page)
        start = time.perf_counter()
        with (folder.out / "plain.s0" / "steps.jsonl").open("ab") as handle:
            handle.write(line_of(13))
        grown(page, before + 1)
        elapsed_s = time.perf_counter() - start
    with capsys.disabled():
        print(f"\na new point was on the screen {elapsed_s:.2f} s after it was written")


def test_a_restart_of_the_server_is_survived(
    planted: Callable[..., StudyFolder], serve_folder: Callable[..., Any], window: Callable[..., Any],
    line_of: Callable[..., bytes],
) -> None:  # fmt: skip
    folder = planted(progress=0.3)
    with serve_folder(folder.out) as first:
        first.enter().settled()
        port, context = first.port, window(first)
        page = context.__enter__()
        page.goto(address(first, "/arms"))
        until(page, "document.getElementById('state').textContent === 'live'")
        before = points_of(page)
    until(page, "document.getElementById('state').textContent === 'the server is away'")
    with (folder.out / "plain.s0" / "steps.jsonl").open("ab") as handle:
        handle.write(line_of(13))
    with serve_folder(folder.out, port=port):
        grown(page, before + 1)
        until(page, "document.getElementById('state').textContent.startsWith('live')")
        context.__exit__(None, None, None)


def test_the_keyboard_reaches_everything(site: Any, window: Callable[..., Any]) -> None:
    with window(site) as page:
        page.goto(address(site, "/arms"))
        points_of(page)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        seen: list[str] = []
        for _ in range(30):
            page.keyboard.press("Tab")
            seen.append(page.evaluate("document.activeElement.tagName + '.' + document.activeElement.className"))
            if seen[-1] == "DIV.plot":
                break
        assert "SELECT." in seen
        assert seen[-1] == "DIV.plot"
        page.keyboard.press("End")
        last = page.text_content(".readout")
        page.keyboard.press("ArrowLeft")
        assert last.startswith("step 40: ")
        assert page.text_content(".readout").startswith("step 39: ")
        while page.evaluate("document.activeElement.tagName") != "SUMMARY":
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.is_visible("details table")


REACHED = "a[href], button, input, select, summary, [tabindex]:not([tabindex='-1'])"


@pytest.mark.parametrize("path", PAGES)
def test_tab_goes_through_a_page_in_reading_order_and_leaves_nothing_out(
    site: Any, window: Callable[..., Any], path: str
) -> None:
    with window(site) as page:
        page.goto(address(site, path))
        until(page, "[...document.querySelectorAll('figure[data-drawn]')].every(f => f.dataset.points)")
        page.evaluate(f"""() => {{
            const all = [...document.querySelectorAll("{REACHED}")].filter((one) => one.checkVisibility());
            all.forEach((one, at) => (one.dataset.at = at));
            document.body.dataset.all = all.length;
        }}""")
        count = int(page.get_attribute("body", "data-all"))
        assert count > 8
        seen = []
        for _ in range(count):
            page.keyboard.press("Tab")
            seen.append(page.evaluate("Number(document.activeElement.dataset.at ?? -1)"))
        assert seen == list(range(count))


def test_without_script_the_page_reads(site: Any, window: Callable[..., Any]) -> None:
    with window(site, java_script_enabled=False) as page:
        for path in PAGES:
            page.goto(address(site, path))
            assert page.is_visible("h1")
        page.goto(address(site, "/arms"))
        assert page.is_visible("figure svg")
        page.click("summary")
        assert page.is_visible("details table")
        page.select_option("select[name=axis]", "tokens")
        page.click("button")
        assert "axis=tokens" in page.url


def test_hostile_names_are_words(
    planted: Callable[..., StudyFolder], serve_folder: Callable[..., Any], window: Callable[..., Any], study_text: str
) -> None:
    name = '"><img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'
    text = study_text.replace("What is a loss of 0.75 telling us?", json.dumps(name))
    text = text.replace("Match ends above 99 %.", json.dumps(name))
    folder = planted(text=text, progress=0.3, examples=4, odd_tokens=(name,))
    with serve_folder(folder.out) as client, window(client.enter().settled()) as page:
        for path in PAGES:
            page.goto(address(client, path))
            until(page, "document.getElementById('state').textContent === 'live'")
            assert page.evaluate("window.pwned") is None
            assert "onerror" in page.text_content("header")


def test_what_is_chosen_is_drawn_and_every_point_is_there(
    planted: Callable[..., StudyFolder], serve_folder: Callable[..., Any], window: Callable[..., Any],
    line_of: Callable[..., bytes],
) -> None:  # fmt: skip
    folder = planted(progress=0.3)
    with (folder.out / "plain.s0" / "steps.jsonl").open("ab") as handle:
        handle.write(b"".join(line_of(step, value=1 + (step % 97) / 97) for step in range(13, 5001)))
    with serve_folder(folder.out) as client, window(client.enter().settled()) as page:
        page.goto(address(client, "/arms"))
        thin = points_of(page)
        assert "least, greatest and last" in page.text_content("figcaption")
        page.check("input[name=full]")
        page.wait_for_url("**full=1**")
        grown(page, 5000)
        assert thin < 2000
        assert "least, greatest and last" not in page.text_content("figcaption")
        page.select_option("select[name=smooth]", "100")
        page.wait_for_url("**smooth=100**")
        grown(page, 10_000)
        assert "smoothed over 100 steps" in page.text_content(".u-legend")


def test_an_hour_of_points_leaves_memory_flat(
    planted: Callable[..., StudyFolder], serve_folder: Callable[..., Any], window: Callable[..., Any],
    line_of: Callable[..., bytes],
) -> None:  # fmt: skip
    folder = planted(progress=0.3)
    with serve_folder(folder.out) as client, window(client.enter().settled()) as page:
        page.goto(address(client, "/arms"))
        until(page, "document.getElementById('state').textContent === 'live'")
        heap = page.context.new_cdp_session(page)

        def used_mib() -> float:
            heap.send("HeapProfiler.collectGarbage")
            return float(heap.send("Runtime.getHeapUsage")["usedSize"]) / 2**20

        sizes, step = [], 13
        # An hour at a step a second, in a dozen bursts: each is one redrawing, as the page bundles them.
        for _ in range(12):
            with (folder.out / "plain.s0" / "steps.jsonl").open("ab") as handle:
                handle.write(b"".join(line_of(at) for at in range(step, step + 300)))
            step += 300
            version = client.ask("/version").json["version"]
            until(page, f"document.body.dataset.drawn === '{version}'")
            sizes.append(used_mib())
        assert max(sizes[6:]) < sizes[2] + 8.0, sizes
