"""Claims that cannot both hold."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeAlias, final

from leonids.claims.measure import Measure
from leonids.claims.predicates import predicate_of
from leonids.claims.prediction import Prediction
from leonids.claims.regions import Region

PairFound: TypeAlias = Iterator[tuple[Literal["refuse", "warn"], str, str]]
PairCheck: TypeAlias = Callable[[Prediction, Prediction], PairFound]


@final
@dataclass(frozen=True, slots=True)
class Level:
    """A claim about a level: the quantity it speaks of, when, and the values it allows."""

    quantity: tuple[str, str, str, str, str | None, int | None]
    start: float
    end: float
    region: Region


def level_of(prediction: Prediction) -> Level | None:
    """Return a claim about a value or a difference as a ``Level``; the arms of a difference in one fixed order."""
    measure, name = prediction.measure, prediction.expect.predicate
    if name not in ("between", "above", "below", "differs", "coincide"):
        return None
    region = predicate_of(prediction).region(prediction)
    arms = (measure.arm, measure.versus)
    if measure.versus is not None and measure.versus < measure.arm:
        arms, region = (measure.versus, measure.arm), _mirrored(region)
    quantity = (measure.metric, measure.tokens, measure.split, arms[0], arms[1], measure.seed)
    return Level(quantity, *measure.period, region)


def _mirrored(region: Region) -> Region:
    return Region(tuple((-high, -low) for low, high in reversed(region.pieces)), region.closed)


def _disjoint(first: Region, second: Region) -> bool:
    return not any(max(a[0], b[0]) < min(a[1], b[1]) for a in first.pieces for b in second.pieces)


def contradiction(first: Prediction, second: Prediction) -> PairFound:
    """Find two claims on one quantity that allow no common value.

    Claims at the same time must share a value; so must a claim that two curves coincide over a window and one
    about their difference inside it.
    """
    a, b = level_of(first), level_of(second)
    if a is None or b is None or a.quantity != b.quantity or not _disjoint(a.region, b.region):
        return
    curves = [x for x, p in ((a, first), (b, second)) if p.expect.predicate == "coincide"]
    same_time = (a.start, a.end) == (b.start, b.end)
    inside = any(x.start <= min(a.start, b.start) and max(a.end, b.end) <= x.end for x in curves)
    if same_time or inside:
        yield "refuse", f"no value of {first.measure.metric} satisfies both", "drop or reword one of them"


def plateau_conflicts(predictions: Sequence[Prediction]) -> Iterator[tuple[str, str, str]]:
    """Yield (ids, what, fix) for levels inside a plateau's window that lie farther apart than it allows."""
    for flat in predictions:
        margin, (start, end) = flat.expect.plateaus, flat.measure.period
        if margin is None:
            continue
        levels = [
            (p.id, p.expect.between)
            for p in predictions
            if p.expect.between is not None
            and _curve(p.measure) == _curve(flat.measure)
            and start <= p.measure.period[0] <= p.measure.period[1] <= end
        ]
        for (one, a), (other, b) in combinations(levels, 2):
            gap = max(a[0], b[0]) - min(a[1], b[1])
            # 0.7 - 0.6 is less than 0.1 in binary.
            if gap >= margin - 1e-9:
                says = (
                    f"{one} and {other} are {gap:.3g} apart, and {flat.id} allows less than {margin:.3g} between them"
                )
                yield f"{flat.id}, {one}, {other}", says, "bound the plateau in time, or widen its margin"


def tension(first: Prediction, second: Prediction) -> PairFound:
    """Find a loss and a confidence on the same tokens that cannot both hold, or only just.

    By Jensen's inequality the mean loss is at least ``-ln`` of the mean probability of the gold token, which is
    at most the mean confidence. So a low loss with a low confidence is impossible, and a loss above what the
    confidence suggests needs a few tokens that cost a great deal.
    """
    for loss, confidence in ((first, second), (second, first)):
        if loss.measure.metric != "loss" or confidence.measure.metric not in ("confidence", "gold_confidence"):
            continue
        if not _same_data(loss.measure, confidence.measure):
            continue
        yield from _jensen(level_of(loss), level_of(confidence))


def _jensen(loss: Level | None, confidence: Level | None) -> PairFound:
    if loss is None or confidence is None or loss.quantity[4] is not None or confidence.quantity[4] is not None:
        return
    least, most = (p[i] for i, p in ((0, confidence.region.pieces[0]), (1, confidence.region.pieces[-1])))
    floor = -math.log(min(most, 1.0)) if most > 0 else math.inf
    usual = -math.log(least) if least > 0 else math.inf
    if loss.region.pieces[-1][1] < floor:
        yield "refuse", f"a confidence of at most {most:.3g} means a loss of at least {floor:.3g}", "raise the loss"
    elif loss.region.pieces[0][0] > usual:
        says = f"a confidence of {least:.3g} or more goes with a loss up to {usual:.3g}, unless a few tokens cost much"
        yield "warn", says, "claim decided tokens apart from structure"
    elif math.isfinite(usual) and loss.region.pieces[-1][1] > usual:
        low, high = loss.region.pieces[0][0], loss.region.pieces[-1][1]
        says = f"of the loss {low:.3g} to {high:.3g} only what lies below {usual:.3g} goes with a confidence of "
        yield "warn", f"{says}{least:.3g} or more, unless a few tokens cost much", "narrow one of the two"


def _curve(measure: Measure) -> tuple[str, str, str, str, str | None, int | None]:
    return measure.metric, measure.tokens, measure.split, measure.arm, measure.versus, measure.seed


def _same_data(a: Measure, b: Measure) -> bool:
    return (a.tokens, a.split, a.arm, a.versus, a.period) == (b.tokens, b.split, b.arm, b.versus, b.period)


def premise_later(first: Prediction, second: Prediction) -> PairFound:
    """Find a premise that falls due after the claim that needs it."""
    for claim, premise in ((first, second), (second, first)):
        if premise.id in claim.needs and premise.measure.due > claim.measure.due:
            says = f"{claim.id} is due before its premise {premise.id} and must wait for it"
            yield "warn", says, "make the premise due first"


RISES = {"loss": -1, "excess": -1, "match": 1, "meaning_match": 1, "format_match": 1, "token_accuracy": 1}
"""Metrics that training moves one way, and which."""


def order_in_time(first: Prediction, second: Prediction) -> PairFound:
    """Find two levels of one curve that hold only if training undoes what it did before."""
    a, b = sorted((level_of(first), level_of(second)), key=lambda level: level.end if level else 0.0)
    if a is None or b is None or a.quantity != b.quantity or a.end >= b.start or a.quantity[4] is not None:
        return
    way = RISES.get(a.quantity[0], 0)
    if (way < 0 and b.region.pieces[0][0] > a.region.pieces[-1][1]) or (
        way > 0 and b.region.pieces[-1][1] < a.region.pieces[0][0]
    ):
        verb = "rise" if way < 0 else "fall"
        says = f"both hold only if {a.quantity[0]} would {verb} between {100 * a.end:g}% and {100 * b.end:g}%"
        yield "warn", says, "say why it should, or change one of them"


PAIR_CHECKS: tuple[tuple[str, PairCheck], ...] = (
    ("contradiction", contradiction),
    ("tension", tension),
    ("order in time", order_in_time),
    ("premise", premise_later),
)
