"""Match case by case: of each skill, depth, list length, format and pipeline that held-out examples are tagged with."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias, final

from leonids.stats.intervals import Interval, binomial_interval

LEVEL = 0.95
MOST_SHOWN = 12
"""Tags with more values than this are listed in JSON alone."""

WIDE = 0.4
"""An interval wider than this says next to nothing: half of 22 examples."""

Tags: TypeAlias = Mapping[str, str | int]


@final
@dataclass(frozen=True, slots=True)
class Case:
    """The held-out examples with one value of one tag: ``matches`` of ``n`` were right, with the exact interval."""

    tag: str
    value: str | int
    n: int
    matches: int
    match: float
    match_low: float
    match_high: float


def cases_of(examples: Iterable[tuple[Tags, bool]]) -> tuple[Case, ...]:
    """Return a case for each value of each tag, numbers in their order and texts from the most examples to the fewest.

    ``examples`` are tags and whether the whole answer was right. Every example is in one case of each of its tags.
    """
    n, right = Counter[tuple[str, str | int]](), Counter[tuple[str, str | int]]()
    for tags, matched in examples:
        n.update(tags.items())
        right.update(key for key in tags.items() if matched)
    order = list(dict.fromkeys(tag for tag, _ in n))
    found = []
    for tag, value in sorted(n, key=lambda key: (order.index(key[0]), *_place(key[1], n[key]))):
        matches, of = right[tag, value], n[tag, value]
        share = binomial_interval(matches, of, level=LEVEL)
        assert isinstance(share, Interval)
        found.append(Case(tag, value, of, matches, share.estimate, share.low, share.high))
    return tuple(found)


def _place(value: str | int, n: int) -> tuple[int, str]:
    return (value, "") if isinstance(value, int) else (-n, value)


def case_lines(cases: Sequence[Case]) -> list[str]:
    """Return cases as a table. A tag that has one value, or a great many, tells nothing apart in one."""
    shown, untold = list[Case](), []
    for tag, group in groupby(cases, key=lambda case: case.tag):
        members = list(group)
        if len(members) > MOST_SHOWN:
            untold.append(f"{len(members)} values of {tag}")
        elif len(members) > 1:
            shown += members
    if not shown:
        return []
    more = f"; --json has {' and '.join(untold)} too" if untold else ""
    return [f"match by case (each exact {LEVEL:.0%} interval stands alone{more}):", *_rows(shown)]


def _rows(cases: Sequence[Case]) -> list[str]:
    width = max(len(str(case.value)) for case in cases)
    return [f"  {case.tag:8s} {case.value!s:{width}s} {_shown(case)}" for case in cases]


def _shown(case: Case) -> str:
    few = ", too few to tell" if case.match_high - case.match_low > WIDE else ""
    return f"{case.match:6.1%} ({case.matches} of {case.n}, {case.match_low:.1%}-{case.match_high:.1%}{few})"
