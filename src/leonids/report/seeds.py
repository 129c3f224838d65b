"""Arms in place of runs: with many runs a table has a row an arm, and its numbers are over the arm's seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from leonids.report.anatomy import Anatomy
from leonids.report.explain import Explanation
from leonids.report.numbers import LEVEL, Known, Missing, Value, value_of
from leonids.report.transfer import Moved
from leonids.stats.intervals import t_interval

MANY_RUNS = 16
"""With more runs than this a document speaks of arms, where arms have several seeds."""

OVER_SEEDS = (
    "A row an arm: means over its seeds, in brackets 95 % t-intervals with the seed as unit, none where all seeds are "
    "alike; of a single seed its own interval. `leonids explain` has every run."
)


class Named(Protocol):
    """What has a run's name and that of its arm."""

    @property
    def run(self) -> str:
        """The run."""
        ...

    @property
    def arm(self) -> str:
        """Its arm."""
        ...


One = TypeVar("One", bound=Named)


def of_arms(found: Sequence[Named]) -> bool:
    """Whether a table of these has a row an arm."""
    return len(found) > MANY_RUNS and len({one.arm for one in found}) < len(found)


def rows_of(found: Sequence[One]) -> dict[str, list[One]]:
    """Return what each row of a table stands for, by its name: one run, or the seeds of an arm."""
    rows: dict[str, list[One]] = {}
    for one in found:
        rows.setdefault(one.arm if of_arms(found) else one.run, []).append(one)
    return {name if len(own) == 1 else f"{name}, {len(own)} seeds": own for name, own in rows.items()}


def over_seeds(values: Sequence[Known]) -> Known:
    """Return the mean of what is known, with the seed as unit; of a single value that value.

    What no run knows stays unknown. Seeds that are all alike, as matches of 0 are, have no spread that an interval
    could rest on.
    """
    known = [value for value in values if isinstance(value, Value)]
    if len(known) < 2:
        return (known or values)[0]
    estimates = [value.estimate for value in known]
    if len(set(estimates)) == 1:
        return Value(estimates[0], None, None, len(known), "seeds")
    return value_of(t_interval(estimates, level=LEVEL), unit="seeds")


def numbers_of(own: Sequence[Explanation]) -> tuple[Known, ...]:
    """Return loss, its excess, answer loss, match, and confidence where right and where wrong, over seeds."""
    return tuple(over_seeds(values) for values in zip(*map(_numbers, own), strict=True))


def moved_of(own: Sequence[Explanation], *, arms: Mapping[str, str]) -> list[Moved]:
    """Return what became of transfer splits, over seeds; a control is named by what ``arms`` has for its run."""
    parts: dict[tuple[str, str], list[Moved]] = {}
    for one in own:
        for moved in one.transfer:
            parts.setdefault((moved.split, moved.part), []).append(moved)
    return [
        replace(
            same[0],
            before=over_seeds([one.before for one in same]),
            after=over_seeds([one.after for one in same]),
            change=over_seeds([one.change for one in same]),
            control=same[0].control if len(same) == 1 else arms.get(same[0].control, ""),
            control_change=over_seeds([one.control_change for one in same]),
            beyond=over_seeds([one.beyond for one in same]),
        )
        for same in parts.values()
    ]


def _numbers(found: Explanation) -> tuple[Known, ...]:
    part = found.all if found.loss_on == "all" else found.answer
    return (
        _loss(part),
        _excess(part),
        _loss(found.answer),
        found.match,
        found.confidence_right,
        found.confidence_wrong,
    )


def _loss(part: Anatomy | Missing) -> Known:
    return part if isinstance(part, Missing) else part.loss


def _excess(part: Anatomy | Missing) -> Known:
    if isinstance(part, Missing):
        return part
    return part.excess or Missing(part.reason)
