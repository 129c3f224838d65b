"""Reading a part of a stream gives what reading all of it would."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leonids.errors import IntegrityError
from leonids.ledger.streams import begin
from leonids.records import ROLES
from leonids.study.streams import MOST_TILES, REVIEWS, STEPS, RunStreams
from leonids.study.tiles import TILE_STEPS
from leonids.study.windows import last_step, steps_of

METRICS = ("loss", "floor", "match", "confidence_wrong")
TOTALS = st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1e-300, 3.5e21, math.nan, math.inf, -math.inf])
ROLE_TOTALS = st.dictionaries(
    st.sampled_from([*ROLES, "example"]), st.tuples(TOTALS, st.integers(1, 10**6)), min_size=1, max_size=4
)
MEASURED = st.dictionaries(st.sampled_from(METRICS), ROLE_TOTALS, max_size=3)
TAGS = st.dictionaries(
    st.sampled_from(["step", "kind", "skill"]), st.sampled_from(['"step":7,', '"split":"test"', '"loss":{"end":[1,2]}'])
)


@st.composite
def folders(draw):
    """Two streams as the writer leaves them: rising steps, some of them missing, and lines of other kinds between."""
    steps = sorted(draw(st.sets(st.integers(1, 60), max_size=25)))
    lines = [
        {"kind": "step", "lr": 0.1, "split": "train", "step": step, "metrics": draw(MEASURED), "wall_s": 0.5}
        for step in steps
    ]
    reviews = []
    for step in sorted(draw(st.sets(st.integers(0, 60), max_size=4))):
        for split in draw(st.sampled_from([["validation"], ["validation", "test"], ["test"]])):
            for index in range(draw(st.integers(0, 4))):
                reviews.append(
                    {"index": index, "kind": "observation", "split": split, "step": step}
                    | {"metrics": draw(MEASURED), "tags": draw(TAGS)}
                )
            reviews.append({"kind": "review", "split": split, "step": step, "metrics": draw(MEASURED)})
    return lines, reviews


def written(folder, lines, reviews):
    for name, records in ((STEPS, lines), (REVIEWS, reviews)):
        stream = begin(folder / name, {"kind": "data_start", "run": "r", "step_like": 3})
        for record in records:
            stream.append(record)
        stream.close()
    return RunStreams(folder, "r")


def same(part, whole, metric):
    assert part.steps.tolist() == whole.steps.tolist()
    assert part.keys.tolist() == whole.keys.tolist()
    for key in (key for key in whole.counts if key[0] == metric):
        if key in part.counts:
            np.testing.assert_array_equal(part.counts[key], whole.counts[key])
            np.testing.assert_array_equal(part.totals[key], whole.totals[key])
        else:
            assert not whole.counts[key].any()


@settings(max_examples=60, deadline=None)
@given(
    folders(),
    st.lists(st.tuples(st.integers(0, 61), st.integers(0, 61)), min_size=1, max_size=3),
    st.sampled_from([3, 8, TILE_STEPS]),
    st.sampled_from([1, 5, MOST_TILES]),
)
def test_a_window_holds_what_parsing_every_line_gives(tmp_path_factory, records, windows, tile_steps, most_tiles):
    streams = written(tmp_path_factory.mktemp("run"), *records)
    tables = {"train": streams.steps, **streams.observations}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("leonids.study.tiles.TILE_STEPS", tile_steps)
        patch.setattr("leonids.study.streams.MOST_TILES", most_tiles)
        for (first, last), (split, table), metric in itertools.product(windows, tables.items(), METRICS):
            whole = table.where((table.steps >= first) & (table.steps <= last))
            same(streams.window(split, (metric,), first_step=first, last_step=last), whole, metric)


@settings(max_examples=60, deadline=None)
@given(folders(), st.integers(0, 61))
def test_the_last_step_and_the_reviews_are_found(tmp_path_factory, records, by):
    streams = written(tmp_path_factory.mktemp("run"), *records)
    steps = streams.steps.steps.tolist()
    assert streams.done_steps == max(steps, default=0)
    assert last_step(streams.folder / STEPS, by=by) == max((s for s in steps if s <= by), default=0)
    for split in ("validation", "test"):
        table = streams.observations.get(split)
        expected = [] if table is None else sorted(set(table.steps.tolist()))
        assert list(streams.measured_steps(split)) == expected
        for step in (*expected, by):
            there = [
                (line["index"], line["tags"])
                for line in records[1]
                if line["kind"] == "observation" and line["split"] == split and line["step"] == step
            ]
            assert [(index, line["tags"]) for index, line in streams.review(split, step=step).items()] == there


@pytest.mark.parametrize("rest", [b"", b'{"kind":"step","metrics":{},"split":"train","step":9'])
def test_a_line_that_is_being_written_does_not_count(tmp_path, rest):
    record = {"kind": "step", "split": "train", "step": 1, "metrics": {"loss": {"end": [0.5, 2]}}}
    streams = written(tmp_path, [record], [])
    with (tmp_path / STEPS).open("ab") as handle:
        handle.write(rest)
    assert streams.done_steps == 1
    rows = streams.window("train", ("loss",), first_step=0, last_step=99)
    assert rows.totals["loss", "end"].tolist() == [0.5]


def test_a_run_that_has_not_begun_has_no_rows(tmp_path):
    streams = RunStreams(tmp_path / "nothing", "r")
    assert streams.done_steps == 0
    assert steps_of(tmp_path / "nothing" / REVIEWS, split="test") == ()
    assert not streams.window("train", ("loss",), first_step=0, last_step=9).steps.size


@pytest.mark.parametrize(
    "what", ["[]", '{"kind":"step",', '{"kind":"step","step":2,"metrics":{"loss":{"end":["low",2]}}}']
)
def test_a_line_that_no_run_writes_is_refused_with_its_file(tmp_path, what):
    record = {"kind": "step", "split": "train", "step": 1, "metrics": {"loss": {"end": [0.5, 2]}}}
    streams = written(tmp_path, [record], [])
    with (tmp_path / STEPS).open("a") as handle:
        handle.write(what + "\n" + json.dumps({**record, "step": 3}, separators=(",", ":")) + "\n")
    with pytest.raises(IntegrityError, match=f"{STEPS}: a line is not a record"):
        streams.window("train", ("loss",), first_step=0, last_step=99)
