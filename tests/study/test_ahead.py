"""A process beside may read tiles: what is read is the same with it, without it, and where it dies."""

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time

import numpy as np
import psutil
import pytest

from leonids.claims.prediction import Hypothesis
from leonids.errors import IntegrityError
from leonids.ledger.streams import begin
from leonids.spec import find_study, load_study, validate
from leonids.study import ahead as module
from leonids.study.ahead import Ahead, tiles_of
from leonids.study.plan import Choices, make_plan
from leonids.study.streams import STEPS, RunStreams
from leonids.study.tiles import SLOT, TILE_STEPS, Tile, packed, read_tile, serve, slot, unpacked
from leonids.study.windows import Column

ROWS = 2 * TILE_STEPS + 700


@pytest.fixture
def folder(tmp_path):
    """A run of two whole tiles and a part of a third."""
    stream = begin(tmp_path / STEPS, {"kind": "data_start", "run": "r"})
    for step in range(1, ROWS + 1):
        metrics = {"loss": {"decided": [step / 7, 3], "end": [0.5, 1]}}
        stream.append({"kind": "step", "split": "train", "step": step, "metrics": metrics})
    stream.close()
    return tmp_path


@pytest.fixture(autouse=True)
def beside(monkeypatch):
    monkeypatch.setattr(module, "LEAST_AHEAD", 1)
    monkeypatch.setattr(module, "cores", lambda: 2)


def tiles_in(folder):
    return [Tile(str(folder / STEPS), "loss", number) for number in range(3)]


def begun(tiles):
    """Return an ``Ahead`` whose process has ended: children that it started are waited for."""
    before = set(psutil.Process().children())
    ahead = Ahead()
    ahead.begin(tiles)
    (process,) = set(psutil.Process().children()) - before
    assert process.wait(60) == 0
    return ahead


def loss(streams):
    rows = streams.window("train", ("loss",), first_step=1, last_step=ROWS)
    return rows.steps, rows.totals["loss", "decided"], rows.counts["loss", "decided"]


def test_what_the_process_has_read_is_what_the_caller_would_read(folder):
    tiles = tiles_in(folder)
    ahead = begun(tiles)
    for tile in tiles[:2]:
        theirs, ours = ahead.take(tile), read_tile(tile)
        assert theirs is not None
        np.testing.assert_array_equal(theirs.steps, ours.steps)
        np.testing.assert_array_equal(theirs.keys, ours.keys)
        assert theirs.totals.keys() == ours.totals.keys() == {"decided", "end"}
        for role in ours.totals:
            np.testing.assert_array_equal(theirs.totals[role], ours.totals[role])
            np.testing.assert_array_equal(theirs.counts[role], ours.counts[role])
    assert ahead.take(tiles[0]) is None, "a tile is handed out once: whoever asked keeps it"


@pytest.mark.parametrize("roles", [(), ("end",), ("copied", "decided", "end", "structure")])
@pytest.mark.parametrize("n", [0, 1, 7])
def test_rows_come_out_of_bytes_as_they_went_in(roles, n):
    rng = np.random.default_rng(n)
    steps, keys = np.arange(n), np.arange(n)[::-1] - 2**40
    totals = {role: rng.choice([math.nan, math.inf, 1e-300, 0.1], 2 * n)[::2] for role in roles}
    counts = {role: rng.integers(1, 9, n).astype(float) for role in roles}
    rows = Column(steps, keys, totals, counts)
    found = unpacked(packed(rows))
    np.testing.assert_array_equal(found.steps, steps)
    np.testing.assert_array_equal(found.keys, keys)
    assert tuple(found.totals) == tuple(found.counts) == roles
    for role in roles:
        np.testing.assert_array_equal(found.totals[role], totals[role])
        np.testing.assert_array_equal(found.counts[role], counts[role])


def test_a_tile_that_may_have_been_growing_is_not_taken(folder):
    tiles = tiles_in(folder)
    ahead = begun(tiles)
    assert ahead.take(tiles[2]) is None
    assert ahead.take(Tile(str(folder / STEPS), "floor", 0)) is None


def test_a_window_is_the_same_with_the_process_beside_it_without_it_and_where_it_is_killed(folder):
    alone = loss(RunStreams(folder))
    ahead = Ahead()
    ahead.begin(tiles_in(folder))
    racing = loss(RunStreams(folder, ahead=ahead))
    ahead = begun(tiles_in(folder))
    after = loss(RunStreams(folder, ahead=ahead))
    before = set(psutil.Process().children())
    ahead = Ahead()
    ahead.begin(tiles_in(folder))
    for process in set(psutil.Process().children()) - before:
        process.kill()
    killed = loss(RunStreams(folder, ahead=ahead))
    for found in (racing, after, killed):
        for ours, theirs in zip(alone, found, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_line_that_no_run_writes_is_refused_as_without_the_process(folder):
    text = (folder / STEPS).read_text().splitlines(keepends=True)
    text[50] = text[50].replace('"decided":[', '"decided":["low",')
    (folder / STEPS).write_text("".join(text))
    with pytest.raises(IntegrityError, match=f"{STEPS}: a line is not a record"):
        loss(RunStreams(folder, ahead=begun(tiles_in(folder))))


@pytest.mark.parametrize("cores", [1, 2])
def test_few_tiles_and_one_core_start_no_process(folder, monkeypatch, cores):
    monkeypatch.setattr(module, "cores", lambda: cores)
    monkeypatch.setattr(module, "LEAST_AHEAD", 3 if cores == 1 else 4)
    before = psutil.Process().children()
    ahead = Ahead()
    ahead.begin(tiles_in(folder))
    assert psutil.Process().children() == before
    assert ahead.take(tiles_in(folder)[0]) is None


def test_of_many_tiles_the_last_ones_are_read(folder, monkeypatch):
    monkeypatch.setattr(module, "MOST_AHEAD", 1)
    tiles = tiles_in(folder)[:2]
    ahead = begun(tiles)
    assert ahead.take(tiles[0]) is None
    assert ahead.take(tiles[1]) is not None


@pytest.mark.parametrize("orphaned", [True, False])
def test_nothing_is_read_for_a_caller_that_is_gone(folder, orphaned):
    wanted = json.dumps(tiles_in(folder)).encode()
    with tempfile.TemporaryFile() as shared:
        shared.write(bytes(3 * SLOT.size) + wanted)
        shared.flush()
        serve(shared.fileno(), 3, len(wanted), os.getpid() if orphaned else os.getppid())
        assert [slot(shared.fileno(), place)[2] > 0 for place in range(3)] == [not orphaned] * 3


def test_the_process_ends_with_whoever_started_it(folder):
    # So many tiles that it would go on for long after.
    tiles = [(str(folder / STEPS), "loss", 0)] * 500
    program = f"""
        import os, psutil, signal
        from leonids.study import ahead, tiles
        ahead.cores = lambda: 2
        reading = ahead.Ahead()
        reading.begin([tiles.Tile(*tile) for tile in {tiles!r}])
        print(*(child.pid for child in psutil.Process().children()), flush=True)
        signal.pause()
    """
    caller = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    assert caller.stdout is not None
    with caller.stdout:
        reader = psutil.Process(int(caller.stdout.readline()))
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    by = time.monotonic() + 60
    while reader.is_running() and reader.status() != psutil.STATUS_ZOMBIE and time.monotonic() < by:
        time.sleep(0.05)
    assert not reader.is_running() or reader.status() == psutil.STATUS_ZOMBIE


def test_tiles_are_those_of_predictions_that_are_due_in_the_order_of_the_predictions(tmp_path):
    claim = {"claim": "x", "predictions": []}
    early = {"metric": "excess", "arm": "consistent-r8", "split": "train", "over": ["0%", "10%"]}
    late = {"metric": "loss", "arm": "consistent-r8", "split": "train", "over": ["90%", "100%"]}
    last = {"metric": "loss", "arm": "consistent-r128", "split": "train", "final": True, "within": 0.02}
    held = {"metric": "loss", "arm": "consistent-r8", "split": "validation", "final": True}
    for i, measure in enumerate((late, early, held, last)):
        claim["predictions"].append({"id": f"x.{i}", "says": "x", "measure": measure, "expect": {"below": 9}})
    predictions = validate(Hypothesis, claim, name="x").predictions
    path = find_study("consistent-universe")
    plan = make_plan(load_study(path), Choices(steps=40_000), beside=path.parent)
    runs = [(run, tmp_path / run.run) for run in plan.runs if run.data_seed == plan.runs[0].data_seed]
    found = [(tile.metric, tile.number) for tile in tiles_of(predictions, runs, at=1.0)]
    assert found == [("loss", 18), ("loss", 19), ("loss", 0), ("loss", 1), ("floor", 0), ("floor", 1), ("loss", 19)]
    assert [tile.number for tile in tiles_of(predictions, runs, at=0.5)] == [0, 1, 0, 1]
    assert tiles_of(predictions, runs, at=0.05) == []
