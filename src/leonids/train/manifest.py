"""The manifest of a run of the back end ``native``: everything that its numbers come from."""

import platform
from collections.abc import Sequence

import torch

from leonids.claims.metrics import metric_versions
from leonids.digest import Json
from leonids.gym.source import PACKAGE
from leonids.ledger.manifest import describe
from leonids.spec import RunSpec
from leonids.train.bases import Base
from leonids.train.data import Stream
from leonids.universe.splits import GYM

PACKAGES = ("leonids", "numpy", "safetensors", "tokenizers", "torch", "transformers")
"""What every run's numbers come from; those of ``transfer:gym`` come from one more."""


def manifest_of(
    run: RunSpec, *, base: Base, stream: Stream, runs: Sequence[RunSpec], streams: Sequence[Stream]
) -> dict[str, Json]:
    """Return a run's manifest. ``paired_with`` are the runs of its pass that see the same prompts."""
    facts = describe(
        run.model_dump(mode="json"),
        universe_digest=stream.universe.digest,
        device=device_name(base.device),
        packages=(*PACKAGES, *([PACKAGE] if GYM in run.transfer else [])),
    )
    return {
        **facts,
        "metrics": metric_versions(),
        "backend": "native",
        "base_digest": base.digest,
        "dtype": str(base.model.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "pass": [other.run for other in runs],
        "paired_with": [
            other.run
            for other, theirs in zip(runs, streams, strict=True)
            if other is not run and theirs.universe.stream == stream.universe.stream and theirs.seed == stream.seed
        ],
    }


def device_name(device: torch.device) -> str:
    """Return a device in words."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu {platform.machine()}"
