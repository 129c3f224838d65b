"""Composites of reasoning-gym under neighbouring seeds share all items but one, and an audit says so."""

import json
from pathlib import Path

import pytest

from leonids.report.auditing import audit_of

pytestmark = pytest.mark.gym

TASKS = ("number_filtering", "number_sorting", "word_sorting", "letter_counting", "chain_sum")
ITEMS = 1000


def composite(folder: Path, seed: int) -> Path:
    """Write a composite as its makers' own training does: one seed for training, the next for validation."""
    import reasoning_gym
    from reasoning_gym.composite import DatasetSpec

    parts = [DatasetSpec(name=name, weight=1, config={}) for name in TASKS]
    data = reasoning_gym.create_dataset("composite", seed=seed, size=ITEMS, datasets=parts)
    path = folder / f"seed-{seed}.jsonl"
    path.write_text("".join(json.dumps({k: item[k] for k in ("question", "answer")}) + "\n" for item in data), "utf-8")
    return path


def test_the_audit_finds_the_leak_between_neighbouring_seeds_and_none_between_far_ones(tmp_path: Path) -> None:
    training = composite(tmp_path, 1)
    shared = []
    for seed in (2, 1_000_000_001):
        found = audit_of(composite(tmp_path, seed), against=training, base=None)
        (first, _) = [one["numbers"] for one in found["findings"] if one["topic"] == "overlap"]
        shared.append((first["count"], first["whole"], first["n"]))
    # Item i is drawn from Random(seed + i), so under seed 2 it is item i + 1 of seed 1; the last one is new.
    assert shared == [(ITEMS - 1, ITEMS - 1, ITEMS), (0, 0, ITEMS)]
