"""What training changed where it never trained: match on transfer splits before and after, beside a control.

A control is a run with ``answers: shuffled``: it learns the answers' format and nothing about them. It begins as the
same base and sees the same items, so the difference of the two ends is the difference of the two changes, item by
item: the part of a change that no format explains.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np

from leonids.gym.tasks import DISTANCES, UNKNOWN, passed_over_line
from leonids.report.numbers import LEVEL, Known, Missing, Value, ends, percent, share, value_of
from leonids.spec import RunSpec
from leonids.stats.intervals import paired_share_interval
from leonids.study.folder import StudyFolder
from leonids.universe.splits import GYM

NO_CONTROL = "no control in the study (an arm with answers: shuffled), so a new format may be all of it"
IS_CONTROL = "this run is a control: it learns the format alone"

Rights: TypeAlias = Mapping[int, tuple[str, float]]
"""By item: its distance (empty where it has none), and 1 where the whole answer was right, else 0."""


@final
@dataclass(frozen=True, slots=True)
class Moved:
    """Match of one run on a transfer split, or on the ``part`` of it with one distance (empty: all of it).

    ``change`` is after minus before. ``control`` names the run whose change is ``control_change``: none if it is empty,
    and a run's own name says that it is one itself. ``beyond`` is after minus the control's after. Differences are over
    the same items. ``passed_over`` counts items that could not be asked, by reason. ``commonest`` is the answer that is
    right for most items, and for which share of them: what a model reaches that always says the same.
    """

    split: str
    part: str
    before: Known
    after: Known
    change: Known
    control: str
    control_change: Known
    beyond: Known
    passed_over: Mapping[str, int]
    commonest: tuple[str, Known]


def control_of(folder: StudyFolder, run: RunSpec) -> RunSpec | None:
    """Return the run that learns the format alone and is otherwise most like ``run``, or None.

    It has the universe, base, start, data seed and reviews of ``run``: else its items, its beginning or its end would
    be other ones.
    """
    same = ("universe", "base", "start_from", "data_seed", "test_examples", "reviews")
    alike = ("adapter", "loss_on", "steps", "batch_size", "lr", "init_seed")
    found = [
        other
        for other in folder.runs
        if other.answers == "shuffled" and all(getattr(other, key) == getattr(run, key) for key in same)
    ]
    if run.answers == "shuffled" or not found:
        return None
    return max(found, key=lambda other: sum(getattr(other, key) == getattr(run, key) for key in alike))


def moved(folder: StudyFolder, run: RunSpec) -> tuple[Moved, ...]:
    """Return what became of a run's match on each of its transfer splits, whole and by distance."""
    control = control_of(folder, run)
    found = []
    for split in run.transfer:
        sides = [_rights(folder, one, split, last=last) for one in (run, control) for last in (False, True)]
        distances = {distance for rights in sides for distance, _ in rights.values()}
        for part in ("", *(name for name in DISTANCES if name in distances)):
            before, after, control_before, control_after = (_only(rights, part) for rights in sides)
            found.append(
                Moved(
                    split=split,
                    part=part,
                    before=_share(before),
                    after=_share(after),
                    change=_difference(after, before),
                    control=run.run if run.answers == "shuffled" else "" if control is None else control.run,
                    control_change=_difference(control_after, control_before),
                    beyond=_difference(after, control_after),
                    passed_over=_passed_over(folder, run, split),
                    commonest=_commonest(folder, run, split, part=part),
                )
            )
    return tuple(found)


def _rights(folder: StudyFolder, run: RunSpec | None, split: str, *, last: bool) -> Rights:
    """Return which items were right at step 0, or at the last review; none where that was not measured."""
    table = None if run is None else folder.table(run.run, split)
    if run is None or table is None:
        return {}
    rows = table.where(table.steps == (max(run.reviews) if last else 0))
    pooled = rows.pooled("match", "example")
    if pooled is None:
        return {}
    return {
        int(key): (str(tags.get("distance", "")), float(total))
        for key, tags, total, count in zip(rows.keys, rows.tags, *pooled, strict=True)
        if count
    }


def _only(rights: Rights, part: str) -> Rights:
    return {key: right for key, right in rights.items() if part in ("", right[0])}


def _share(rights: Rights) -> Known:
    if not rights:
        return Missing("not measured")
    return share(round(sum(right for _, right in rights.values())), len(rights))


def _difference(first: Rights, second: Rights) -> Known:
    keys = sorted(first.keys() & second.keys())
    if not keys:
        return Missing("not measured")
    a, b = (np.array([rights[key][1] for key in keys]) for rights in (first, second))
    return value_of(paired_share_interval(a, b, level=LEVEL), unit="examples")


def _passed_over(folder: StudyFolder, run: RunSpec, split: str) -> Mapping[str, int]:
    audits = [line["audit"] for line in folder.streams(run.run).audits if line["split"] == split]
    return audits[-1].get("passed_over", {}) if audits else {}


def _commonest(folder: StudyFolder, run: RunSpec, split: str, *, part: str) -> tuple[str, Known]:
    rows = folder.streams(run.run).review(split, step=max(run.reviews)).values()
    golds = Counter(
        "".join(row["answer"]["gold"]) for row in rows if part in ("", row["tags"].get("distance")) and "answer" in row
    )
    if not golds:
        return "", Missing("not measured")
    ((answer, count),) = golds.most_common(1)
    return answer, share(count, golds.total())


def always(one: Moved) -> str:
    """Return in words what saying the commonest answer to everything would match; empty where that is not known."""
    answer, value = one.commonest
    return f"always saying {answer} matches {percent(value.estimate)}" if isinstance(value, Value) else ""


def points(value: Known) -> str:
    """Return a difference of shares in points with its interval, such as ``+1.2 (0.1-2.3)``."""
    if isinstance(value, Missing):
        return value.reason
    shown = ends(value, scale=100, places=1)
    return f"{100 * value.estimate:+.1f}" + (f" ({shown})" if shown else "")


def moved_lines(found: tuple[Moved, ...]) -> list[str]:
    """Return each split in a line, with its parts in words and what could not be asked."""
    lines = []
    for one in (one for one in found if not one.part):
        if not isinstance(one.after, Value):
            continue
        sides = (percent(side.estimate) if isinstance(side, Value) else side.reason for side in (one.before, one.after))
        text = "{}: match {} before, {} after, {} points of {} items (95 % CI in brackets)".format(
            one.split, *sides, points(one.change), one.after.n
        )
        if isinstance(one.beyond, Value):
            text += f"; control {one.control} {points(one.control_change)}; beyond it {points(one.beyond)}"
        else:
            text += f"; {NO_CONTROL if not one.control else IS_CONTROL}"
        parts = [
            f"{p.part} {points(p.beyond if isinstance(p.beyond, Value) else p.change)}"
            for p in found
            if p.part and p.split == one.split
        ]
        more = (f"of that {', '.join(parts)}" if parts else "", always(one), _foreign(one))
        lines.append("; ".join((text, *filter(None, more))))
    return lines


def _foreign(one: Moved) -> str:
    return f"{UNKNOWN}; {passed_over_line(one.passed_over)}" if one.split == GYM else ""
