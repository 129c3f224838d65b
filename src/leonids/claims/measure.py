"""What is measured: one quantity of one arm, over one window of its progress."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NoReturn, TypeAlias, final

from pydantic_core import core_schema

from leonids.claims.metrics import METRICS, Metric, metric_named
from leonids.errors import SpecError
from leonids.records import TOKEN_SETS

STRICT: dict[str, Any] = {"extra": "forbid", "strict": True}
SPLITS = ("train", "validation", "test")
PERCENT = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\s*%\s*\Z")


@final
class Percent:
    """Lets a number in a file be written ``60%``. Works where pydantic validates; costs nothing elsewhere."""

    @staticmethod
    def read(value: object) -> object:
        """Return ``"60%"`` as 0.6 and everything else unchanged, for the type check that follows."""
        found = PERCENT.match(value) if isinstance(value, str) else None
        return float(found[1]) / 100 if found else value

    def __get_pydantic_core_schema__(self, source: object, handler: Callable[[object], Any]) -> Any:
        """Put ``read`` before the number's own validation."""
        return core_schema.no_info_before_validator_function(self.read, handler(source))


Number: TypeAlias = Annotated[float, Percent()]


def refuse(problem: str, *, rule: str, way_out: str) -> NoReturn:
    """Raise ``SpecError``: the value, the rule, the way out."""
    raise SpecError(problem, rule=rule, way_out=way_out)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """The quantity: which metric, over which tokens, of which arm, on which data, and when.

    Exactly one of ``at`` (a point of progress), ``over`` (from, to) and ``final`` says when. On the training
    stream ``at`` and ``final`` mean the last ``within`` of the progress before that point, since one step is
    one batch; on held-out splits they mean the review at that point. With ``versus`` the quantity is
    ``arm`` minus ``versus``. ``points`` is the size of the grid on which curves are compared.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    metric: str
    arm: str
    tokens: str = "answer"
    split: str = "validation"
    versus: str | None = None
    seed: int | None = None
    at: Number | None = None
    over: tuple[Number, Number] | None = None
    final: bool = False
    within: Number = 0.02
    points: int = 10

    def __post_init__(self) -> None:
        """Check the fields against each other; ``final`` becomes ``at: 100%``, and match speaks of examples."""
        self._check_metric()
        self._check_when()
        if self.versus == self.arm:
            refuse(f"arm {self.arm!r} is compared with itself", rule="versus names another arm", way_out="change it")

    def _check_metric(self) -> None:
        row = metric_named(self.metric)
        if row is None:
            names = ", ".join(m.name for m in METRICS)
            raise SpecError(f"metric {self.metric!r} is unknown", rule=f"one of {names}", way_out="use one of these")
        if row.whole_answer and self.tokens in ("answer", "example"):
            object.__setattr__(self, "tokens", "example")
        elif row.whole_answer or self.tokens not in TOKEN_SETS:
            names = "whole answers only" if row.whole_answer else f"one of {', '.join(TOKEN_SETS)}"
            refuse(
                f"tokens {self.tokens!r} of {self.metric}", rule=names, way_out="name another token set or leave it out"
            )
        if self.split not in SPLITS and not self.split.startswith("transfer:"):
            known = f"{', '.join(SPLITS)} or transfer:FAMILY"
            refuse(f"split {self.split!r} is unknown", rule=known, way_out="use one of these")

    def _check_when(self) -> None:
        if (self.at is not None) + (self.over is not None) + self.final != 1:
            refuse(
                f"measure of {self.metric} on {self.arm}",
                rule="exactly one of at, over and final says when",
                way_out="write at: 60%, over: [15%, 30%] or final: true",
            )
        if self.final:
            object.__setattr__(self, "at", 1.0)
            object.__setattr__(self, "final", False)
        start, end = self.period
        if not 0.0 <= start <= end <= 1.0 or end == 0.0 or (self.over is not None and start == end):
            rule = "progress goes from 0% to 100%, from earlier to later"
            refuse(f"{self.metric} measured at {self.when}", rule=rule, way_out="write at: 60% or over: [15%, 30%]")
        if not 0.0 < self.within <= 1.0 or not 2 <= self.points <= 1000:
            rule = "within is a share of the progress, points are 2 to 1000"
            refuse(f"within {self.within:g}, points {self.points}", rule=rule, way_out="leave them out")

    @property
    def kind(self) -> Metric:
        """The metric's row: unit and bounds."""
        return next(row for row in METRICS if row.name == self.metric)

    @property
    def period(self) -> tuple[float, float]:
        """From where to where, in progress 0..1; one point twice for ``at``."""
        return self.over if self.over is not None else (self.at or 0.0, self.at or 0.0)

    @property
    def due(self) -> float:
        """The progress, in 0..1, after which no more data can enter this measure."""
        return self.period[1]

    @property
    def when(self) -> str:
        """The time in words, such as ``60%`` or ``15%-30%``."""
        return "-".join(f"{round(100 * point, 6):g}%" for point in dict.fromkeys(self.period))
