"""Promises of the torch datasets: each row once over workers and ranks, one order, exact resumes, rows for TRL."""

import json
import pickle
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from leonids import Universe, UniverseDataset, UniverseStream
from leonids.errors import SpecError, UsageError
from leonids.floor.base_files import find_base
from leonids.train import torch_data
from leonids.train.bases import load_base

N, SIZE = 22, 2
WORKERS, RANKS = (0, 1, 2), (1, 2)


def stream(universe: Universe, rank: tuple[int, int] = (0, 1), **more: Any) -> UniverseStream:
    return UniverseStream(universe, **{"n": N, "batch_size": SIZE, "rank": rank, **more})


def indices(batches: Any) -> list[list[int]]:
    return [batch["index"].tolist() for batch in batches]


def loader(rows: Any, workers: int, **more: Any) -> DataLoader[Any]:
    return DataLoader(rows, batch_size=SIZE, num_workers=workers, **more)


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("ranks", RANKS)
def test_each_row_comes_once_in_one_order_and_a_pass_resumes_exactly(
    universe: Universe, workers: int, ranks: int
) -> None:
    seen: list[int] = []
    for rank in range(ranks):
        expected = list(range(rank, N, ranks))
        whole = [expected[at : at + SIZE] for at in range(0, len(expected), SIZE)]
        rows = stream(universe, (rank, ranks))
        batches = iter(loader(rows, workers))
        assert indices(islice(batches, 3)) == whole[:3]
        state = json.loads(json.dumps(rows.state_dict(used=3 * SIZE)))
        assert workers or rows.state_dict() == state
        resumed = stream(universe, (rank, ranks))
        resumed.load_state_dict(state)
        again = loader(resumed, workers, persistent_workers=workers > 0)
        assert indices(again) == whole[3:]
        assert indices(again) == whole, "the pass after the resumed one is whole"
        resumed.load_state_dict(state)
        assert indices(again) == whole[3:], "workers that stay hear of a loaded state"
        seen += [index for batch in whole[:3] + indices(batches) for index in batch]
    assert sorted(seen) == list(range(N))


def test_a_look_at_the_first_row_takes_nothing_from_the_pass(universe: Universe) -> None:
    rows = stream(universe)
    rows.load_state_dict(rows.state_dict(used=4))
    next(iter(rows))
    assert [row["index"] for row in rows] == list(range(4, N))


def test_a_workers_own_state_goes_on_where_that_worker_was(universe: Universe, monkeypatch: Any) -> None:
    # What a stateful loader does: it asks for, and gives back, the state inside each worker.
    class Info:
        id, num_workers = 1, 2

    monkeypatch.setattr(torch_data, "get_worker_info", Info)
    rows = stream(universe)
    given: Iterator[Any] = iter(rows)
    first = [row["index"] for row in islice(given, 3)]
    other = stream(universe)
    other.load_state_dict(rows.state_dict())
    rest = [row["index"] for row in other]
    assert (first, rest) == ([2, 3, 6], [7, 10, 11, 14, 15, 18, 19])
    state = rows.state_dict()
    monkeypatch.setattr(torch_data, "get_worker_info", lambda: None)
    with pytest.raises(UsageError, match=r"state is of worker \[1, 2\]"):
        other.load_state_dict(state)


def test_a_state_that_nobody_knows_or_of_another_stream_is_refused(universe: Universe) -> None:
    rows = stream(universe)
    list(loader(rows, 1))
    with pytest.raises(UsageError, match="used=ROWS"):
        rows.state_dict()
    with pytest.raises(UsageError, match="state has seed 1: this is 0"):
        rows.load_state_dict(stream(universe, seed=1).state_dict())
    with pytest.raises(UsageError, match=r"rank \(2, 2\)"):
        stream(universe, (2, 2))
    with pytest.raises(UsageError, match="unknown split"):
        UniverseDataset(universe, n=1, split="tset")
    with pytest.raises(SpecError, match="holds no pair"):
        UniverseDataset(universe, n=1, split="transfer:composition")


def test_rows_by_index_are_the_universes_whoever_asks(universe: Universe) -> None:
    rows = UniverseDataset(universe, n=5, split="test", seed=3)
    examples = [universe.example("test", 3, index) for index in range(5)]
    assert [(row["prompt"], row["completion"]) for row in rows] == [(e.prompt, e.completion) for e in examples]  # type: ignore[attr-defined]
    assert indices(loader(rows, 2)) == [[0, 1], [2, 3], [4]]
    assert pickle.loads(pickle.dumps(rows))[4] == rows[-1]
    with pytest.raises(IndexError):
        rows[5]


@pytest.mark.parametrize("form", [UniverseDataset, UniverseStream])
@pytest.mark.filterwarnings("ignore")
def test_trl_trains_on_a_universes_rows_as_they_are(tmp_path: Path, form: Any) -> None:
    end = "<|end|>"
    trainer = SFTTrainer(
        model=load_base("nano", dtype="float32").model,
        args=SFTConfig(
            output_dir=str(tmp_path),
            max_steps=2,
            per_device_train_batch_size=SIZE,
            report_to="none",
            use_cpu=True,
            bf16=False,
            save_strategy="no",
            disable_tqdm=True,
            logging_steps=1,
        ),
        train_dataset=form("consistent", n=8).hf(),
        processing_class=PreTrainedTokenizerFast(
            tokenizer_file=str(find_base("nano") / "tokenizer.json"), eos_token=end
        ),
        peft_config=LoraConfig(r=2, target_modules=["q_proj"]),
    )
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert len(losses) == 2
    assert all(0 < loss < 5 for loss in losses), "completions alone, on the base that knows such answers"
    assert any(value.any() for name, value in trainer.model.named_parameters() if "lora_B" in name)
