import pytest
from hypothesis import given
from hypothesis import strategies as st

from leonids.claims.measure import Measure
from leonids.claims.metrics import METRICS
from leonids.claims.predicates import PREDICATES
from leonids.claims.prediction import Beyond, Expect, FallsAfter, Prediction, Ratio, Then, Within
from leonids.records import Verdict
from leonids.report.claimed import COLOURS, ICONS, claimed, consequence, found, measured, verdict_of, word_of
from leonids.study.conduct import verdict_json

EXPECTS = {
    "between": Expect(between=(0.25, 0.5)),
    "above": Expect(above=0.25),
    "below": Expect(below=0.25),
    "differs": Expect(differs=0.25),
    "ratio": Expect(ratio=Ratio(below=0.25)),
    "coincide": Expect(coincide=0.25),
    "falls_after": Expect(falls_after=FallsAfter(progress=0.3, by=0.25)),
    "plateaus": Expect(plateaus=0.25),
    "order": Expect(order=("a", "b")),
    "within": Expect(within=Within(of="finished", level=0.9, at=(0.3,), low=(0.2,), high=(0.3,), runs=25)),
}
SAYS = {"order": "a, b", "within": "90 % band that 25 finished runs"}


def predict(predicate: str, metric: str) -> Prediction:
    over = (0.15, 0.45) if predicate in ("falls_after", "plateaus", "within") else None
    measure = Measure(
        metric=metric,
        arm="a",
        versus="b" if predicate in ("differs", "ratio", "coincide") else None,
        over=over,
        final=over is None,
    )
    beyond = Beyond(below="silent", above="refutes") if predicate == "between" else None
    return Prediction(id="P", says="so", measure=measure, expect=EXPECTS[predicate], beyond=beyond)


@pytest.mark.parametrize("metric", [row.name for row in METRICS])
@pytest.mark.parametrize("predicate", [row.name for row in PREDICATES])
def test_every_predicate_of_every_metric_is_said_with_its_number(predicate: str, metric: str) -> None:
    prediction = predict(predicate, metric)
    text = f"{measured(prediction.measure)} {claimed(prediction)}"
    assert metric.replace("_", " ") in text
    assert SAYS[predicate] in text if predicate in SAYS else "0.25" in text or "25.0" in text


def test_every_verdict_has_an_icon_and_a_colour_beside_its_word() -> None:
    assert set(ICONS) == set(COLOURS)
    assert len(set(ICONS.values())) == len(ICONS)


NUMBERS = st.none() | st.floats(min_value=-1, max_value=1)


@given(estimate=NUMBERS, low=NUMBERS, high=NUMBERS, word=st.sampled_from(sorted(ICONS)))
def test_a_verdict_is_shown_with_its_n_unit_and_interval_or_their_absence(estimate, low, high, word) -> None:
    verdict = Verdict("P", word, "why", estimate, low, high, 0.9, 7, "seeds", "seeds", "sealed")
    text = found(verdict, predict("above", "match"))
    if estimate is None:
        assert text == "nothing measured"
    else:
        assert "7 seeds" in text
        assert ("90 % CI" in text) == (low is not None and high is not None)
        assert ("no interval" in text) == (low is None or high is None)
    assert word.replace("_", " ") in word_of(verdict)


def test_a_verdict_comes_back_from_the_ledger_as_it_was() -> None:
    verdict = Verdict("P", "void", "why", None, None, None, 0.9, 0, "", "run", "sealed", "decides", "30%")
    assert verdict_of(verdict_json(verdict)) == verdict


def test_what_was_said_to_follow_belongs_to_the_outcome() -> None:
    from dataclasses import replace

    then = Then(supported="yes", refuted="no", inconclusive="more")
    prediction = replace(predict("above", "loss"), then=then)
    verdict = Verdict("P", "supported", "", 0.5, 0.4, 0.6, 0.9, 9, "seeds", "seeds", "sealed")
    words = {"supported": "yes", "refuted": "no", "inconclusive": "more", "void": "", "not_due": ""}
    for word, follows in words.items():
        assert consequence(replace(verdict, word=word), prediction) == follows  # type: ignore[arg-type]
