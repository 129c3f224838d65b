"""Promises about transfer:gym in training: the same items in every arm, no floor, nothing dropped in silence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leonids.errors import BaseError
from leonids.gym.source import PACKAGE
from leonids.gym.tasks import TASKS
from leonids.spec import RunSpec
from leonids.train import data
from leonids.train.native import NATIVE
from leonids.universe.splits import GYM

N = 2 * len(TASKS)


def lines(folder: Path, run: str, split: str) -> list[dict[str, Any]]:
    text = (folder / run / "reviews.jsonl").read_text("utf-8").splitlines()
    return [line for line in map(json.loads, text) if line.get("split") == split]


@pytest.fixture(scope="module")
def measured(run_spec: Callable[..., RunSpec], tmp_path_factory: pytest.TempPathFactory, make_source: Any) -> Path:
    """An arm and its control, before and after two steps; the first question of each task is too long to be read."""
    out = tmp_path_factory.mktemp("gym")
    more = {"reviews": (0, 2), "steps": 2, "transfer": (GYM,), "test_examples": N, "lr": 0.05}
    runs = [run_spec("own", **more), run_spec("shuffled", answers="shuffled", **more)]
    source = make_source(questions=lambda task, seed, index: "x " * 300 if index == 0 else None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "ReasoningGym", lambda: source)
        NATIVE.fit(runs, out=out, resume=False)
    return out


def test_arms_see_the_same_items_before_and_after(measured: Path) -> None:
    seen = {
        (run, step): [
            (line["index"], line["tags"], "".join(line["answer"]["gold"]))
            for line in lines(measured, run, GYM)
            if line["step"] == step and line["kind"] == "observation"
        ]
        for run in ("own", "shuffled")
        for step in (0, 2)
    }
    first = seen["own", 0]
    assert [index for index, _, _ in first] == list(range(N))
    assert all(items == first for items in seen.values())
    assert {tags["distance"] for _, tags, _ in first} == {"near", "mid", "far"}


def test_arms_begin_alike_and_end_apart(measured: Path) -> None:
    def losses(run: str, step: int) -> list[dict[str, list[float]]]:
        found = (line for line in lines(measured, run, GYM) if line["step"] == step)
        return [line["metrics"]["loss"] for line in found if line["kind"] == "observation"]

    assert losses("own", 0) == losses("shuffled", 0)
    assert losses("own", 2) != losses("shuffled", 2)


def test_what_nobody_knows_is_absent_and_not_zero(measured: Path) -> None:
    for run in ("own", "shuffled"):
        assert all("floor" not in line["metrics"] for line in lines(measured, run, GYM))
        assert all("floor" in line["metrics"] for line in lines(measured, run, "validation"))


def test_items_that_the_base_cannot_read_are_counted_in_the_review(measured: Path) -> None:
    for line in (line for line in lines(measured, "own", GYM) if line["kind"] == "review"):
        assert line["n"] == N
        assert line["audit"]["passed_over"] == {"longer than the base reads": len(TASKS)}
    assert not any("passed_over" in line.get("audit", {}) for line in lines(measured, "own", "validation"))


def test_a_base_that_reads_none_of_a_tasks_items_is_refused_before_anything_is_written(
    run_spec: Callable[..., RunSpec], tmp_path: Path, make_source: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source(questions=lambda task, seed, index: f"{index} " * 300 if task == TASKS[5].name else None)
    monkeypatch.setattr(data, "ReasoningGym", lambda: source)
    with pytest.raises(BaseError, match=f"items of {TASKS[5].name} can be asked: the last one: longer than the base"):
        NATIVE.check([run_spec("long", transfer=(GYM,), test_examples=6)], out=tmp_path)
    NATIVE.check([run_spec("short", transfer=(GYM,), test_examples=5)], out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_names_the_package_where_its_items_are_measured(
    measured: Path, run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    NATIVE.fit([run_spec("plain", steps=1, reviews=(1,))], out=tmp_path, resume=False)
    with_gym, without = (
        json.loads((folder / "manifest.json").read_text("utf-8"))["packages"]
        for folder in (measured / "own", tmp_path / "plain")
    )
    assert PACKAGE in with_gym
    assert PACKAGE not in without
