"""Checkpoints of a run: written whole or not at all, the last two kept.

``OUT/<run>/checkpoints/checkpoint-<step>/`` is an adapter in PEFT's format, ``optimizer.safetensors``, and
``state.json`` with the step and the watermark of the run's streams. Examples are a pure function of their
index, so there is no data state.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from leonids.errors import OutputError
from leonids.spec import RunSpec
from leonids.train.adapters import read_adapter, sync, write_adapter

KEPT = 2


@final
@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run at a step: adapter tensors under PEFT's names, optimizer state, and where its streams stood."""

    step: int
    adapter: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    watermark: Mapping[str, Any]


def checkpoint_folder(run_folder: Path) -> Path:
    """Return the folder of a run's checkpoints."""
    return run_folder / "checkpoints"


def write_checkpoint(run_folder: Path, checkpoint: Checkpoint, *, spec: RunSpec) -> Path:
    """Write a checkpoint: into a hidden folder first, made durable, then renamed."""

    def fill(folder: Path) -> None:
        write_adapter(folder, checkpoint.adapter, spec=spec.adapter, base=spec.base)
        save_file(dict(checkpoint.optimizer), folder / "optimizer.safetensors")
        state = {"step": checkpoint.step, "watermark": checkpoint.watermark}
        (folder / "state.json").write_text(json.dumps(state, sort_keys=True) + "\n", encoding="utf-8")
        sync(folder / "optimizer.safetensors")
        sync(folder / "state.json")

    return write_whole(checkpoint_folder(run_folder) / f"checkpoint-{checkpoint.step}", fill)


def write_whole(target: Path, fill: Callable[[Path], None]) -> Path:
    """Make the folder ``target`` with what ``fill`` writes: whole or not at all. An older one is replaced.

    Raises ``OutputError`` when the disk refuses; what was there before stays.
    """
    scratch = target.with_name(f".{target.name}-{os.getpid()}")
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        fill(scratch)
        sync(scratch)
        if target.exists():
            shutil.rmtree(target)
        scratch.rename(target)
        sync(target.parent)
    except (OSError, SafetensorError) as error:
        # safetensors tells of a full disk by an error of its own, which is no OSError.
        raise OutputError(
            f"{target} could not be written ({getattr(error, 'strerror', None) or error})",
            rule="a folder is written whole or not at all, and what was there before stays",
            way_out="make room or allow writing, then try again; a run resumes from its last checkpoint",
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def steps_kept(run_folder: Path) -> list[int]:
    """Return the steps of the checkpoints of a run, in order."""
    folder = checkpoint_folder(run_folder)
    names = [path.name for path in folder.glob("checkpoint-*") if (path / "state.json").is_file()]
    return sorted(int(name.removeprefix("checkpoint-")) for name in names)


def common_step(run_folders: Sequence[Path]) -> int | None:
    """Return the last step at which every run has a checkpoint, or None."""
    common = set[int].intersection(*(set(steps_kept(folder)) for folder in run_folders))
    return max(common) if common else None


def read_checkpoint(run_folder: Path, step: int) -> Checkpoint:
    """Return the checkpoint of a run at ``step``."""
    folder = checkpoint_folder(run_folder) / f"checkpoint-{step}"
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    return Checkpoint(
        step=state["step"],
        adapter=read_adapter(folder)[1],
        optimizer=load_file(folder / "optimizer.safetensors"),
        watermark=state["watermark"],
    )


def drop_after(run_folder: Path, step: int) -> None:
    """Remove checkpoints after ``step``: the lines they count are about to be computed again."""
    for later in steps_kept(run_folder):
        if later > step:
            shutil.rmtree(checkpoint_folder(run_folder) / f"checkpoint-{later}")


def prune(run_folder: Path) -> None:
    """Remove all but the last checkpoints, and what killed writers left behind."""
    folder = checkpoint_folder(run_folder)
    for step in steps_kept(run_folder)[:-KEPT]:
        shutil.rmtree(folder / f"checkpoint-{step}")
    for left in folder.glob(".checkpoint-*"):
        shutil.rmtree(left, ignore_errors=True)
