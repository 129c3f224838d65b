"""Training streams read as they grow say what reading them whole says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leonids.claims.measure import Measure
from leonids.report.curves import series as recorded
from leonids.study.folder import StudyFolder
from leonids.web.charts import TRAINED
from leonids.web.series import AXES, SKETCH_POINTS, Series


def curve(series: Series, run: str = "plain.s0", **asked: Any) -> Any:
    return series.trained(run, **{"metric": "loss", "tokens": "answer", "axis": "step", "head": {}, **asked})


@pytest.mark.parametrize("metric", TRAINED)
def test_every_metric_is_what_the_judge_reads(whole: StudyFolder, metric: str) -> None:
    series = Series(whole.out, whole.runs)
    for run in whole.runs[::3]:
        tokens = "example" if metric == "match" else "answer"
        head = {role: whole.head_nats(run.arm, role) for role in ("structure", "copied", "decided", "end")}
        found = series.trained(run.run, metric=metric, tokens=tokens, axis="progress", head=head)
        expected = recorded(whole, run, Measure(metric=metric, arm=run.arm, split="train", final=True), split="train")
        assert expected is not None
        np.testing.assert_allclose(found.x, expected.x)
        np.testing.assert_allclose(found.y, expected.y, atol=1e-12)


def test_every_axis_counts_what_was_seen(whole: StudyFolder) -> None:
    series, run = Series(whole.out, whole.runs), whole.runs[0]
    places = {axis: curve(series, run.run, axis=axis).x for axis, _ in AXES}
    steps = np.arange(1, run.steps + 1)
    np.testing.assert_allclose(places["step"], steps)
    np.testing.assert_allclose(places["progress"], 100 * steps / run.steps)
    np.testing.assert_allclose(places["examples"], steps * run.batch_size)
    np.testing.assert_allclose(places["wall"], 0.25 * steps)
    counts = whole.streams(run.run).steps.pooled("loss", run.loss_on)
    assert counts is not None
    np.testing.assert_allclose(places["tokens"], np.cumsum(counts[1]))


@pytest.fixture(scope="module")
def runs(whole: StudyFolder) -> Any:
    return whole.runs


@given(cuts=st.lists(st.integers(0, 4000), max_size=6))
def test_a_stream_read_in_pieces_is_the_stream(
    cuts: list[int], runs: Any, tmp_path_factory: pytest.TempPathFactory, line_of: Callable[..., bytes]
) -> None:
    out = tmp_path_factory.mktemp("pieces")
    path = out / "plain.s0" / "steps.jsonl"
    path.parent.mkdir()
    data = b'{"kind":"data_start"}\n' + b"".join(line_of(step, value=step / 7) for step in range(1, 12))
    series, written = Series(out, runs), 0
    for cut in [*sorted(cuts), len(data)]:
        cut = min(cut, len(data))
        with path.open("ab") as handle:
            handle.write(data[written:cut])
        written = max(written, cut)
        found = curve(series)
        assert len(found.x) == data[:written].count(b"\n") - 1 or written < 22
    np.testing.assert_allclose(found.x, np.arange(1, 12))
    np.testing.assert_allclose(found.y, np.arange(1, 12) / 7)


def test_a_stream_that_a_resume_cut_back_and_wrote_on_is_read_anew(
    runs: Any, tmp_path: Path, line_of: Callable[..., bytes]
) -> None:
    path = tmp_path / "plain.s0" / "steps.jsonl"
    path.parent.mkdir()
    series = Series(tmp_path, runs)
    path.write_bytes(b"".join(line_of(step) for step in range(1, 9)))
    assert curve(series).x.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    other = line_of(5, value=9.0).replace(b"0005", b"9995")
    path.write_bytes(b"".join(line_of(step) for step in range(1, 5)) + other)
    assert curve(series).y.tolist() == [1, 1, 1, 1, 9]
    path.unlink()
    assert curve(series).x.tolist() == []


def test_what_is_not_a_number_stays_what_it_is(runs: Any, tmp_path: Path, line_of: Callable[..., bytes]) -> None:
    path = tmp_path / "plain.s0" / "steps.jsonl"
    path.parent.mkdir()
    path.write_bytes(line_of(1) + line_of(2).replace(b"[12.0,12]", b'["NaN",12]'))
    found = curve(Series(tmp_path, runs)).y
    assert found[0] == 1.0
    assert np.isnan(found[1])


@pytest.mark.parametrize("spaced_bytes", [4096, 16])
def test_until_a_long_stream_is_read_a_curve_is_points_of_it_and_says_so(
    runs: Any, tmp_path: Path, line_of: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, spaced_bytes: int
) -> None:
    monkeypatch.setattr("leonids.web.series.SPACED_BYTES", spaced_bytes)
    monkeypatch.setattr("leonids.web.series.AT_ONCE_BYTES", 0)
    monkeypatch.setattr("leonids.web.series.READ_AFTER_S", 3600.0)
    path = tmp_path / "plain.s0" / "steps.jsonl"
    path.parent.mkdir()
    path.write_bytes(b"".join(line_of(step, value=step / 7) for step in range(1, 1001)))
    series = Series(tmp_path, runs)
    first = curve(series)
    assert first.partial
    assert 100 < len(first.x) <= SKETCH_POINTS
    np.testing.assert_allclose(first.y, first.x / 7)
    assert curve(series, axis="tokens").x.size == 0, "a sum over all steps is not guessed"
    assert len(curve(series, wait=True).x) == 1000
    series.read(["loss"])
    assert not curve(series).partial
    np.testing.assert_allclose(curve(series).x, np.arange(1, 1001))


def test_of_a_short_stream_every_line_but_the_first_is_among_its_points(
    runs: Any, tmp_path: Path, line_of: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leonids.web.series.AT_ONCE_BYTES", 0)
    monkeypatch.setattr("leonids.web.series.READ_AFTER_S", 3600.0)
    monkeypatch.setattr("leonids.web.series.SKETCH_POINTS", 10_000)
    path = tmp_path / "plain.s0" / "steps.jsonl"
    path.parent.mkdir()
    path.write_bytes(b"".join(map(line_of, range(1, 6))))
    assert curve(Series(tmp_path, runs)).x.tolist() == [2, 3, 4, 5]


def test_only_the_last_metrics_are_kept(whole: StudyFolder) -> None:
    series = Series(whole.out, whole.runs)
    for metric in TRAINED:
        curve(series, metric=metric, tokens="example" if metric == "match" else "answer")
    assert len(series._fields) <= 4 + 3
