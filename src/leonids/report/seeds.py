"""Arms in place of runs: with many runs a table has a row an arm, and its numbers are over the arm's seeds."""

from collections.abc import Sequence
from dataclasses import replace

from leonids.report.anatomy import Anatomy
from leonids.report.explain import Explanation
from leonids.report.numbers import LEVEL, Known, Missing, Value, value_of
from leonids.report.transfer import Moved
from leonids.stats.intervals import t_interval

MANY_RUNS = 16
"""With more runs than this a document speaks of arms."""

OVER_SEEDS = (
    "A row an arm: means over its seeds, in brackets 95 % t-intervals with the seed as unit, none where all "
    "seeds are alike. `leonids explain` has every run."
)


def over_seeds(values: Sequence[Known]) -> Known:
    """Return the mean of what is known, with the seed as unit; what no run knows stays unknown.

    Seeds that are all alike, as matches of 0 are, have no spread that an interval could rest on.
    """
    known = [value.estimate for value in values if isinstance(value, Value)]
    if not known:
        return values[0]
    if len(set(known)) == 1:
        return Value(known[0], None, None, len(known), "seeds")
    return value_of(t_interval(known, level=LEVEL), unit="seeds")


def by_arm(found: Sequence[Explanation]) -> dict[str, list[Explanation]]:
    """Return explanations by arm, in their order."""
    arms: dict[str, list[Explanation]] = {}
    for one in found:
        arms.setdefault(one.arm, []).append(one)
    return arms


def first_seeds(found: Sequence[Explanation]) -> list[Explanation]:
    """Return the first run of each arm."""
    return [own[0] for own in by_arm(found).values()]


def numbers_of(found: Explanation) -> tuple[Known, ...]:
    """Return a run's loss, its excess, its answer loss, match, and confidence where right and where wrong."""
    part = found.all if found.loss_on == "all" else found.answer
    return (
        _loss(part),
        _excess(part),
        _loss(found.answer),
        found.match,
        found.confidence_right,
        found.confidence_wrong,
    )


def numbers_over_seeds(own: Sequence[Explanation]) -> tuple[Known, ...]:
    """Return the numbers of an arm's runs over its seeds."""
    return tuple(over_seeds(values) for values in zip(*map(numbers_of, own), strict=True))


def moved_over_seeds(own: Sequence[Explanation]) -> list[Moved]:
    """Return what became of an arm's transfer splits, over its seeds."""
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
            control_change=over_seeds([one.control_change for one in same]),
            beyond=over_seeds([one.beyond for one in same]),
        )
        for same in parts.values()
    ]


def _loss(part: Anatomy | Missing) -> Known:
    return part if isinstance(part, Missing) else part.loss


def _excess(part: Anatomy | Missing) -> Known:
    if isinstance(part, Missing):
        return part
    return part.excess or Missing(part.reason)
