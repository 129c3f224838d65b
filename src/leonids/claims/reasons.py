"""A verdict's reason in words, and what would decide an inconclusive one."""

import math

from leonids.claims.case import Case
from leonids.claims.estimate import Reading
from leonids.records import Word
from leonids.stats.intervals import Absent, Interval
from leonids.stats.power import units_to_decide

MOST = {"seeds": 200, "examples": 200_000, "steps": 200_000}
"""Where advice ends: more units than this are not worth advising."""

PLACES = {"below": "below what is claimed", "above": "above what is claimed", "gap": "where nothing is claimed"}


def decisive(case: Case, share: float) -> Reading | None:
    """Return the reading that decides: of several, the one that lies least deep inside the claim."""
    found = [(case.interval(reading, share), reading) for reading in case.readings]
    absent = [reading for bounds, reading in found if isinstance(bounds, Absent)]
    if absent:
        return absent[0]
    deep = [(case.region.depth(b.low, b.high), i) for i, (b, _) in enumerate(found) if isinstance(b, Interval)]
    return found[min(deep)[1]][1] if deep else None


def reason_of(case: Case, word: Word, *, share: float) -> tuple[str, str]:
    """Return the reason of ``word`` and what would decide it; either may be empty."""
    reading = decisive(case, share)
    if case.word is not None or reading is None:
        return case.reason, ""
    bounds = case.interval(reading, share)
    if isinstance(bounds, Absent) or reading.n < case.n_min:
        return _too_few(case, reading)
    if word == "supported":
        return _margin(case, share), ""
    if word == "refuted":
        place = case.place(reading, share / len(case.readings))
        return f"the interval lies {PLACES.get(place, 'outside')}{_where(case, reading)}", ""
    return _undecided(case, reading, bounds, share)


def _too_few(case: Case, reading: Reading) -> tuple[str, str]:
    more = max(1, case.n_min - reading.n)
    decides = f"at least {more} more {_noun(reading.unit, more)}"
    if reading.unit == "seeds" and reading.n == 1:
        return "one run cannot speak for the recipe", decides
    return f"{reading.n} {_noun(reading.unit, reading.n)} are fewer than {case.n_min}", decides


def _margin(case: Case, share: float) -> str:
    if case.prediction.expect.predicate not in ("coincide", "plateaus"):
        return ""
    found = (case.interval(reading, share) for reading in case.readings)
    largest = max(max(abs(b.low), abs(b.high)) for b in found if isinstance(b, Interval))
    # Rounded up: a margin that is printed must be one that would have passed.
    if case.prediction.measure.kind.unit.startswith("share"):
        return f"a margin of {math.ceil(1000 * largest) / 10:.1f} points would have passed"
    return f"a margin of {math.ceil(1e4 * largest) / 1e4:.4f} would have passed"


def _undecided(case: Case, reading: Reading, bounds: Interval, share: float) -> tuple[str, str]:
    place = case.region.place(bounds)
    if place in ("below", "above") and not case.region.refuted_by(place):
        return (
            f"the interval lies {place} what is claimed, a miss of which the prediction says nothing",
            f"no number of {reading.unit}: on this side the prediction leaves a miss open",
        )
    alone = case.supports(1.0) or case.refutes(1.0)
    reason = (
        "it decides alone, but not among the claims of its hypothesis" if alone else "the interval straddles the claim"
    )
    margin = _margin(case, share)
    reason = f"{reason}{_where(case, reading)}" + (f"; {margin}" if margin else "")
    distance = abs(case.region.depth(bounds.estimate, bounds.estimate))
    return reason, _more(case, reading, distance, share)


def _more(case: Case, reading: Reading, distance: float, share: float) -> str:
    most = MOST[reading.unit]
    level = case.region.level(case.prediction.alpha * share)
    needed = units_to_decide(distance, sd=reading.sd, level=level, have=reading.n, most=most)
    if needed is None:
        return f"not even {most:,} {reading.unit}: the value lies too near the border"
    more = needed - reading.n
    return f"about {more:,} more {_noun(reading.unit, more)}"


def _noun(unit: str, n: int) -> str:
    return unit.removesuffix("s") if n == 1 else unit


def _where(case: Case, reading: Reading) -> str:
    return f" at {reading.at}" if len(case.readings) > 1 else ""
