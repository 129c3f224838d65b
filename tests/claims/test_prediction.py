import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from leonids.claims.measure import Measure
from leonids.claims.metrics import METRICS
from leonids.claims.prediction import Hypothesis, Prediction, Question, check_study, resolved
from leonids.digest import canonical_json
from leonids.errors import SpecError

EDGE = TypeAdapter(Prediction)

H2_3 = {
    "id": "H2.3",
    "says": "At 60 % the answer loss is between 0.3 and 0.4 nats a token.",
    "measure": {"metric": "loss", "tokens": "answer", "split": "train", "arm": "consistent-r128", "at": "60%"},
    "expect": {"between": [0.30, 0.40]},
    "beyond": {"below": "silent", "above": "refutes"},
    "scope": "seeds",
    "needs": ["H2.2"],
    "credence": 0.6,
    "then": {
        "supported": "phase 2 came on time",
        "refuted": "look at decided tokens before the data",
        "inconclusive": "add seeds",
    },
}


def read(**changes):
    return EDGE.validate_json(json.dumps({**H2_3, **changes}))


def measured(**changes):
    return read(measure={**H2_3["measure"], **changes})


def test_the_example_of_the_documentation_loads():
    prediction = read()
    assert prediction.measure.due == 0.6
    assert prediction.measure.when == "60%"
    assert prediction.expect.predicate == "between"
    assert prediction.expect.numbers == (0.3, 0.4)
    assert prediction.alpha == 0.05
    assert prediction.arms == ("consistent-r128",)


@pytest.mark.parametrize("changes", [
    {"expect": {"above": "85%"}, "beyond": None},
    {"expect": {"ratio": {"below": 0.8}}, "beyond": None, "measure": {**H2_3["measure"], "versus": "b"}},
    {"expect": {"order": ["consistent-r128", "b"]}, "beyond": None},
    {"expect": {"falls_after": {"progress": "30%", "by": 0.05}}, "beyond": None,
     "measure": {"metric": "loss", "split": "train", "arm": "a", "over": ["15%", "45%"]}},
    {"measure": {"metric": "match", "arm": "a", "final": True, "split": "test"}},
    {"rivals": [{"says": "the schedule", "about": "schedule", "arm": "constant"}]},
])  # fmt: skip
def test_what_is_registered_reads_back_as_the_same_prediction(changes):
    prediction = read(**changes)
    assert EDGE.validate_json(canonical_json(resolved(prediction))) == prediction


def test_percentages_and_fractions_are_the_same_claim():
    assert measured(at="60%") == measured(at=0.6)
    assert read(measure={"metric": "match", "arm": "a", "final": True}) == read(
        measure={"metric": "match", "arm": "a", "at": "100%", "tokens": "example"}
    )


@pytest.mark.parametrize(("changes", "says"), [
    ({"beyond": None}, "beyond: {below: silent, above: refutes}"),
    ({"beyond": {"below": "silent", "above": "supports"}}, "a claim can fail"),
    ({"expect": {"above": 0.3}}, "beyond belongs to between"),
    ({"expect": {}, "beyond": None}, "exactly one predicate"),
    ({"expect": {"above": 0.1, "below": 0.3}, "beyond": None}, "exactly one predicate"),
    ({"expect": {"between": [0.4, 0.3]}}, "lower bound comes first"),
    ({"expect": {"differs": 0.1}, "beyond": None}, "compares two arms"),
    ({"expect": {"plateaus": 0.1}, "beyond": None}, "measured over a window"),
    ({"expect": {"order": ["a"]}, "beyond": None}, "lists two or more different arms"),
    ({"id": "no spaces"}, "rename it"),
    ({"says": " "}, "one sentence"),
    ({"alpha": 0.7}, "0 < alpha < 0.5"),
    ({"measure": {"metric": "match", "arm": "a", "at": "60%"}, "expect": {"between": [50, 70]}}, "70% or 0.7"),
    ({"measure": {"metric": "lss", "arm": "a", "at": "60%"}}, "one of loss, excess"),
    ({"measure": {"metric": "loss", "arm": "a"}}, "exactly one of at, over and final"),
    ({"measure": {"metric": "loss", "arm": "a", "at": "160%"}}, "from 0% to 100%"),
    ({"measure": {"metric": "loss", "arm": "a", "over": ["30%", "15%"]}}, "from earlier to later"),
    ({"measure": {"metric": "loss", "arm": "a", "tokens": "words", "at": "60%"}}, "one of all, answer"),
    ({"measure": {"metric": "loss", "arm": "a", "split": "dev", "at": "60%"}}, "train, validation, test or transfer"),
    ({"measure": {"metric": "loss", "arm": "a", "versus": "a", "at": "60%"}}, "names another arm"),
])  # fmt: skip
def test_a_claim_that_cannot_be_judged_is_refused_with_the_rule_and_the_way_out(changes, says):
    with pytest.raises(SpecError) as refused:
        read(**changes)
    assert says in str(refused.value)
    assert refused.value.rule
    assert refused.value.way_out
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("changes", [
    {"sayz": "x"}, {"scope": "seed"}, {"measure": {"metric": "loss", "arm": "a", "at": "sixty"}},
    {"measure": {"metric": "loss", "arm": "a", "at": "60%", "att": 1}}, {"credence": "likely"}, {"needs": "H2.2"},
    {"expect": {"between": ["0.3", "0.4"]}}, {"alpha": True},
])  # fmt: skip
def test_misspelt_keys_and_wrong_types_are_refused_by_place(changes):
    with pytest.raises(ValidationError):
        read(**changes)


@given(st.sampled_from([m.name for m in METRICS]), st.floats(0.001, 1.0), st.sampled_from(["train", "validation"]))
def test_every_metric_can_be_measured_at_any_progress(metric, at, split):
    measure = Measure(metric=metric, arm="a", at=at, split=split)
    assert measure.due == at
    assert measure.kind.name == metric
    assert TypeAdapter(Measure).validate_json(canonical_json(resolved(measure))) == measure


def test_records_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        read().alpha = 0.5


@pytest.mark.parametrize(("ids", "needs", "reads", "says"), [
    (["A", "A"], [(), ()], ["A"], "appears twice"),
    (["A", "B"], [(), ("C",)], ["A"], "needs 'C'"),
    (["A", "B"], [("B",), ("A",)], ["A"], "circle"),
    (["A", "B"], [(), ()], ["C"], "reads 'C'"),
    (["A", "B"], [(), ()], [], "reads ''"),
])  # fmt: skip
def test_a_study_whose_parts_do_not_fit_is_refused(ids, needs, reads, says):
    predictions = tuple(dataclasses.replace(read(), id=i, needs=n) for i, n in zip(ids, needs, strict=True))
    question = Question(asks="q", reads=tuple(reads), yes="y", no="n")
    with pytest.raises(SpecError, match=says):
        check_study({"H": Hypothesis(claim="c", predictions=predictions)}, questions=(question,))
