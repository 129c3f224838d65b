"""A prediction: a typed claim about one quantity over one window of data, with the numbers that can refute it.

These are plain frozen records. The edge (``spec``) validates YAML into them; the judge reads them; the ledger
stores ``resolved`` ones. Percentages may be written ``60%`` in files; in memory they are fractions.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias, final

from leonids.claims.measure import STRICT, Measure, Number, refuse
from leonids.digest import Json

Scope: TypeAlias = Literal["seeds", "run"]
Miss: TypeAlias = Literal["refutes", "silent", "supports"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Bounds on the ratio ``arm / versus``; exactly one of them."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    between: tuple[Number, Number] | None = None
    above: Number | None = None
    below: Number | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FallsAfter:
    """Over the time after ``progress`` the curve falls by more than ``by`` beyond what it fell in as long before."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    progress: Number
    by: Number


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """The curve stays inside a band that finished runs foretell for one more run.

    Written: ``of``, the folder of the finished runs, ``arm`` if it has another name there, and ``level``, the
    chance that the whole curve lies inside. Frozen when the study is planned: the points ``at`` with the edges
    ``low`` and ``high`` in the metric's unit, how many ``runs`` they come from, and the ledger head (``lock``).
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    of: str
    arm: str | None = None
    level: Number = 0.95
    at: tuple[Number, ...] = ()
    low: tuple[Number, ...] = ()
    high: tuple[Number, ...] = ()
    runs: int | None = None
    lock: str | None = None

    def __post_init__(self) -> None:
        """Refuse edges without points, points out of order and a level that is none."""
        if not 0.5 <= self.level < 1.0:
            refuse(f"within.level is {self.level}", rule="a chance from 50% to below 100%", way_out="leave it out")
        if not len(self.at) == len(self.low) == len(self.high) or list(self.at) != sorted(set(self.at)):
            refuse("within has points without edges", rule="at, low and high go together", way_out="leave them out")
        if any(low > high for low, high in zip(self.low, self.high, strict=True)):
            refuse("within has a low above its high", rule="low comes first", way_out="leave both out")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """What is claimed of the measure: exactly one predicate, with its numbers in the metric's unit."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    between: tuple[Number, Number] | None = None
    above: Number | None = None
    below: Number | None = None
    differs: Number | None = None
    ratio: Ratio | None = None
    coincide: Number | None = None
    falls_after: FallsAfter | None = None
    plateaus: Number | None = None
    order: tuple[str, ...] | None = None
    within: Within | None = None

    def __post_init__(self) -> None:
        """Refuse anything but one predicate with finite numbers."""
        given = _given(self)
        if len(given) != 1:
            names = ", ".join(f.name for f in dataclasses.fields(self))
            shown = ", ".join(given) or "nothing"
            refuse(
                f"expect holds {shown}", rule="exactly one predicate", way_out=f"write one of {names} with its number"
            )
        if self.ratio is not None and len(_given(self.ratio)) != 1:
            refuse("expect.ratio", rule="exactly one of between, above, below", way_out="write ratio: {below: 0.8}")
        for number in self.numbers:
            if not math.isfinite(number):
                refuse(
                    f"expect.{self.predicate} holds {number}",
                    rule="numbers are finite",
                    way_out="write the number that can fail",
                )
        for pair in (self.between, self.ratio.between if self.ratio else None):
            if pair is not None and pair[0] >= pair[1]:
                refuse(f"between {list(pair)}", rule="the lower bound comes first", way_out="swap or widen the bounds")

    @property
    def predicate(self) -> str:
        """The name of the predicate."""
        return _given(self)[0]

    @property
    def numbers(self) -> tuple[float, ...]:
        """All numbers of the claim, in the order written."""
        value = getattr(self, self.predicate)
        if isinstance(value, Within):
            value = (*value.low, *value.high)
        if isinstance(value, (Ratio, FallsAfter)):
            value = [getattr(value, name) for name in _given(value)]
        flat = value if isinstance(value, (tuple, list)) else (value,)
        nested = (part for item in flat for part in (item if isinstance(item, tuple) else (item,)))
        return tuple(float(part) for part in nested if isinstance(part, (int, float)))


def _given(record: Any) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(record) if getattr(record, f.name) is not None)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Beyond:
    """What a miss on each side of ``between`` means: it refutes, says nothing, or supports as well."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    below: Miss
    above: Miss


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Then:
    """What follows from each outcome, written before it is known."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    supported: str = ""
    refuted: str = ""
    inconclusive: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """Another explanation of the same outcome, and the arm that tells the two apart, if there is one."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    says: str
    about: Literal["schedule", "prompt", "alpha", "data", "other"] = "other"
    arm: str | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A claim that can fail. ``needs`` are premises: where one does not hold, this one is not judged.

    ``alpha`` bounds false verdicts of this prediction's hypothesis in each direction (see ``judge``).
    ``n_min`` is the least number of units (default: 2 seeds, or 10 examples or steps). A ``supporting``
    prediction counts for its hypothesis only as far as ``status`` says; a ``necessary`` one can refute it.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    id: str
    says: str
    measure: Measure
    expect: Expect
    beyond: Beyond | None = None
    scope: Scope = "seeds"
    needs: tuple[str, ...] = ()
    role: Literal["necessary", "supporting"] = "necessary"
    credence: Number | None = None
    then: Then = field(default_factory=Then)
    rivals: tuple[Rival, ...] = ()
    alpha: Number = 0.05
    n_min: int | None = None
    kill: bool = False

    def __post_init__(self) -> None:
        """Check what the claim and its measure ask of each other."""
        if not NAME.match(self.id):
            refuse(f"prediction id {self.id!r}", rule="letters, digits, '_', '.', '-', at most 64", way_out="rename it")
        if not self.says.strip():
            refuse(f"{self.id} says nothing", rule="a prediction has one sentence", way_out="write what you expect")
        if not 0.0 < self.alpha < 0.5 or not (self.credence is None or 0.0 <= self.credence <= 1.0):
            shown = f"{self.id}: alpha {self.alpha}, credence {self.credence}"
            refuse(shown, rule="0 < alpha < 0.5, 0 <= credence <= 1", way_out="leave them out for the defaults")
        self._check_sides()
        self._check_arms()
        self._check_share()

    def _check_sides(self) -> None:
        is_between = self.expect.between is not None or (
            self.expect.ratio is not None and self.expect.ratio.between is not None
        )
        if is_between and self.beyond is None:
            rule = "between says what a miss on each side means"
            refuse(f"{self.id} has no beyond", rule=rule, way_out="add beyond: {below: silent, above: refutes}")
        if self.beyond is not None and "refutes" not in (self.beyond.below, self.beyond.above):
            refuse(
                f"{self.id} is refuted on neither side",
                rule="a claim can fail",
                way_out="write below: refutes or above: refutes",
            )
        if not is_between and self.beyond is not None:
            rule = f"beyond belongs to between; {self.expect.predicate} has its own sides"
            refuse(f"{self.id} has a beyond", rule=rule, way_out="remove it")

    def _check_arms(self) -> None:
        name, measure = self.expect.predicate, self.measure
        if name in ("differs", "coincide", "ratio") and measure.versus is None:
            refuse(
                f"{self.id} has no versus", rule=f"{name} compares two arms", way_out="add versus: ARM to its measure"
            )
        if name in ("order", "falls_after", "plateaus", "within") and measure.versus is not None:
            refuse(
                f"{self.id} has versus {measure.versus!r}",
                rule=f"{name} speaks of single arms",
                way_out="remove versus",
            )
        arms = self.expect.order
        if arms is not None and (len(set(arms)) < len(arms) or len(arms) < 2 or measure.arm not in arms):
            rule = "order lists two or more different arms, lowest value first, the measure's arm among them"
            refuse(f"{self.id} has order {list(arms)}", rule=rule, way_out="list every arm once")
        if name in ("falls_after", "plateaus") and measure.over is None:
            refuse(
                f"{self.id} has no window", rule=f"{name} is measured over a window", way_out="write over: [15%, 45%]"
            )
        fall = self.expect.falls_after
        if fall is not None and measure.over is not None and not measure.over[0] < fall.progress < measure.over[1]:
            refuse(
                f"{self.id} falls after {fall.progress}", rule="the point lies inside over", way_out="widen the window"
            )

    def _check_share(self) -> None:
        name = self.expect.predicate
        positive = ("differs", "coincide", "plateaus", "falls_after", "ratio")
        if (name in positive and min(self.expect.numbers) < 0) or (
            name in ("coincide", "plateaus") and self.expect.numbers[0] == 0
        ):
            refuse(
                f"{self.id}: {name} {list(self.expect.numbers)}",
                rule="sizes and margins are positive",
                way_out="give its size",
            )
        largest = max((abs(number) for number in self.expect.numbers), default=0.0)
        if self.measure.kind.is_share and name not in ("ratio", "order") and largest > 1.0:
            way_out = f"write {largest:g}% or {largest / 100:g}"
            refuse(
                f"{self.id}: {self.measure.metric} {largest:g}", rule="a share lies between 0 and 1", way_out=way_out
            )

    @property
    def arms(self) -> tuple[str, ...]:
        """Every arm whose data the claim rests on."""
        others = (self.measure.versus,) if self.measure.versus else self.expect.order or ()
        return tuple(dict.fromkeys((self.measure.arm, *others)))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """A claim about the world and the predictions by which it stands or falls: one family of tests.

    ``needs`` are hypotheses without which this one says nothing.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    claim: str
    predictions: tuple[Prediction, ...]
    because: str = ""
    needs: tuple[str, ...] = ()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A key question: the predictions that answer it, and what each answer means."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    asks: str
    reads: tuple[str, ...]
    yes: str
    no: str


def resolved(record: Any) -> Json:
    """Return a record of this module as JSON with every default written out: what is hashed and registered.

    Absent options are left out. The edge reads the result back to an equal record.
    """
    if dataclasses.is_dataclass(record):
        given = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
        return {name: resolved(value) for name, value in given.items() if value is not None}
    if isinstance(record, Mapping):
        return {str(name): resolved(value) for name, value in record.items()}
    if isinstance(record, tuple):
        return [resolved(value) for value in record]
    if isinstance(record, float) and not isinstance(record, bool):
        return float(record)
    plain: Json = record
    return plain


def check_study(hypotheses: Mapping[str, Hypothesis], *, questions: tuple[Question, ...] = ()) -> None:
    """Refuse duplicate ids, premises or reads that do not exist, and premises that go in a circle (SpecError)."""
    ids = [p.id for h in hypotheses.values() for p in h.predictions]
    for twice in sorted({name for name in ids if ids.count(name) > 1}):
        refuse(f"prediction id {twice!r} appears twice", rule="ids are unique in a study", way_out="rename one of them")
    needs = {p.id: p.needs for h in hypotheses.values() for p in h.predictions}
    _check_needs(needs, kind="prediction")
    _check_needs({name: h.needs for name, h in hypotheses.items()}, kind="hypothesis")
    for question in questions:
        for name in question.reads or ("",):
            if name not in needs:
                rule = "a question reads predictions of this study"
                refuse(f"question {question.asks!r} reads {name!r}", rule=rule, way_out=f"one of {', '.join(ids)}")


def _check_needs(needs: Mapping[str, tuple[str, ...]], *, kind: str) -> None:
    for name, premises in needs.items():
        for premise in premises:
            if premise not in needs:
                known = ", ".join(needs)
                refuse(
                    f"{kind} {name!r} needs {premise!r}",
                    rule=f"a premise is a {kind} of this study",
                    way_out=f"one of {known}",
                )
    done: set[str] = set()
    left = dict(needs)
    while left:
        ready = [name for name, premises in left.items() if done.issuperset(premises)]
        if not ready:
            circle = ", ".join(sorted(left))
            refuse(f"premises of {circle} go in a circle", rule="a premise comes first", way_out="drop one of them")
        done.update(ready)
        left = {name: premises for name, premises in left.items() if name not in done}
