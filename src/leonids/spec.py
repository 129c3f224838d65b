"""The one edge: strict YAML text -> frozen models. Every other room receives records that are already valid."""

import io
import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from leonids.errors import SpecError
from leonids.records import LossScope

SEVEN_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

ShareFrac = Annotated[float, Field(ge=0.0, le=1.0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Model(BaseModel):
    """Base of the edge models: frozen, strict, and no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class AdapterSpec(Model):
    """A LoRA adapter. ``scale`` multiplies ``B A x``.

    ``alpha_rule``: ``fixed`` gives scale alpha / rank, ``equal`` sets alpha to the rank (scale 1),
    ``sqrt`` gives alpha / sqrt(rank) (rsLoRA, arXiv 2312.03732). A claim about ranks means nothing without it.
    """

    rank: Annotated[int, Field(ge=1, le=4096)] = 128
    alpha: Annotated[float, Field(gt=0.0)] = 128.0
    alpha_rule: Literal["fixed", "equal", "sqrt"] = "fixed"
    targets: tuple[str, ...] = SEVEN_TARGETS
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0

    @property
    def scale(self) -> float:
        """The factor on ``B A x``."""
        if self.alpha_rule == "equal":
            return 1.0
        return self.alpha / (self.rank**0.5 if self.alpha_rule == "sqrt" else self.rank)


class RunSpec(Model):
    """One training run, resolved: everything that decides its bytes, and nothing else.

    ``steps`` are optimizer steps; ``batch_size`` is examples a step; ``reviews`` are steps after which
    ``review_examples`` held-out examples are measured. ``universe`` is the resolved universe as JSON.
    """

    run: Name
    arm: Name
    universe: dict[str, Any]
    base: str
    adapter: AdapterSpec = AdapterSpec()
    loss_on: LossScope = "answer"
    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)] = 8
    lr: Annotated[float, Field(gt=0.0)] = 2e-4
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    clip_norm: Annotated[float, Field(gt=0.0)] = 1.0
    data_seed: int = 0
    init_seed: int = 0
    reviews: tuple[int, ...] = ()
    review_examples: Annotated[int, Field(ge=1)] = 500
    test_examples: Annotated[int, Field(ge=1)] = 500
    checkpoint_every: Annotated[int, Field(ge=1)] = 50
    dtype: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
