"""Charts say what was recorded: nothing is lost in thinning, nothing foretold by smoothing, nothing calculated."""

import csv
import io
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from leonids.web.chart import Box, Chart, Line, Stack, as_csv, as_json, cell, kept, of_seeds, smoothed, table, thinned
from leonids.web.drawing import svg, ticks

NUMBERS = st.floats(-1e6, 1e6) | st.just(float("nan"))
VALUES = hnp.arrays(np.float64, st.integers(1, 400), elements=NUMBERS)
NAMES = st.text(max_size=200) | st.sampled_from(["<img src=x onerror=alert(1)>", '"><script>', "=cmd()", "\u202eabc"])


def chart_of(y: np.ndarray, label: str = "run") -> Chart:
    return Chart("t", "step", "nats/token", (Line(label, np.arange(len(y), dtype=float), y, "#0072B2"),))


@given(VALUES, st.integers(3, 90))
def test_thinning_keeps_the_least_the_greatest_and_the_last_of_every_stretch(y: np.ndarray, most: int) -> None:
    places = kept(y, most=most)
    assert (np.diff(places) > 0).all()
    assert len(places) <= max(most, 3) + 1 or len(places) == len(y)
    assert places[-1] == len(y) - 1
    if len(y) > most:
        for stretch in np.array_split(np.arange(len(y)), most // 3):
            inside = y[np.intersect1d(stretch, places)]
            assert stretch[-1] in places
            if not np.isnan(y[stretch]).all():
                assert np.nanmin(inside) == np.nanmin(y[stretch])
                assert np.nanmax(inside) == np.nanmax(y[stretch])


@given(VALUES)
def test_a_thinned_chart_says_so_and_its_csv_has_every_point(y: np.ndarray) -> None:
    chart = chart_of(y)
    thin = thinned(chart, most=30)
    assert ("Shown:" in thin.caption) == (len(y) > 30)
    rows = list(csv.reader(io.StringIO(as_csv(chart))))
    np.testing.assert_array_equal([float(row[2]) for row in rows[1:]], y)


@given(VALUES, st.integers(1, 50), st.data())
def test_smoothing_knows_the_past_alone(y: np.ndarray, steps: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(y)))
    whole, part = smoothed(chart_of(y).lines[0], steps=steps), smoothed(chart_of(y[:cut]).lines[0], steps=steps)
    np.testing.assert_array_equal(whole.y[:cut], part.y)
    known = y[~np.isnan(y)]
    if known.size:
        inside = whole.y[~np.isnan(whole.y)]
        assert inside.min() >= known.min() - 1e-6 * (1 + abs(known.min()))
        assert inside.max() <= known.max() + 1e-6 * (1 + abs(known.max()))


@given(VALUES, NAMES)
def test_every_drawing_is_whole_and_holds_its_words_as_words(y: np.ndarray, name: str) -> None:
    chart = chart_of(y, name)
    chart = Chart(name, name, name, chart.lines, (Box(name, (0, 1), (-np.inf, 2)),), ((name, 0.5),), caption=name)
    root = ET.fromstring(svg(chart))
    tags = {element.tag.rsplit("}", 1)[1] for element in root.iter()}
    assert tags <= {"svg", "title", "desc", "rect", "path", "text", "circle", "g"}
    assert not any(key.startswith("on") or key in ("style", "href") for e in root.iter() for key in e.attrib)
    assert "nan" not in "".join(element.get("d", "") for element in root.iter())


@given(NAMES)
def test_a_spreadsheet_calculates_nothing(name: str) -> None:
    assert not cell(name).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_json_holds_numbers_and_nulls_alone() -> None:
    found = as_json(chart_of(np.array([1.0, np.nan, np.inf])))
    assert found["lines"][0]["y"] == [1.0, None, None]


@given(VALUES)
def test_the_table_twin_has_the_first_and_the_last_point(y: np.ndarray) -> None:
    header, rows = table(chart_of(y))
    assert header[0] == "series"
    assert (rows[0][1], rows[-1][1]) == ("0", f"{len(y) - 1}")
    assert len(rows) == min(len(y), 25)


def test_bars_are_in_table_and_csv_too() -> None:
    chart = Chart("t", "x", "y", stacks=(Stack(0.0, (("floor", 0.5, "#111"), ("excess: end", -0.1, "#222"))),))
    assert table(chart) == (("x", "floor", "excess: end"), [("0", "0.5", "-0.1")])
    assert "floor,0.0,0.5" in as_csv(chart)
    assert svg(chart).count('stroke="#333333"') == 4


@given(st.floats(-1e5, 1e5), st.floats(1e-4, 1e5))
def test_ticks_are_few_round_and_inside(low: float, spread: float) -> None:
    found = ticks(low, low + spread)
    assert 1 <= len(found) <= 8
    assert min(found) >= low - 1e-6 * spread
    assert max(found) <= low + spread + 1e-6 * spread


@pytest.mark.parametrize("n", [0, 1])
def test_a_chart_of_nothing_or_of_one_point_is_drawn(n: int) -> None:
    ET.fromstring(svg(chart_of(np.ones(n))))


@given(st.lists(st.lists(st.integers(1, 30), min_size=1, unique=True), min_size=1, max_size=5))
def test_the_mean_of_seeds_is_over_the_places_that_all_have_and_its_ends_are_their_range(
    places: list[list[int]],
) -> None:
    lines = [
        Line(
            f"s{n}", np.array(sorted(xs), dtype=float), np.array([n + x**2 for x in sorted(xs)], dtype=float), "#000000"
        )
        for n, xs in enumerate(places)
    ]
    one = of_seeds("arm", lines)
    common = sorted(set(places[0]).intersection(*places))
    assert one.x.tolist() == common
    np.testing.assert_allclose(one.y, [x**2 + (len(places) - 1) / 2 for x in common])
    assert one.low is not None
    assert one.high is not None
    np.testing.assert_allclose(one.low, [x**2 for x in common])
    np.testing.assert_allclose(one.high, [x**2 + len(places) - 1 for x in common])


def test_lines_of_a_group_have_one_entry_in_the_legend() -> None:
    one = np.array([0.0, 1.0])
    lines = tuple(Line(f"seed {n}", one, one + n, "#0072B2", group="all seeds") for n in range(5))
    drawn = svg(Chart("t", "x", "y", lines))
    assert drawn.count(">all seeds</text>") == 1
    assert ">seed 0</text>" not in drawn
    assert [line["group"] for line in as_json(Chart("t", "x", "y", lines))["lines"]] == ["all seeds"] * 5


def test_a_bar_that_is_cut_carries_its_height() -> None:
    stacks = tuple(Stack(10.0 * n, (("floor", height, "#888888"),)) for n, height in enumerate((4.25, 0.5, 0.4)))
    assert ">4.25</text>" in svg(Chart("t", "x", "y", stacks=stacks, frame=(0.0, 0.6)))
    assert ">4.25</text>" not in svg(Chart("t", "x", "y", stacks=stacks))
