"""Power cards: before anything is locked, what the planned number of units can decide."""

import math
from dataclasses import dataclass
from typing import final

from leonids.claims.predicates import predicate_of
from leonids.claims.prediction import Hypothesis, Prediction
from leonids.claims.setting import Setting
from leonids.stats.power import decidable_sd, least, share_power, t_power

POWER = 0.8
MOST = {"examples": 20_000, "seeds": 100, "steps": 20_000}
CANDIDATES = 41
"""How many truths inside a claimed range are tried when the best power is looked for."""


@final
@dataclass(frozen=True, slots=True)
class Card:
    """What a prediction's plan can decide. ``power`` is that at the kindest truth, absent where no spread is known.

    ``says`` gives the least distance of the truth from the claim's border, in standard deviations of one unit, that is
    decided 4 times in 5.
    """

    prediction: str
    n: int
    unit: str
    power: float | None
    says: str


def planned_units(prediction: Prediction, setting: Setting) -> tuple[int, str]:
    """Return how many units the plan gives a prediction, and of what kind."""
    measure = prediction.measure
    arms = [setting.arms[arm] for arm in prediction.arms if arm in setting.arms]
    if prediction.scope == "seeds":
        shared = set.intersection(*(set(arm.seeds) for arm in arms)) if arms else set()
        return len({measure.seed} & shared if measure.seed is not None else shared), "seeds"
    if measure.split == "train":
        return 0, "steps"
    each = [arm.review_examples if measure.split == "validation" else arm.test_examples for arm in arms]
    return min(each, default=0), "examples"


def best_power(prediction: Prediction, setting: Setting, *, n: int | None = None) -> float | None:
    """Return the chance of support at the kindest truth inside the claim; None where the spread is not known.

    Known are the spread of a share over examples, and of a metric over seeds where a pilot measured it.
    """
    if prediction.expect.within is not None:
        return None
    low, high = _range(prediction)
    units = planned_units(prediction, setting)[0] if n is None else n
    level = predicate_of(prediction).region(prediction).level(prediction.alpha)
    if prediction.scope == "run":
        if not prediction.measure.kind.whole_answer or len(prediction.arms) > 1 or units == 0:
            return None
        truths = _grid(max(low, 0.0), min(high, 1.0))
        return max(share_power(units, low=low, high=high, truth=p, level=level) for p in truths)
    sd = setting.pilot_sd.get(prediction.measure.metric)
    if sd is None or not math.isfinite(high - low):
        return None
    return t_power(units, low=low, high=high, truth=(low + high) / 2, sd=sd, level=level)


def needed_for(prediction: Prediction, setting: Setting) -> int | None:
    """Return the least number of units whose best power is 0.8; None where none is or the spread is not known."""

    def enough(n: int) -> bool:
        power = best_power(prediction, setting, n=n)
        return power is not None and power >= POWER

    return least(enough, first=2, most=MOST[planned_units(prediction, setting)[1]])


def card_of(prediction: Prediction, setting: Setting, *, family: int = 1) -> Card:
    """Return the power card of a prediction among ``family`` claims, judged at its first and smallest share."""
    n, unit = planned_units(prediction, setting)
    power = best_power(prediction, setting)
    region = predicate_of(prediction).region(prediction)
    level = region.level(prediction.alpha / family)
    two_sided = all(math.isfinite(end) for end in (region.pieces[0][0], region.pieces[-1][1]))
    distance = decidable_sd(n, level=level, power=POWER, two_sided=two_sided)
    if unit == "steps":
        return Card(prediction.id, n, unit, None, "steps of one run: their spread is known only after it")
    if distance is None:
        return Card(prediction.id, n, unit, power, f"{n} {unit.removesuffix('s')} decides nothing")
    says = f"{n} {unit} decide at {distance:.2g} sd"
    if power is not None:
        says = f"{says}; supported at most {100 * power:.0f} % of the time if true"
    return Card(prediction.id, n, unit, power, says)


def cards(hypothesis: Hypothesis, setting: Setting) -> tuple[Card, ...]:
    """Return the power cards of a hypothesis's predictions."""
    family = len(hypothesis.predictions)
    return tuple(card_of(prediction, setting, family=family) for prediction in hypothesis.predictions)


def _range(prediction: Prediction) -> tuple[float, float]:
    piece = predicate_of(prediction).region(prediction).pieces[-1]
    return piece[0], piece[1]


def _grid(low: float, high: float) -> list[float]:
    return [low + (high - low) * i / (CANDIDATES - 1) for i in range(CANDIDATES)]
