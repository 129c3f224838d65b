"""Pages at every moment of a study, read without JavaScript; names stay text; nothing is written."""

import csv
import hashlib
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leonids.errors import MissingDependency, UsageError
from leonids.report.findings import gather
from leonids.report.reliability import Reliability, reliability
from leonids.study.folder import StudyFolder
from leonids.study.streams import table_of
from leonids.web import serve
from leonids.web.chart import FORMULA, Chart, Line, as_csv
from leonids.web.charts import CHARTS, Asked, chart_named
from leonids.web.drawing import svg
from leonids.web.shelf import Shelf

PAGES = ("/", "/prediction?at=0", "/prediction?at=3", "/arms", "/anatomy", "/confidence", "/examples", "/ledger",
         "/report", "/arms?metric=excess&axis=tokens&smooth=10&full=1", "/examples?split=test&run=5")  # fmt: skip

HOSTILE = ("<img src=x onerror=alert(1)>", '"><script>alert(1)</script>', "\u202egnp.exe", "=cmd()", "\x1b[31mred",
           "[a](javascript:alert(1))", "../../etc/passwd", "x" * 10_000)  # fmt: skip


class Seen(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def safe(text: str) -> Seen:
    """A page in which nothing runs: no inline script or style, no handler, no foreign address."""
    seen = Seen(text)
    for tag, attributes in seen.tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes)
        assert tag not in ("iframe", "object", "embed", "base", "style")
        if tag == "script":
            assert str(attributes.get("src", "")).startswith("/static/")
        for name in ("src", "href", "action"):
            assert re.match(r"(/(?!/)|\?|#|data:(,|image/svg)|$)", attributes.get(name) or ""), (tag, attributes)
    return seen


@pytest.mark.parametrize("page", PAGES)
def test_every_page_of_a_finished_study_reads_without_script(site: Any, page: str) -> None:
    answer = site.ask(page)
    assert answer.status == 200
    seen = safe(answer.text)
    assert [tag for tag, _ in seen.tags].count("h1") >= 1
    charts = [attributes for tag, attributes in seen.tags if "data-chart" in attributes]
    assert [tag for tag, _ in seen.tags].count("svg") == len(charts)
    tables = [one for tag, one in seen.tags if tag == "details" and str(one.get("id")).startswith("table-")]
    assert len(tables) == len(charts)
    for chart in charts:
        address = unescape(str(chart["data-chart"]))
        for form in ("json", "svg", "csv"):
            assert site.ask(address.replace(".json", f".{form}")).status == 200


@pytest.mark.parametrize("progress", [0.0, 0.025, 0.3])
def test_every_page_reads_at_every_moment_of_a_study(
    planted: Callable[..., StudyFolder], serve_folder: Callable[..., Any], progress: float
) -> None:
    folder = planted(progress=progress, judged=progress == 0.3)
    with serve_folder(folder.out) as client:
        client.enter()
        for _ in range(2):
            for page in PAGES[:9]:
                answer = client.ask(page)
                assert answer.status == 200, page
                safe(answer.text)
            client.settled()


def test_a_verdict_is_an_icon_a_word_and_a_colour(site: Any) -> None:
    seen = re.findall(r'<span class="verdict (\w+)">([^<]+)</span>', site.ask("/").text)
    icons = {"supported": "✔", "refuted": "✘", "inconclusive": "◐", "void": "∅", "not_due": "…", "open": "◐"}
    assert seen
    assert all(icons[kind] in shown and kind.replace("_", " ") in shown for kind, shown in seen)


def test_what_is_not_on_offer_is_a_clear_refusal(site: Any) -> None:
    wrong = ("/arms?metric=evil", "/arms?axis=%00", "/prediction?at=99", "/prediction?at=-1", "/examples?run=99999",
             "/examples?split=train", "/chart/train.exe", "/chart/evil.json", "/chart/anatomy.json?at=9")  # fmt: skip
    for address in wrong:
        answer = site.ask(address)
        assert answer.status == 400, address
        safe(answer.text)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_text_on_every_page_and_in_every_download(
    planted: Callable[..., StudyFolder], serve_folder: Callable[..., Any], study_text: str, name: str
) -> None:
    quoted = json.dumps(name)
    text = study_text.replace("What is a loss of 0.75 telling us?", quoted)
    for old in (
        "Match ends above 99 %.",
        "Rank does not matter.",
        "Does match reach 85-95 %?",
        "one universe is enough",
    ):
        text = text.replace(old, quoted)
    folder = planted(text=text, progress=0.3, examples=4, odd_tokens=(name,))
    (folder.out / "report.md").write_text(f"# mine\n\n{name}\n", "utf-8")
    with serve_folder(folder.out) as client:
        client.enter().settled()
        for page in PAGES[:9]:
            seen = safe(client.ask(page).text)
            assert "\u202e" not in seen.words
            assert "\x1b" not in seen.words
        for chart, _ in CHARTS:
            text = client.ask(f"/chart/{chart}.csv").text
            assert "\u202e" not in text
            assert "\x1b" not in text
            for cell in (cell for row in csv.reader(io.StringIO(text)) for cell in row):
                assert not cell.startswith(FORMULA) or re.fullmatch(r"-?[\d.e+-]+|-?inf", cell), cell


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_in_a_download_is_words_to_a_spreadsheet(name: str) -> None:
    line = Line(name, np.array([1.0]), np.array([-2.0]), "#000000")
    rows = list(csv.reader(io.StringIO(as_csv(Chart(name, name, name, (line,))))))
    assert len(rows) == 2
    for cell in (*rows[0], rows[1][0]):
        assert not cell.startswith(FORMULA)
        assert len(cell) <= 201
        assert cell.isprintable()


def test_serving_writes_nothing_into_the_folder(whole: StudyFolder, site: Any) -> None:
    def bytes_of() -> dict[str, str]:
        files = (path for path in sorted(whole.out.rglob("*")) if path.is_file())
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = bytes_of()
    for page in PAGES:
        site.ask(page)
    assert bytes_of() == before


def test_a_ledger_that_breaks_is_said_and_the_last_findings_stay(
    planted: Callable[..., StudyFolder], serve_folder: Callable[..., Any]
) -> None:
    folder = planted(progress=0.3)
    with serve_folder(folder.out) as client:
        client.enter().settled()
        with (folder.out / "ledger.jsonl").open("ab") as handle:
            handle.write(b'{"not":"an entry"}\n')
        answer = client.ask("/")
        assert answer.status == 200
        assert "cannot be read now" in answer.text


def test_an_answer_that_was_seen_is_not_sent_again(site: Any) -> None:
    first = site.ask("/chart/train.json")
    again = site.ask("/chart/train.json", If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")


def test_the_stream_of_changes_goes_on_where_it_was_left(
    planted: Callable[..., StudyFolder], serve_folder: Callable[..., Any], line_of: Callable[..., bytes]
) -> None:
    import http.client

    folder = planted(progress=0.3)
    with serve_folder(folder.out) as client:
        client.enter().settled()
        seen = client.ask("/version").json["version"]
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
        connection.request("GET", "/events", headers={"Cookie": client.cookie, "Last-Event-ID": seen})
        answer = connection.getresponse()
        assert answer.headers["content-type"].startswith("text/event-stream")
        with (folder.out / "plain.s0" / "steps.jsonl").open("ab") as handle:
            handle.write(line_of(13))
        lines = []
        while not any(line.startswith("id:") for line in lines):
            lines.append(answer.readline().decode())
        connection.close()
        assert client.ask("/version").json["version"] in lines[-1]
        assert client.ask("/chart/train.csv").text.count("plain.s0") == 13


def cards(text: str) -> list[str]:
    return re.findall(r'<article class="card".*?</article>', text, re.DOTALL)


def test_examples_are_wrong_ones_first(site: Any) -> None:
    words = re.findall(r"(✔ right|✘ wrong)", site.ask("/examples").text)
    assert words == sorted(words, reverse=True)
    assert {"✘ wrong", "✔ right"} == set(words)


def test_each_answer_token_has_its_confidence_as_a_colour_and_a_number(site: Any) -> None:
    wrong, right = (next(c for c in cards(site.ask("/examples").text) if w in c) for w in ("✘ wrong", "✔ right"))
    said = [unescape(re.sub(r"<[^>]+>", "", token)) for token in re.findall(r'<span class="token.*?</span>', wrong)]
    assert said == ["[ 99.9", '"k 99.5', "ey ✘ 50.0 right: ite 25.0", '", 60.0', "␣7 80.0", "] 95.0",
                    "⏎ ✘ 99.0 right: end 0.4"]  # fmt: skip
    assert re.findall(r'class="token ([^"]+)"', wrong) == ["c4", "c4", "c0 wrong", "c1", "c2", "c3", "c4 wrong"]
    assert "wrong" not in " ".join(re.findall(r'class="token ([^"]+)"', right))


def test_examples_are_filtered_by_skill_and_depth(site: Any) -> None:
    every = cards(site.ask("/examples").text) + cards(site.ask("/examples?page=1").text)
    wanted = [card for card in every if re.search(r"skill count\b", card) and re.search(r"depth 2\b", card)]
    assert 0 < len(wanted) < len(every)
    page = site.ask("/examples?tag.skill=count&tag.depth=2").text
    assert cards(page) == wanted
    assert re.search(r'name="tag.skill">.*?<option value="count" selected>', page)


def test_plateaus_of_the_ladder_are_on_the_anatomy_with_their_names_and_heights(
    whole: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = gather(StudyFolder.open(whole.out))
    rungs = [
        {"knows": knows, "nats": nats} for knows, nats in (("the format", 26.0), ("the pipeline", 25.0), ("all", 0))
    ]
    floors = {arm: {**own, "ladder": rungs} for arm, own in findings.folder.floors.items()}
    monkeypatch.setitem(vars(findings.folder), "floors", floors)
    chart = chart_named("anatomy")(Shelf(whole.out), findings, Asked())
    # 13 answer tokens an example.
    assert chart.levels == (("the format", 2.0), ("the pipeline", 25 / 13))
    assert "the format (2.000), the pipeline (1.923)" in chart.caption
    assert ">the format, the pipeline</text>" in svg(chart)


def test_the_reliability_diagram_has_every_bin_with_its_interval_and_the_error_beside_chance(
    whole: StudyFolder,
) -> None:
    lines = [
        {
            "step": 1,
            "index": at,
            "metrics": {"confidence": {"decided": [sure, 1]}, "token_accuracy": {"decided": [0, 1]}},
        }
        for at, sure in enumerate([0.31, 0.33, 0.95])
    ]
    found = reliability(table_of(lines))
    assert isinstance(found, Reliability)
    findings = gather(StudyFolder.open(whole.out))
    findings = replace(findings, explanations=tuple(replace(one, reliability=found) for one in findings.explanations))
    chart = chart_named("reliability")(Shelf(whole.out), findings, Asked())
    assert [line.label for line in chart.lines] == ["seed 0", "seed 1", "honest"]
    np.testing.assert_allclose(chart.lines[0].x, [0.32, 0.95])
    np.testing.assert_allclose(chart.lines[0].y, [0.0, 0.0])
    # Clopper and Pearson: none of n right reaches up to 1 - 0.025 ** (1 / n).
    np.testing.assert_allclose(chart.lines[0].high, [1 - 0.025**0.5, 0.975])
    assert f"error {found.error.value:.3f}, by chance alone {found.error.null:.3f}" in chart.caption


def test_starting_loads_neither_torch_nor_matplotlib(whole: StudyFolder) -> None:
    code = f"""if True:
        import sys
        from pathlib import Path
        from leonids.web.serve import listen, make_server, open_door
        from leonids.web.pages import board
        with listen("127.0.0.1", 0) as bound:
            out = Path({str(whole.out)!r})
            make_server(out, open_door(out, bound=bound)[0], bound=bound)
        print(*sorted({{"torch", "transformers", "matplotlib", "peft"}} & set(sys.modules)))
    """
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_a_link_is_named_only_where_the_page_can_be_served(
    whole: StudyFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError):
        serve.serve(tmp_path, port=0)
    monkeypatch.setattr(serve, "find_spec", lambda name: None if name == "jinja2" else name)
    with pytest.raises(MissingDependency, match=r"'jinja2' is not installed.*leonids\[web\]"):
        serve.serve(whole.out, port=0)
    assert capsys.readouterr().err == ""


def test_every_kind_of_chart_is_on_a_page(site: Any) -> None:
    shown = {name for page in PAGES for name in re.findall(r'data-chart="/chart/([\w-]+)\.json', site.ask(page).text)}
    assert shown == {name for name, _ in CHARTS}


def test_vendored_code_stands_with_its_licence() -> None:
    import leonids.web.app

    folder = Path(leonids.web.app.__file__).parent / "static" / "uplot"
    assert "MIT License" in (folder / "LICENSE").read_text("utf-8")
    assert (folder / "uPlot.iife.min.js").is_file()


@pytest.mark.parametrize("page", ["/arms", "/confidence", "/prediction?at=1"])
def test_a_page_brings_along_what_its_charts_would_ask_for_and_brings_it_once(site: Any, page: str) -> None:
    def held(text: str) -> list[str]:
        return [unescape(found) for found in re.findall(r"<template data-held>(.*?)</template>", text, re.DOTALL)]

    text = site.ask(page).text
    charts = [unescape(found) for found in re.findall(r'data-chart="([^"]+)" data-drawn', text)]
    assert charts
    assert [json.loads(one) for one in held(text)] == [site.ask(address).json for address in charts]
    again = site.ask(page, X_Refreshed="1").text
    assert held(again) == []
    assert "<svg" not in again


def test_many_arms_are_drawn_as_means_of_their_seeds_and_one_arm_at_a_time(
    planted: Callable[..., StudyFolder], serve_folder: Callable[..., Any], study_text: str
) -> None:
    more = "".join(f"  more-{n}: {{universe: consistent, rank: 8, alpha_rule: equal}}\n" for n in range(4))
    folder = planted(text=study_text.replace("seeds: [0, 1]", f"{more}seeds: [0, 1]"), progress=0.15, examples=4)
    with serve_folder(folder.out) as client:
        client.enter().settled()
        chart = client.ask("/chart/train.json").json
        assert [line["label"] for line in chart["lines"]][:2] == ["plain, 2 seeds", "small, 2 seeds"]
        assert len(chart["lines"]) == 8
        each = client.ask("/chart/train.json?seeds=each").json
        for at in range(2):
            pair = [line["y"] for line in each["lines"] if line["group"] == ("plain", "small")[at]]
            np.testing.assert_allclose(chart["lines"][at]["y"], np.mean(pair, axis=0))
            np.testing.assert_allclose(chart["lines"][at]["high"], np.max(pair, axis=0))
        assert len(client.ask("/chart/train.json?axis=wall").json["lines"]) == 16
        page = client.ask("/confidence?at=5").text
        assert set(re.findall(r"<strong>\w[\w ]+: ([\w-]+)</strong>", page)) == {"more-1"}
        assert "2 of 2" not in client.ask("/").text
        assert client.ask("/").text.count("0 of 2") == 8
        assert client.ask("/confidence?at=8").status == 400


def test_a_large_study_s_reviews_are_read_once_its_first_page_was_made(
    whole: StudyFolder, serve_folder: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leonids.web.app.REVIEWS_AT_ONCE_BYTES", 0)
    monkeypatch.setattr("leonids.web.app.NOBODY_CAME_S", 3600.0)
    with serve_folder(whole.out) as client:
        client.enter()
        time.sleep(1.0)
        assert client.ask("/version").json["version"].endswith("-0"), "it is read before anyone has a page"
        assert "being read" in client.ask("/arms").text
        client.settled()
