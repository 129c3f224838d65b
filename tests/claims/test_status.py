from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leonids.claims.prediction import Hypothesis, Question
from leonids.claims.status import answer_question, hypothesis_status, statuses
from leonids.records import Verdict

WORDS = ["not_due", "supported", "refuted", "inconclusive", "void"]
QUESTION = Question(asks="q", reads=("P0", "P1"), yes="so it is", no="so it is not")


def verdict(name, word, grade="sealed"):
    return Verdict(name, word, "", None, None, None, 0.9, 2, "seeds", "seeds", grade)


@pytest.fixture
def status(make):
    def of(*words, roles=(), grades=()):
        roles = (*roles, *["necessary"] * (len(words) - len(roles)))
        grades = (*grades, *["sealed"] * (len(words) - len(grades)))
        predictions = tuple(make(f"P{i}", expect={"above": 0.5}, role=r) for i, r in enumerate(roles))
        verdicts = [verdict(f"P{i}", w, g) for i, (w, g) in enumerate(zip(words, grades, strict=True))]
        return hypothesis_status("H", Hypothesis(claim="c", predictions=predictions), verdicts).word

    return of


def test_the_rule_of_a_hypothesis_word_by_word(status):
    assert status("supported", "supported") == "supported"
    assert status("supported", "refuted") == "refuted"
    assert status("supported", "inconclusive") == "open"
    assert status("supported", "void") == "open"
    assert status("void", "void") == "void"
    assert status("refuted", "supported", roles=("supporting",)) == "open"
    assert status("not_due") == "open"


def test_a_retrodiction_can_refute_but_not_support(status):
    assert status("supported", grades=("late",)) == "open"
    assert status("refuted", grades=("late",)) == "refuted"


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4))
def test_no_status_is_decided_by_what_is_missing(make, words):
    predictions = tuple(make(f"P{i}", expect={"above": 0.5}) for i in range(len(words)))
    verdicts = [verdict(f"P{i}", w) for i, w in enumerate(words)]
    found = hypothesis_status("H", Hypothesis(claim="c", predictions=predictions), verdicts)
    assert (found.word == "supported") == (set(words) == {"supported"})
    assert (found.word == "refuted") == ("refuted" in words)
    assert found.reason


def test_a_hypothesis_falls_with_its_premise(make):
    one = Hypothesis(claim="c", predictions=(make("P0", expect={"above": 0.5}),))
    other = Hypothesis(claim="d", predictions=(make("P1", expect={"above": 0.5}),), needs=("one",))
    third = replace(other, predictions=(make("P2", expect={"above": 0.5}),), needs=("two",))
    verdicts = [verdict("P0", "refuted"), verdict("P1", "supported"), verdict("P2", "supported")]
    found = statuses({"three": third, "two": other, "one": one}, verdicts)
    assert [s.word for s in found] == ["void", "void", "refuted"]


@pytest.mark.parametrize(("words", "answer", "consequence"), [
    (("supported", "supported"), "yes", "so it is"),
    (("supported", "refuted"), "no", "so it is not"),
    (("supported", "void"), "open", ""),
    (("inconclusive", "not_due"), "open", ""),
])  # fmt: skip
def test_a_question_is_answered_by_rule_with_the_consequence_written_before(words, answer, consequence):
    found = answer_question(QUESTION, [verdict(f"P{i}", w) for i, w in enumerate(words)])
    assert (found.word, found.consequence) == (answer, consequence)
    assert "P0" in found.reason
    assert "P1" in found.reason


def test_a_question_whose_predictions_were_never_judged_is_open_and_says_so():
    assert answer_question(QUESTION, []).word == "open"
    assert answer_question(QUESTION, []).reason
