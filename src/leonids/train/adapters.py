"""Adapters of a stack: where they start, and PEFT's folder format, out and in."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from leonids.digest import stream_key
from leonids.errors import BaseError, UsageError
from leonids.spec import AdapterSpec
from leonids.train.stacked import Stack

PREFIX = "base_model.model."
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def start_fresh(stack: Stack, adapter: int, *, init_seed: int) -> None:
    """Set one adapter to PEFT's start: A uniform (Kaiming, a = sqrt 5), B zero.

    Each layer draws from a generator of its own for ``init_seed`` and its name, row by row: adapters of one seed
    and different ranks start with the same first rows of A.
    """
    for name, (a, b) in stack.tensors(adapter).items():
        a.copy_(fresh_a(name, rank=a.shape[0], inputs=a.shape[1], init_seed=init_seed))
        b.zero_()


def fresh_a(layer: str, *, rank: int, inputs: int, init_seed: int) -> Tensor:
    """Return the A ``[rank, inputs]`` that a layer's adapter starts with, in float32."""
    generator = torch.Generator().manual_seed(stream_key("leonids/init", init_seed, layer) % 2**63)
    # kaiming_uniform(a = sqrt 5) is uniform within sqrt(6 / ((1 + 5) inputs)).
    bound = 1 / math.sqrt(inputs)
    return torch.empty(rank, inputs).uniform_(-bound, bound, generator=generator)


def peft_tensors(stack: Stack, adapter: int) -> dict[str, Tensor]:
    """Return one adapter under PEFT's names: A ``[r, in]`` and B ``[out, r]`` a layer, copies on the CPU."""
    found: dict[str, Tensor] = {}
    for name, (a, b) in stack.tensors(adapter).items():
        found[f"{PREFIX}{name}.lora_A.weight"] = a.detach().cpu().clone()
        found[f"{PREFIX}{name}.lora_B.weight"] = b.detach().t().cpu().contiguous().clone()
    return found


def load_into(stack: Stack, adapter: int, tensors: Mapping[str, Tensor]) -> None:
    """Set one adapter from tensors under PEFT's names. Raises ``UsageError`` where names or shapes differ."""
    for name, (a, b) in stack.tensors(adapter).items():
        for half, target in (("A", a), ("B", b.t())):
            key = f"{PREFIX}{name}.lora_{half}.weight"
            if key not in tensors or tensors[key].shape != target.shape:
                shape = tuple(tensors[key].shape) if key in tensors else "absent"
                raise UsageError(
                    f"tensor {key} of the adapter is {shape}",
                    rule=f"this run needs {tuple(target.shape)}",
                    way_out="use an adapter of the same base, rank and targets",
                )
            target.copy_(tensors[key])


def peft_config(spec: AdapterSpec, *, base: str) -> dict[str, Any]:
    """Return PEFT's ``adapter_config.json`` for an adapter."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": spec.rank,
        "lora_alpha": spec.rank if spec.alpha_rule == "equal" else spec.alpha,
        "use_rslora": spec.alpha_rule == "sqrt",
        "lora_dropout": spec.dropout,
        "target_modules": sorted(spec.targets),
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "modules_to_save": None,
    }


def write_adapter(folder: Path, tensors: Mapping[str, Tensor], *, spec: AdapterSpec, base: str) -> None:
    """Write an adapter in PEFT's format into an existing folder, and make it durable."""
    text = json.dumps(peft_config(spec, base=base), indent=2, sort_keys=True) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8")
    save_file(dict(tensors), folder / WEIGHTS, metadata={"format": "pt"})
    for name in (CONFIG, WEIGHTS):
        sync(folder / name)


def read_adapter(folder: Path) -> tuple[AdapterSpec, dict[str, Tensor]]:
    """Return the specification and tensors of an adapter folder that PEFT or leonids wrote.

    Raises ``BaseError`` for what is no plain LoRA adapter: trained extra modules, biases, DoRA, ranks by layer.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise BaseError(
            f"no adapter can be read from {folder} ({error})", rule="PEFT's two files are needed"
        ) from error
    _refuse_odd(config)
    alpha, rank = float(config["lora_alpha"]), int(config["r"])
    targets = config["target_modules"]
    if isinstance(targets, str):
        raise BaseError(f"target_modules of {folder} is the pattern {targets!r}", rule="a list of names is needed")
    spec = AdapterSpec(
        rank=rank,
        alpha=alpha,
        alpha_rule="sqrt" if config.get("use_rslora") else "fixed",
        targets=tuple(sorted(targets)),
        dropout=float(config.get("lora_dropout", 0.0)),
    )
    return spec, tensors


def _refuse_odd(config: Mapping[str, Any]) -> None:
    plain = {"peft_type": ("LORA",), "bias": ("none", None), "fan_in_fan_out": (False, None)}
    for key, allowed in plain.items():
        if config.get(key) not in allowed:
            raise BaseError(f"the adapter has {key} = {config.get(key)!r}", rule=f"only {allowed[0]!r} can be read")
    for key in ("modules_to_save", "use_dora", "rank_pattern", "alpha_pattern", "trainable_token_indices"):
        if config.get(key):
            raise BaseError(
                f"the adapter has {key} = {config[key]!r}",
                rule="an adapter of a stack is A and B on linear layers, nothing else is trained",
                way_out="use the back end trl",
            )


def sync(path: Path) -> None:
    """Make a file or folder durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
