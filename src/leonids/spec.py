"""The one edge: strict YAML text -> frozen models. Every other room receives records that are already valid."""

import io
import json
import unicodedata
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from leonids.claims.measure import Percent
from leonids.claims.prediction import Hypothesis, Prediction, Question, check_study
from leonids.errors import SpecError
from leonids.records import LossScope
from leonids.universe.blueprint import UniverseSpec
from leonids.universe.splits import check_transfer

T = TypeVar("T")

SEVEN_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

FOREIGN = "foreign"
"""The universe of an arm whose data LEO did not make: another trainer trains it, and no floor is known."""

Percentage = Annotated[float, Percent(), Field(ge=0.0, le=1.0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Model(BaseModel):
    """Base of the edge models: frozen, strict, and no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class AdapterSpec(Model):
    """What a run trains: a LoRA adapter, whose ``scale`` multiplies ``B A x``, or every weight (``method: full``).

    ``alpha_rule``: ``fixed`` gives scale alpha / rank, ``equal`` sets alpha to the rank (scale 1),
    ``sqrt`` gives alpha / sqrt(rank) (rsLoRA, arXiv 2312.03732). A claim about ranks means nothing without it.
    """

    method: Literal["lora", "full"] = "lora"
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
    ``review_examples`` held-out examples are measured. ``universe`` is whole, so that a manifest needs no other file;
    None is for data that LEO did not make, which only other trainers can train on.
    ``transfer`` splits are measured on ``test_examples`` examples at step 0, where that is a review, and at the last
    review. ``answers: shuffled`` gives each training prompt the answer of another one: what such a run learns is the
    format alone, and its training lines have no floor.
    ``start_from`` names a finished run of the same folder, or an adapter's folder: it is merged into the base, and a
    fresh adapter trains on top.
    """

    run: Name
    arm: Name
    universe: UniverseSpec | None
    base: str
    start_from: str = ""
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
    transfer: tuple[str, ...] = ()
    answers: Literal["own", "shuffled"] = "own"
    checkpoint_every: Annotated[int, Field(ge=1)] = 50
    dtype: Literal["auto", "float32", "bfloat16", "float64"] = "auto"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if list(self.reviews) != sorted(set(self.reviews)) or not all(0 <= at <= self.steps for at in self.reviews):
            raise ValueError(f"reviews are {list(self.reviews)}; they are rising steps from 0 to {self.steps}")
        if self.universe is not None:
            check_transfer(self.universe, self.transfer)
        return self

    def held_out(self, step: int) -> tuple[tuple[str, int, int], ...]:
        """Return what is measured at ``step``: (split, first example, number of examples); nothing off a review.

        Every review has validation examples of its own; the test split is measured once, transfer splits twice.
        """
        if step not in self.reviews:
            return ()
        last = step == max(self.reviews)
        splits = (*(("test",) if last else ()), *(self.transfer if last or step == 0 else ()))
        number = sorted(self.reviews).index(step)
        fresh = ("validation", number * self.review_examples, self.review_examples)
        return (fresh, *((split, 0, self.test_examples) for split in splits))


class ArmSpec(Model):
    """One experimental condition: universe x adapter x loss scope. What is absent comes from the scale.

    ``lr_factor`` multiplies the scale's learning rate. ``seeds`` replaces the study's seeds for this arm.
    ``start_from`` names an arm: the finished adapter of that arm and seed is merged into the base, and a fresh one of
    this arm trains on top. ``method: full`` trains every weight of the base instead of an adapter.
    ``seen`` is the progress that a run like it had reached when the predictions were written.
    """

    about: str = ""
    universe: str = "consistent"
    start_from: str | None = None
    method: Literal["lora", "full"] = "lora"
    rank: Annotated[int, Field(ge=1, le=4096)] = 128
    alpha: Annotated[float, Field(gt=0.0)] = 128.0
    alpha_rule: Literal["fixed", "equal", "sqrt"] = "fixed"
    targets: tuple[str, ...] = SEVEN_TARGETS
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    loss_on: LossScope = "answer"
    answers: Literal["own", "shuffled"] = "own"
    lr_factor: Annotated[float, Field(gt=0.0)] = 1.0
    schedule: Literal["constant", "linear", "cosine"] | None = None
    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    seeds: tuple[int, ...] | None = None
    seen: Percentage = 0.0


class ScaleSpec(Model):
    """How large a study is run: the base and the numbers of the training loop. ``lr`` is the peak learning rate."""

    base: str
    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    lr: Annotated[float, Field(gt=0.0)]
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    clip_norm: Annotated[float, Field(gt=0.0)] = 1.0
    review_examples: Annotated[int, Field(ge=1)] = 500
    test_examples: Annotated[int, Field(ge=1)] = 500
    checkpoint_every: Annotated[int, Field(ge=1)] = 50
    dtype: Literal["auto", "float32", "bfloat16", "float64"] = "auto"


class StudySpec(Model):
    """A study: its arms, its scales, its reviews, and what was predicted. ``seeds`` seed data and adapters.

    ``transfer`` splits, and those that predictions speak of, are measured before training and at the last review, in
    the arms whose universe has them.
    """

    study: Name
    title: str
    about: str = ""
    arms: Annotated[dict[Name, ArmSpec], Field(min_length=1)]
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    reviews: Annotated[tuple[Percentage, ...], Field(min_length=1)]
    transfer: tuple[str, ...] = ()
    scales: Annotated[dict[Literal["nano", "small", "full"], ScaleSpec], Field(min_length=1)]
    hypotheses: dict[str, Hypothesis]
    questions: tuple[Question, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if list(self.reviews) != sorted(set(self.reviews)) or self.reviews[0] <= 0 or self.reviews[-1] != 1.0:
            raise ValueError(f"reviews are {list(self.reviews)}; they rise from above 0 and end at 100%")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds are {list(self.seeds)}; each occurs once")
        self._check_starts()
        check_study(self.hypotheses, questions=self.questions)
        for hypothesis in self.hypotheses.values():
            for prediction in hypothesis.predictions:
                for arm in prediction.arms:
                    if arm not in self.arms:
                        raise ValueError(f"{prediction.id} speaks of arm {arm!r}; arms are {', '.join(self.arms)}")
        return self

    def _check_starts(self) -> None:
        for name, arm in self.arms.items():
            chain = [name]
            while (source := self.arms[chain[-1]].start_from) is not None:
                if source not in self.arms:
                    raise ValueError(f"arm {name!r} starts from {source!r}; arms are {', '.join(self.arms)}")
                if source in chain:
                    raise ValueError(f"arm {name!r} starts from itself ({' from '.join([*chain, source])})")
                chain.append(source)
            if len(chain) == 1:
                continue
            if self.arms[chain[1]].method == "full":
                raise ValueError(
                    f"arm {name!r} starts from {chain[1]!r}, which trains every weight; name one of adapters"
                )
            absent = [seed for seed in arm.seeds or self.seeds if seed not in (self.arms[chain[1]].seeds or self.seeds)]
            if absent:
                raise ValueError(f"arm {name!r} has seed {absent[0]}, and {chain[1]!r}, from which it starts, has not")

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """All predictions, in the order of their hypotheses."""
        return tuple(p for hypothesis in self.hypotheses.values() for p in hypothesis.predictions)


def read_yaml(text: str, *, name: str) -> Any:
    """Return the plain value of a YAML 1.2 text: no tags, no duplicate keys. Raises ``SpecError`` with the line.

    Text is taken in Unicode form NFC, so that one text has one digest whatever editor wrote it.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.allow_duplicate_keys = False
    try:
        return yaml.load(io.StringIO(unicodedata.normalize("NFC", text)))
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
    elif not first["loc"] and first["type"] == "value_error":
        text = first["msg"].removeprefix("Value error, ")
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


def _folder_of_studies() -> Path:
    """Return the folder of shipped studies: inside an installed package, or beside ``src`` in a checkout."""
    inside = Path(str(files("leonids"))) / "studies"
    return inside if inside.is_dir() else Path(str(files("leonids"))).parents[1] / "studies"


def shipped_studies() -> tuple[str, ...]:
    """Return the names of the studies that come with the package."""
    return tuple(sorted(path.parent.name for path in _folder_of_studies().glob("*/study.yaml")))


def find_study(reference: str) -> Path:
    """Return the file of a shipped study's name or of a path. Raises ``SpecError`` where there is none."""
    if reference in shipped_studies():
        return _folder_of_studies() / reference / "study.yaml"
    path = Path(reference)
    if path.is_dir():
        path /= "study.yaml"
    if not path.is_file():
        raise SpecError(
            f"no study {reference!r}",
            rule=f"shipped ones are {', '.join(shipped_studies()) or 'none'}",
            way_out="or give the path of a study.yaml",
        )
    return path


def load_study(path: Path) -> StudySpec:
    """Return the study in a YAML file. Raises ``SpecError`` naming the first wrong key."""
    return validate(StudySpec, read_yaml(read_text(path), name=str(path)), name=str(path))


def load_run(path: Path) -> RunSpec:
    """Return the run in a YAML file, whose ``universe`` is a shipped name, a file beside it, or written out."""
    data = read_yaml(read_text(path), name=str(path))
    if isinstance(data, dict) and isinstance(data.get("universe"), str):
        universe = load_universe(data["universe"], beside=path.parent)
        data = {**data, "universe": TypeAdapter(UniverseSpec).dump_python(universe, mode="json")}
    return validate(RunSpec, data, name=str(path))
