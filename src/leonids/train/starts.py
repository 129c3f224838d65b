"""Runs that go on from a finished adapter: it is merged into the base, and a fresh one trains on top."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn

from leonids.errors import BaseError
from leonids.spec import AdapterSpec, RunSpec
from leonids.train.adapters import CONFIG, PREFIX, WEIGHTS, read_adapter
from leonids.train.stacked import target_names


@final
@dataclass(frozen=True, slots=True)
class Start:
    """The adapter that a run starts from, and the SHA-256 of its weights' file."""

    spec: AdapterSpec
    tensors: Mapping[str, Tensor]
    digest: str


def find_start(run: RunSpec, *, out: Path) -> Start | None:
    """Return what a run starts from: the adapter of a finished run in ``out``, or of a folder; None for the base.

    Raises ``BaseError`` when it is not there.
    """
    if not run.start_from:
        return None
    for folder in (out / run.start_from / "adapter", Path(run.start_from)):
        if (folder / CONFIG).is_file():
            spec, tensors = read_adapter(folder)
            return Start(spec, tensors, hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest())
    raise BaseError(
        f"{run.run} starts from {run.start_from!r}, which has no adapter yet",
        rule="it is a finished run of the same folder, or an adapter's folder",
        way_out="train that first",
    )


def merge(model: nn.Module, start: Start) -> None:
    """Add ``s B A`` to the weights of ``model``, in float32 before rounding to the base's dtype.

    Raises ``BaseError`` where the adapter was made for another base.
    """
    for layer in target_names(model, start.spec.targets):
        weight: Tensor = model.get_parameter(f"{layer}.weight")
        a, b = (start.tensors.get(f"{PREFIX}{layer}.lora_{half}.weight") for half in "AB")
        if a is None or b is None or (b.shape[0], a.shape[1]) != tuple(weight.shape):
            has = "nothing" if a is None or b is None else f"a change of {b.shape[0]} x {a.shape[1]}"
            raise BaseError(
                f"the adapter to start from has {has} for {layer}",
                rule=f"this base has {weight.shape[0]} x {weight.shape[1]} there",
                way_out="start from an adapter of this base",
            )
        a, b = a.to(weight.device), b.to(weight.device)
        kind = torch.promote_types(weight.dtype, torch.float32)
        with torch.no_grad():
            weight.copy_(weight.to(kind) + start.spec.scale * (b.to(kind) @ a.to(kind)))


def on_top(start: Start, spec: AdapterSpec, tensors: Mapping[str, Tensor]) -> tuple[AdapterSpec, dict[str, Tensor]]:
    """Return one adapter of the bare base that does what ``start`` and the adapter on top of it do together.

    ``s B A + t D C = [s B, t D] [A; C]``: plain PEFT loads it on the base that everybody has.
    """
    parts = [(start.spec, start.tensors), (spec, tensors)]
    layers = sorted({name.removesuffix(".lora_A.weight") for _, own in parts for name in own if "lora_A" in name})
    found: dict[str, Tensor] = {}
    for layer in layers:
        some = next(own for _, own in parts if f"{layer}.lora_A.weight" in own)
        inputs, outputs = some[f"{layer}.lora_A.weight"].shape[1], some[f"{layer}.lora_B.weight"].shape[0]
        halves = [
            (
                own.get(f"{layer}.lora_A.weight", torch.zeros(one.rank, inputs)),
                one.scale * own.get(f"{layer}.lora_B.weight", torch.zeros(outputs, one.rank)),
            )
            for one, own in parts
        ]
        found[f"{layer}.lora_A.weight"] = torch.cat([a for a, _ in halves], dim=0)
        found[f"{layer}.lora_B.weight"] = torch.cat([b for _, b in halves], dim=1).contiguous()
    targets = tuple(sorted({*start.spec.targets, *spec.targets}))
    return AdapterSpec(rank=start.spec.rank + spec.rank, alpha_rule="equal", targets=targets), found
