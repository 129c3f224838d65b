"""A prediction and its verdict in words and numbers, each in the unit of its metric."""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from leonids.claims.measure import Measure
from leonids.claims.metrics import Metric
from leonids.claims.prediction import Expect, FallsAfter, Prediction, Ratio, Within
from leonids.records import Verdict, Word

ICONS: Mapping[Word, str] = {"supported": "✔", "refuted": "✘", "inconclusive": "◐", "void": "∅", "not_due": "…"}
"""A verdict is an icon, a word and, where there is colour, a colour: never the colour alone."""

COLOURS: Mapping[Word, tuple[str, str]] = {
    "supported": ("green", "#009E73"),
    "refuted": ("red", "#D55E00"),
    "inconclusive": ("yellow", "#E69F00"),
    "void": ("magenta", "#7F7F7F"),
    "not_due": ("cyan", "#56B4E9"),
}
"""For a terminal, and for figures (Okabe and Ito's palette, told apart by most colour-blind readers)."""


def verdict_of(value: Mapping[str, Any]) -> Verdict:
    """Return a verdict as the ledger holds it as a record."""
    return Verdict(**{field.name: value[field.name] for field in fields(Verdict) if field.name in value})


def word_of(verdict: Verdict | None) -> str:
    """Return a verdict's icon and word; what was never judged says so."""
    return "… not judged yet" if verdict is None else f"{ICONS[verdict.word]} {verdict.word.replace('_', ' ')}"


def figure(value: float, kind: Metric, *, difference: bool = False) -> str:
    """Return a number in its metric's unit: shares of answers and tokens in %, probabilities and nats as they are."""
    if kind.unit.startswith("share"):
        return f"{100 * value:.1f} {'points' if difference else '%'}"
    return f"{value:.3f}"


def unit_of(kind: Metric) -> str:
    """Return the unit to be written behind a claim; empty where the numbers carry it."""
    return kind.unit if kind.unit.startswith("nats") else ""


def measured(measure: Measure) -> str:
    """Return what is measured: metric, tokens, split, arms, seed, and when."""
    tokens = "" if measure.kind.whole_answer else f" of {measure.tokens} tokens"
    arms = measure.arm if measure.versus is None else f"{measure.arm} minus {measure.versus}"
    seed = "" if measure.seed is None else f", seed {measure.seed}"
    return f"{measure.metric.replace('_', ' ')}{tokens} on {measure.split}, {arms}{seed}, at {measure.when}"


def claimed(prediction: Prediction) -> str:
    """Return what is claimed of the measure, such as ``below 0.150 nats/token``."""
    expect, measure = prediction.expect, prediction.measure
    value = getattr(expect, expect.predicate)
    if isinstance(value, Ratio):
        inner = next(name for name in ("between", "above", "below") if getattr(value, name) is not None)
        return f"ratio {inner} {_plain(getattr(value, inner))}"
    if isinstance(value, Within):
        return f"inside the {100 * value.level:g} % band that {value.runs or 'the'} finished runs foretell"
    if expect.order is not None:
        return f"in this order, lowest first: {', '.join(expect.order)}"
    unit = unit_of(measure.kind)
    return f"{_sentence(expect, measure)}{' ' + unit if unit else ''}{_sides(prediction)}"


def _sentence(expect: Expect, measure: Measure) -> str:
    difference = measure.versus is not None or expect.predicate in ("coincide", "plateaus", "falls_after", "differs")
    value = getattr(expect, expect.predicate)
    if isinstance(value, FallsAfter):
        by = figure(value.by, measure.kind, difference=True)
        return f"falls by more than {by} beyond its trend after {100 * value.progress:g} %"
    shown = [figure(number, measure.kind, difference=difference) for number in expect.numbers]
    forms = {
        "between": "between {} and {}",
        "above": "above {}",
        "below": "below {}",
        "differs": "differs by more than {}",
        "coincide": "closer than {}",
        "plateaus": "moves less than {}",
    }
    return forms[expect.predicate].format(*shown)


def _sides(prediction: Prediction) -> str:
    beyond = prediction.beyond
    if beyond is None:
        return ""
    means = {"refutes": "refutes", "silent": "says nothing", "supports": "supports too"}
    return f" (a miss below {means[beyond.below]}, above {means[beyond.above]})"


def _plain(value: object) -> str:
    return " and ".join(f"{part:g}" for part in (value if isinstance(value, tuple) else (value,)))


def found(verdict: Verdict, prediction: Prediction | None = None) -> str:
    """Return the estimate with its interval, n and unit, in the metric's unit where the prediction is known."""
    if verdict.estimate is None:
        return "nothing measured"
    unitless = prediction is None or prediction.expect.predicate in ("ratio", "within")
    kind = None if prediction is None or unitless else prediction.measure.kind
    value_alone = ("between", "above", "below")
    difference = prediction is not None and (
        prediction.measure.versus is not None or prediction.expect.predicate not in value_alone
    )

    def show(value: float) -> str:
        return f"{value:.3f}" if kind is None else figure(value, kind, difference=difference)

    low, high = verdict.low, verdict.high
    known = low is not None and high is not None and math.isfinite(low) and math.isfinite(high)
    between = f"{100 * verdict.level:.3g} % CI {show(low or 0.0)} to {show(high or 0.0)}" if known else "no interval"
    unit = verdict.unit.removesuffix("s") if verdict.n == 1 else verdict.unit
    own = unit_of(kind) if kind is not None else ""
    if prediction is not None and prediction.expect.within is not None:
        own = "half widths from the middle of its band"
    return f"{show(verdict.estimate)}{' ' + own if own else ''} ({between}; {verdict.n} {unit})"


def consequence(verdict: Verdict, prediction: Prediction) -> str:
    """Return what was said beforehand to follow from this outcome; empty where nothing was."""
    then = prediction.then
    return {"supported": then.supported, "refuted": then.refuted, "inconclusive": then.inconclusive}.get(
        verdict.word, ""
    )
