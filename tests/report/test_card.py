"""Promises of the dataset folder: `datasets` reads it, the card's command writes it again, whole or not at all."""

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest

from leonids import cli
from leonids.cli.common import HELD_OUT
from leonids.digest import canonical_json
from leonids.report import card
from leonids.spec import load_universe
from leonids.universe.splits import FAMILIES, GYM, SPLITS
from leonids.universe.universe import Universe

COMMAND = re.compile(r"^leonids (sample .*)$", re.MULTILINE)


def run(monkeypatch: Any, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["leonids", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("leonids.report.floors.EXAMPLES", 300)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_a_folder_loads_and_the_command_on_its_card_writes_the_same_bytes(monkeypatch: Any, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    asked = ("-n", 6, "--seed", 4, "--floor", "nano", "--to", "hf", "--out")
    assert run(monkeypatch, "sample", "formats", *asked, first) == 0
    text = (first / "README.md").read_text("utf-8")
    made = Universe(load_universe("formats"))
    splits = [*SPLITS, *made.transfer_splits()]
    loaded = datasets.load_dataset(str(first))
    assert set(loaded) == {card.split_name(split) for split in splits}
    for split in splits:
        for index, row in enumerate(loaded[card.split_name(split)]):
            example = made.example(split, 4, index)
            assert (row["prompt"], row["completion"]) == (example.prompt, example.completion)
            assert row["answer"] == canonical_json(example.answer).decode()
            assert sum(row["tokens"]["floor_nats"]) == pytest.approx(row["nats"]["total"])
            assert row["tags"] == example.tags
    assert all(f"{split} " in text for split in made.transfer_splits()), "distances"
    assert made.digest in text
    assert "nats/token over" in text
    command = COMMAND.search(text)
    assert command is not None
    again = [str(second) if word == "FOLDER" else word for word in shlex.split(command[1])]
    monkeypatch.chdir(first)
    assert run(monkeypatch, *again) == 0
    assert {p.name: p.read_bytes() for p in first.iterdir()} == {p.name: p.read_bytes() for p in second.iterdir()}


def test_a_folder_with_something_in_it_is_refused_before_anything_is_computed(
    monkeypatch: Any, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    monkeypatch.setattr(card, "floor_of", None)
    assert run(monkeypatch, "sample", "formats", "--to", "hf", "--out", tmp_path / "full") == 1
    assert "holds something already" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]
    assert run(monkeypatch, "sample", "formats", "--to", "hf") == 2
    assert "hf with --out FOLDER" in capsys.readouterr().err


def test_an_interrupt_leaves_nothing_behind(monkeypatch: Any, tmp_path: Path) -> None:
    rows = card.example_json
    calls = iter(range(9))

    def interrupted(*arguments: Any) -> Any:
        if next(calls) == 8:
            raise KeyboardInterrupt
        return rows(*arguments)

    monkeypatch.setattr(card, "example_json", interrupted)
    monkeypatch.setattr(card, "floor_of", lambda *_, **__: {})
    monkeypatch.setattr(card, "floor_lines", lambda _: [])
    assert run(monkeypatch, "sample", "formats", "-n", 5, "--to", "hf", "--out", tmp_path / "new" / "folder") == 130
    assert list((tmp_path / "new").iterdir()) == []


def test_without_the_extra_the_command_says_which_one(monkeypatch: Any, tmp_path: Path, capsys: Any) -> None:
    monkeypatch.delitem(sys.modules, "leonids.train.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert run(monkeypatch, "sample", "formats", "--to", "hf", "--out", tmp_path / "new") == 4
    assert "pip install 'leonids[train]'" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("command", ["sample", "eval"])
def test_help_names_every_split(monkeypatch: Any, capsys: Any, command: str) -> None:
    assert run(monkeypatch, command, "--help") == 0
    shown = capsys.readouterr().out
    assert all(family in shown for family in FAMILIES)
    assert set(re.findall(r"\w+", HELD_OUT)) >= {*SPLITS[1:], *FAMILIES, GYM.split(":")[1]}
