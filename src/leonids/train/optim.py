"""The optimizer of a stack: AdamW, learning rate, clip and weight decay of each adapter its own."""

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from leonids.spec import RunSpec
from leonids.train.stacked import Stack


def lr_at(spec: RunSpec, done: int) -> float:
    """Return the learning rate of the step after ``done`` steps, as Hugging Face's schedules define it.

    >>> spec = RunSpec.model_construct(steps=10, lr=1.0, warmup_steps=2)
    >>> [lr_at(spec, done) for done in (0, 1, 2, 6)]
    [0.0, 0.5, 1.0, 0.5]
    """
    if done < spec.warmup_steps:
        return spec.lr * done / max(1, spec.warmup_steps)
    share = (done - spec.warmup_steps) / max(1, spec.steps - spec.warmup_steps)
    if spec.schedule == "linear":
        return spec.lr * max(0.0, 1.0 - share)
    if spec.schedule == "cosine":
        return spec.lr * max(0.0, 0.5 * (1.0 + math.cos(math.pi * share)))
    return spec.lr


@final
class StackOptimizer:
    """AdamW over the adapters of a stack: one parameter group an adapter, on views of the stack."""

    def __init__(self, stack: Stack, specs: Sequence[RunSpec]) -> None:
        self.specs = tuple(specs)
        self.parameters = [stack.home[e][0].parameters_of(stack.home[e][1]) for e in range(len(specs))]
        groups = [
            {"params": own, "lr": spec.lr, "weight_decay": spec.weight_decay}
            for own, spec in zip(self.parameters, specs, strict=True)
        ]
        self.adamw = torch.optim.AdamW(groups, fused=True)

    def step(self, done: int) -> list[float]:
        """Clip and step every adapter after ``done`` steps; return the learning rates used."""
        rates = [lr_at(spec, done) for spec in self.specs]
        for own, spec, rate, group in zip(self.parameters, self.specs, rates, self.adamw.param_groups, strict=True):
            torch.nn.utils.clip_grad_norm_(own, spec.clip_norm)
            group["lr"] = rate
        self.adamw.step()
        return rates

    def state_of(self, adapter: int) -> dict[str, Tensor]:
        """Return one adapter's optimizer state by name, for a checkpoint."""
        found: dict[str, Tensor] = {}
        for at, parameter in enumerate(self.parameters[adapter]):
            for key, value in self.adamw.state[parameter].items():
                found[f"{at}.{key}"] = value
        return found

    def load_state(self, adapter: int, state: dict[str, Tensor]) -> None:
        """Set one adapter's optimizer state from a checkpoint."""
        for at, parameter in enumerate(self.parameters[adapter]):
            names = [name for name in state if name.split(".")[0] == str(at)]
            self.adamw.state[parameter] = {name.split(".")[1]: state[name].clone() for name in names}
