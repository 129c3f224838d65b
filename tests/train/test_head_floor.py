"""What the head's floor says of training: no rank gets below it, both come down to it, and a trained head leaves it."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from leonids.floor.base_files import find_base, read_head
from leonids.floor.head import head_floor
from leonids.ledger.streams import read_stream
from leonids.records import ROLES
from leonids.spec import AdapterSpec, RunSpec
from leonids.train.bases import load_base
from leonids.train.data import open_streams
from leonids.train.native import NATIVE
from leonids.train.trl import TRL

STEPS, HELD = 240, 500
COSINE = 0.999999
MATRIX = "model.embed_tokens.weight"


def planted_base(folder: Path, *, token: int, twin: int) -> None:
    """Write nano with the output row of ``twin`` beside that of ``token``, at a cosine of ``COSINE``."""
    shutil.copytree(find_base("nano"), folder)
    tensors = load_file(folder / "model.safetensors")
    matrix = tensors[MATRIX]
    row = matrix[token].double()
    noise = torch.randn(row.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    across = noise - (noise @ row) / (row @ row) * row
    across *= row.norm() / across.norm()
    matrix[twin] = (COSINE * row + (1 - COSINE**2) ** 0.5 * across).to(matrix.dtype)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def losses_at(out: Path, run: RunSpec, *, piece: str) -> np.ndarray:
    """The loss of the planted token at each of its places in the last review's answers, in nats; ``[n]``."""
    rows = [row for row in read_stream(out / run.run / "reviews.jsonl") if row.get("kind") == "observation"]
    last = [row["answer"] for row in rows if row["step"] == STEPS and row["split"] == "test"]
    probabilities = [
        p for answer in last for text, p in zip(answer["gold"], answer["gold_confidence"], strict=True) if text == piece
    ]
    return -np.log(np.asarray(probabilities))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")
def test_adapters_of_any_rank_stop_at_the_heads_floor_and_a_trained_head_does_not(
    run_spec: Callable[..., RunSpec], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str, **more: Any) -> RunSpec:
        settings = {"base": str(tmp_path / "base"), "steps": STEPS, "batch_size": 16, "lr": 1e-3, "warmup_steps": 20}
        reviews = {"reviews": (STEPS,), "review_examples": 20, "test_examples": HELD, "checkpoint_every": STEPS}
        return run_spec(name, **{**settings, **reviews, **more})

    nano = load_base("nano", dtype="float32")
    (stream,) = open_streams([run("probe", base="nano")], nano)
    rows = [stream.row("test", index) for index in range(HELD)]
    used = Counter(
        token
        for row in rows
        for token, role in zip(row.tokens.ids, row.tokens.roles, strict=True)
        if ROLES[role] == "structure"
    )
    (token, _), *_ = used.most_common(1)
    twin = next(number for number in range(nano.vocab - 1, 0, -1) if not any(number in row.tokens.ids for row in rows))
    planted_base(tmp_path / "base", token=token, twin=twin)
    found = head_floor(read_head(tmp_path / "base"), [{token: 1.0}], tolerance_nats=1e-4)
    low, high = float(found.low[0]), float(found.high[0])
    assert low > 0.5

    ranks = [
        run(f"r{rank}").model_copy(update={"adapter": AdapterSpec(rank=rank, alpha_rule="equal")}) for rank in (8, 128)
    ]
    NATIVE.fit(ranks, out=tmp_path / "lora", resume=False)
    full = run("full", lr=1e-3).model_copy(update={"adapter": AdapterSpec(method="full")})
    TRL.fit([full], out=tmp_path / "full", resume=False)
    piece = nano.decode([token])
    measured = {one.run: losses_at(tmp_path / "lora", one, piece=piece) for one in ranks}
    free = losses_at(tmp_path / "full", full, piece=piece)
    with capsys.disabled():
        shown = {
            name: (round(float(own.mean()), 4), round(float(own.min()), 4), own.size) for name, own in measured.items()
        }
        print(f"\nhead floor {low:.4f}-{high:.4f} of {piece!r}; {shown}; head trained {free.mean():.4f}")
    for own in measured.values():
        # Probabilities are written with six digits.
        assert own.min() >= low - 2e-6
        assert own.mean() <= high + 0.02
    assert free.mean() < low / 2
