"""One run from a file: checked before anything is written, never written over, and measured with its interval."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leonids.errors import BaseError, LeonidsError, OutputError, SpecError, UsageError
from leonids.ledger.chain import Ledger
from leonids.spec import load_run
from leonids.stats.intervals import binomial_interval
from leonids.study import conduct as conducting
from leonids.study import single
from leonids.study.single import Measured, evaluate_adapter, train_single

RUN = """\
run: first
arm: thin
universe: consistent
base: {base}
adapter: {{rank: 2, alpha: 2, alpha_rule: equal}}
steps: 4
batch_size: 2
lr: 0.01
reviews: [2, 4]
review_examples: 3
"""


@pytest.fixture
def run_file(tmp_path: Path, tiny_base: Path) -> Path:
    path = tmp_path / "RUN.yaml"
    path.write_text(RUN.format(base=tiny_base))
    return path


@pytest.fixture(autouse=True)
def _trainer(monkeypatch: pytest.MonkeyPatch, train: Callable[..., Any]) -> None:
    monkeypatch.setattr(single, "launch", train())
    monkeypatch.setattr(single, "rehearsal", conducting.rehearsal)


def test_a_run_file_is_a_run_with_its_universe_whole(run_file: Path, tmp_path: Path) -> None:
    run = load_run(run_file)
    assert (run.adapter.scale, run.universe.universe, run.dtype) == (1.0, "consistent", "auto")
    moved = []
    adapter = train_single(run_file, out=tmp_path / "out", resume=False, moved=moved.append)
    assert adapter == tmp_path / "out" / "first" / "adapter"
    assert moved[-1][0].step == run.steps


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (("rank:", "rnak:"), r"unknown key 'adapter\.rnak'"),
        (("steps: 4", "steps: four"), "steps is 'four'"),
        (("steps: 4", "steps: 4.5"), r"steps is 4\.5"),
        (("steps: 4", ""), "key 'steps' is missing"),
        (("reviews: [2, 4]", "reviews: [2, 5]"), "rising steps from 0 to 4"),
        (("reviews: [2, 4]", "reviews: [4, 2]"), "rising steps from 0 to 4"),
        (("universe: consistent", "universe: consistant"), "no universe 'consistant'"),
        (("run: first", "run: ../first"), r"run is '\.\./first'"),
        (("run: first", "- first"), "strict YAML"),
        ((RUN[:9], "just words #"), "the whole file"),
    ],
)
def test_a_wrong_run_file_is_refused_in_one_line_before_anything_is_written(
    edit: tuple[str, str], words: str, run_file: Path, tmp_path: Path
) -> None:
    text = run_file.read_text()
    run_file.write_text("just words" if edit[1].startswith("just words") else text.replace(*edit))
    with pytest.raises(SpecError, match=words) as raised:
        train_single(run_file, out=tmp_path / "out", resume=False)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_a_base_that_is_not_there_is_found_before_anything_is_written(run_file: Path, tmp_path: Path) -> None:
    run_file.write_text(RUN.format(base="nanoo"))
    with pytest.raises(BaseError, match="nanoo"):
        train_single(run_file, out=tmp_path / "out", resume=False)
    assert not (tmp_path / "out").exists()


def test_a_runs_folder_is_its_own(run_file: Path, tmp_path: Path, contents: Callable[[Path], dict[str, bytes]]) -> None:
    out = tmp_path / "out"
    train_single(run_file, out=out, resume=False)
    before = contents(out)
    with pytest.raises(OutputError, match="--resume"):
        train_single(run_file, out=out, resume=False)
    train_single(run_file, out=out, resume=True)
    run_file.write_text(run_file.read_text().replace("lr: 0.01", "lr: 0.02"))
    with pytest.raises(OutputError, match="other settings"):
        train_single(run_file, out=out, resume=True)
    assert contents(out) == before
    study = Ledger.open(tmp_path / "study")
    study.append("note", {"about": "plan"})
    with pytest.raises(OutputError, match="holds a study"):
        train_single(run_file, out=tmp_path / "study", resume=True)


def test_an_adapter_is_measured_on_held_out_examples_alone(tiny_base: Path, tmp_path: Path) -> None:
    for adapter, split, words in ((tiny_base, "train", "validation or test"), (tiny_base, "tset", "splits are")):
        with pytest.raises(UsageError, match=words):
            evaluate_adapter(adapter, universe="consistent", split=split, n=3, base=None)
    for adapter in (tmp_path, tmp_path / "absent"):
        with pytest.raises(LeonidsError, match=str(adapter)):
            evaluate_adapter(adapter, universe="consistent", split="test", n=3, base=None)


def test_a_bare_base_is_measured_with_its_exact_interval(tiny_base: Path) -> None:
    found = evaluate_adapter(tiny_base, universe="consistent", split="test", n=4, base=None)
    assert isinstance(found, Measured)
    assert found.match == binomial_interval(found.matches, 4, level=0.95)
    assert found.to_json()["n"] == 4
    counted = [case["n"] for case in found.to_json()["cases"] if case["tag"] == "skill"]
    assert sum(counted) == 4
    assert "match by case" in "\n".join(found.lines())
    assert found.loss_nats > found.floor_nats == 0.0
