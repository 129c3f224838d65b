import itertools
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from leonids.claims.predicates import PREDICATES
from leonids.report import diagrams as module
from leonids.report import figures
from leonids.report.canvas import sheet, styled
from leonids.report.corridors import predicted
from leonids.report.curves import frame_top
from leonids.report.diagrams import (
    A_COLUMN,
    BOX_H,
    BOX_W,
    FIRST_COLUMN,
    diagrams,
    graph,
    phases,
    reliability_diagram,
    route,
)
from leonids.report.figures import Drawing, overview
from leonids.report.findings import Findings, gather
from leonids.report.numbers import Missing
from leonids.report.palette import ARM_STYLES, style_of
from leonids.report.reliability import Reliability
from leonids.study.folder import StudyFolder

EVERY_PREDICATE = """
      - {id: Q1, says: so, measure: {metric: loss, arm: plain, versus: small, final: true}, expect: {differs: 0.1}}
      - {id: Q2, says: so, measure: {metric: loss, arm: plain, versus: small, final: true},
         expect: {ratio: {below: 0.9}}}
      - {id: Q3, says: so, measure: {metric: loss, split: train, arm: plain, over: [10%, 90%]},
         expect: {falls_after: {progress: 30%, by: 0.1}}}
      - {id: Q4, says: so, measure: {metric: loss, arm: plain, over: [30%, 100%]}, expect: {plateaus: 0.1}}
      - {id: Q5, says: so, measure: {metric: match, arm: plain, final: true}, expect: {order: [mixed, plain]}}
      - {id: Q6, says: so, measure: {metric: match, split: test, arm: plain, final: true}, expect: {above: 1%}}
      - {id: Q7, says: so, measure: {metric: loss, arm: plain, final: true}, expect: {below: 9}}
      - id: Q8
        says: so
        measure: {metric: loss, arm: plain, over: [30%, 100%]}
        expect: {within: {of: before, at: [30%, 100%], low: [0, 0], high: [9, 9], runs: 5}}
"""


@pytest.fixture(scope="module")
def findings(whole: StudyFolder) -> Findings:
    return gather(whole)


@pytest.fixture(scope="module")
def drawings(findings: Findings) -> tuple[Drawing, ...]:
    return (*overview(findings), *diagrams(findings), *predicted(findings))


def test_every_figure_is_svg_that_runs_and_loads_nothing(drawings: tuple[Drawing, ...]) -> None:
    for drawing in drawings:
        for element in ElementTree.fromstring(drawing.svg).iter():
            assert not str(element.tag).endswith(("script", "foreignObject", "image"))
            for name, value in element.attrib.items():
                assert not name.lower().startswith("on")
                assert not name.endswith("href") or value.startswith("#")


def test_figures_say_what_they_show_and_carry_no_date(drawings: tuple[Drawing, ...]) -> None:
    for drawing in drawings:
        assert drawing.alt
        assert drawing.caption
        assert b"<dc:date>" not in drawing.svg
        assert b"Matplotlib v" not in drawing.svg


def test_the_same_data_give_the_same_figures_under_anyones_settings(findings: Findings) -> None:
    def drawn() -> list[bytes]:
        return [one.svg for one in (figures.match(findings), figures.arms(findings), *diagrams(findings))]

    once = drawn()
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black", "svg.hashsalt": "mine"}):
        assert drawn() == once


def test_drawing_leaves_a_users_settings_alone(findings: Findings) -> None:
    with mpl.rc_context({"font.size": 13.0}):
        figures.arms(findings)
        assert mpl.rcParams["font.size"] == 13.0


def test_bars_reach_the_measured_loss(findings: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[dict[float, float]] = []
    real = figures._stack

    def spy(axis, bars):
        reached.append(real(axis, bars))
        assert reached[-1] == pytest.approx({at: sum(shares.values()) for at, shares in bars.items()})
        return reached[-1]

    monkeypatch.setattr(figures, "_stack", spy)
    figures.loss_over_floor(findings)
    base = findings.checkpoints[0].explanations
    plain = [found.answer.loss.estimate for found in base if found.arm == "plain"]  # type: ignore[union-attr]
    assert reached[0][0.0] == pytest.approx(np.mean(plain))


def test_an_untrained_bar_far_above_the_others_is_cut_and_says_how_high_it_is(findings: Findings) -> None:
    assert frame_top([9.0, 0.4, 0.3], [0.8]) == 0.8
    assert frame_top([1.0, 0.4, 0.3], [0.8]) == 1.0
    assert frame_top([0.4, 0.9]) == 0.9
    assert frame_top([2.0]) == 2.0
    with styled():
        _, (axis,) = sheet(1, share_y=False)
        figures._loss_panel(findings, axis, "plain")
    first = findings.checkpoints[0].explanations
    loss = np.mean([found.answer.loss.estimate for found in first if found.arm == "plain"])  # type: ignore[union-attr]
    assert axis.get_ylim()[1] < loss
    assert f"{loss:.2f}" in [text.get_text() for text in axis.texts]


@pytest.mark.parametrize(("busy", "places"), [(0.5, [0.9, 0.62]), (0.7, [0.9, 0.7])])
def test_plateaus_carry_their_names_above_the_curves_and_close_ones_share_one(busy: float, places: list[float]) -> None:
    plateaus = [(0.9, "the format"), (0.62, "the type of question"), (0.6, "the pipeline")]
    with styled():
        _, (axis,) = sheet(1, share_y=False)
        figures._ladder(axis, plateaus, frame=1.0, busy=busy)
    names = [text.get_text() for text in axis.texts]
    assert names == ["knows only the format", "knows only the type of question, the pipeline"]
    assert [text.get_position()[1] for text in axis.texts] == places
    assert sorted(line.get_ydata()[0] for line in axis.lines) == [0.6, 0.62, 0.9]


def test_every_predicate_has_its_panel_before_and_after_its_data(planted, planted_study: str) -> None:
    marker = "questions:\n"
    text = planted_study.replace(marker, EVERY_PREDICATE.strip("\n") + "\n" + marker)
    for progress in (0.0, 1.0):
        folder = planted(text=text, progress=progress, examples=5, where=f"at{progress}")
        used = {prediction.expect.predicate for prediction in folder.study.predictions}
        assert used == {row.name for row in PREDICATES}
        sheets = predicted(gather(folder))
        assert len(sheets) == 2
        assert all(f"Q{number} " in sheets[0].alt + sheets[1].alt for number in range(1, 9))


def test_the_graph_names_every_claim_with_its_verdict_and_draws_what_it_needs(
    findings: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrows: list[dict[str, tuple[str, ...]]] = []
    real = module._arrows

    def spy(axis, places, needs):
        before = len(axis.patches)
        real(axis, places, needs)
        arrows.append(needs)
        assert len(axis.patches) - before == sum(len(premises) for premises in needs.values())

    monkeypatch.setattr(module, "_arrows", spy)
    drawing = graph(findings)
    assert drawing is not None
    for claim in ("puzzle ", "rank ", "P1 ", "P2 ", "P3 ", "P4 "):
        assert claim in drawing.alt
    assert {"rank": ("puzzle",)}.items() <= {name: needs for one in arrows for name, needs in one.items()}.items()


def test_the_table_of_phases_has_a_cell_for_every_run_and_review(
    findings: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[list] = []
    real = module._phase_table

    def spy(axis, cells, *, runs, reviews):
        rows.extend(cells)
        real(axis, cells, runs=runs, reviews=reviews)

    monkeypatch.setattr(module, "_phase_table", spy)
    assert phases(findings).svg
    assert len(rows) >= len(findings.folder.runs)
    for row, run in zip(rows, findings.folder.runs, strict=False):
        assert len(row) == len(findings.checkpoints)
        last = next(one for one in findings.explanations if one.run == run.run)
        assert row[-1][0] == last.phase.word  # type: ignore[union-attr]


def test_the_diagram_of_reliability_shows_every_answer_once(findings: Findings) -> None:
    known = [one.reliability for one in findings.explanations if isinstance(one.reliability, Reliability)]
    drawing = reliability_diagram(findings)
    assert drawing is not None
    assert len(known) == len(findings.folder.runs)
    for found in known:
        assert sum(part.right.n for part in found.bins) == found.n


def test_a_margin_lies_around_the_arm_that_a_claim_compares_with(findings: Findings) -> None:
    pick = next(pick for pick in figures.PICKS if pick.metric == "loss")
    with styled():
        _, (axis,) = sheet(1, share_y=False)
        figures._margins(findings, axis, pick, lines={"small": {30.0: 0.9, 60.0: 0.5, 100.0: 0.4}})
    (band,) = axis.collections
    corners = band.get_paths()[0].vertices
    # P3: at 60 % the arms differ by less than 0.02 nats.
    assert (corners[:, 1].min(), corners[:, 1].max()) == pytest.approx((0.48, 0.52))
    assert corners[:, 0].min() > 30.0
    assert corners[:, 0].max() < 100.0


BOXES = [(0.09, n + 0.5) for n in range(5)] + [
    (FIRST_COLUMN + A_COLUMN * c, r + 0.5) for r in range(5) for c in range(4)
]


@given(st.sampled_from(BOXES), st.sampled_from(BOXES))
def test_an_arrow_leads_from_box_to_box_and_around_every_other(
    start: tuple[float, float], end: tuple[float, float]
) -> None:
    assume(start != end)
    points = route(start, end)
    half_w, half_h = BOX_W / 2 - 0.01, BOX_H / 2

    def inside(x: float, y: float, box: tuple[float, float], room: float) -> bool:
        return abs(x - box[0]) < half_w + room and abs(y - box[1]) < half_h + room

    assert inside(*points[0], start, 1e-9)
    assert inside(*points[-1], end, 1e-9)
    for (x, y), (to_x, to_y) in itertools.pairwise(points):
        for at in np.linspace(0, 1, 60):
            place = x + at * (to_x - x), y + at * (to_y - y)
            assert not any(inside(*place, box, -1e-9) for box in BOXES)


def test_each_of_many_arms_looks_different() -> None:
    arms = [f"arm-{n}" for n in range(28)]
    looks = [style_of(arms, arm) for arm in arms]
    assert len({(colour, dash) for colour, _, dash in looks}) == 28
    assert looks[:7] == list(ARM_STYLES)


def test_phases_of_many_runs_have_a_row_an_arm(findings: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    few = phases(findings)
    monkeypatch.setattr("leonids.report.seeds.MANY_RUNS", 4)
    many = phases(findings)
    assert "runs against" in few.alt
    assert "arms against" in many.alt
    heights = [float(ElementTree.fromstring(drawing.svg).attrib["viewBox"].split()[3]) for drawing in (few, many)]
    assert heights[1] < 0.7 * heights[0]
    rows = [
        [found.phase for found in at.explanations if found.arm == "plain"] for at in findings.checkpoints if at.progress
    ]
    shown = [module._pooled([(one.word, one.confidence) for one in row]) for row in rows if not any(
        isinstance(one, Missing) for one in row)]  # fmt: skip
    for row, (words, number) in zip(rows, [cell for cell in shown if cell is not None], strict=True):
        estimates = sorted(one.confidence.estimate for one in row)
        assert number == f"{estimates[0]:.2f} to {estimates[-1]:.2f}, 2 seeds"
        assert set(words.split(" or ")) == {word for one in row for word in one.word.split(" or ")}
