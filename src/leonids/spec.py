"""The one edge: strict YAML text -> frozen models. Every other room receives records that are already valid."""

import io
import json
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from leonids.errors import SpecError
from leonids.records import LossScope
from leonids.universe.blueprint import UniverseSpec

T = TypeVar("T")

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
    ``review_examples`` held-out examples are measured. ``universe`` is whole, so that a manifest needs no other file.
    """

    run: Name
    arm: Name
    universe: UniverseSpec
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


def read_yaml(text: str, *, name: str) -> Any:
    """Return the plain value of a YAML 1.2 text: no tags, no duplicate keys. Raises ``SpecError`` with the line."""
    yaml = YAML(typ="safe", pure=True)
    yaml.allow_duplicate_keys = False
    try:
        return yaml.load(io.StringIO(text))
    except YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f" line {place.line + 1}" if place is not None else ""
        problem = getattr(error, "problem", None) or "it is not YAML"
        raise SpecError(f"{name}{where}: {str(problem).strip()}", rule="files are strict YAML 1.2") from error


def validate(kind: type[T], data: Any, *, name: str) -> T:
    """Return ``data`` as a ``kind``. Raises ``SpecError`` naming the first wrong key, its value and the rule."""
    try:
        return TypeAdapter(kind).validate_json(json.dumps(data, allow_nan=False))
    except ValidationError as error:
        raise SpecError(f"{name}: {describe(error)}") from error
    except (TypeError, ValueError) as error:
        raise SpecError(f"{name}: {error}", rule="a file holds texts, finite numbers, lists and mappings") from error


def describe(error: ValidationError) -> str:
    """Return the first problem of a validation error in one line, and how many more there are."""
    problems = error.errors(include_url=False, include_context=False)
    first = problems[0]
    place = ".".join(str(part) for part in first["loc"]) or "the whole file"
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        text = f"unknown key {place!r}; check its spelling"
    elif first["type"].startswith("missing"):
        text = f"key {place!r} is missing"
    else:
        text = f"{place} is {first['input']!r}; {first['msg'][0].lower()}{first['msg'][1:]}"
    return text + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")


def read_text(path: Path) -> str:
    """Return the text of a file. Raises ``SpecError`` where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise SpecError(f"cannot read {str(path)!r}", rule=str(reason)) from error


def shipped_universes() -> tuple[str, ...]:
    """Return the names of the universes that come with the package."""
    folder = files("leonids.universe").joinpath("shipped")
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def load_universe(reference: str, *, beside: Path | None = None) -> UniverseSpec:
    """Return the spec of a shipped universe, or of a YAML file (relative to ``beside`` if given)."""
    if reference in shipped_universes():
        text = files("leonids.universe").joinpath("shipped", f"{reference}.yaml").read_text(encoding="utf-8")
        return validate(UniverseSpec, read_yaml(text, name=reference), name=f"universe {reference}")
    path = (beside or Path()) / reference
    if not path.is_file():
        raise SpecError(
            f"no universe {reference!r}",
            rule=f"shipped ones are {', '.join(shipped_universes())}",
            way_out="or give the path of a YAML file",
        )
    return validate(UniverseSpec, read_yaml(read_text(path), name=str(path)), name=str(path))
