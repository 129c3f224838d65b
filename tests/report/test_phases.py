from hypothesis import given
from hypothesis import strategies as st

from leonids.report.numbers import Missing, Value
from leonids.report.phases import BEFORE, PHASES, Step, phase_at, phase_of, standing_of, stretch_at, stretches

SHARES = st.floats(min_value=0, max_value=1)


@given(SHARES)
def test_a_phase_reaches_from_its_border_to_the_next(confidence: float) -> None:
    passed = [name for border, name in PHASES if border <= confidence]
    assert phase_at(confidence) == (passed[-1] if passed else BEFORE)


@given(SHARES, SHARES, SHARES)
def test_a_phase_is_as_sure_as_its_interval(a: float, b: float, c: float) -> None:
    low, middle, high = sorted((a, b, c))
    found = phase_of(Value(middle, low, high, 9, "examples"), tokens="decided")
    assert not isinstance(found, Missing)
    assert phase_at(low) in found.word
    assert phase_at(high) in found.word
    assert (" or " in found.word) == (phase_at(low) != phase_at(high))


def test_without_confidence_there_is_no_phase() -> None:
    assert phase_of(Missing("no decided token was right"), tokens="decided") == Missing("no decided token was right")


LADDER = (Step("the format", 6.0), Step("the type of question", 5.0), Step("everything", 1.0))


@given(st.floats(min_value=0, max_value=9))
def test_a_loss_stands_below_exactly_the_plateaus_it_has_passed(nats: float) -> None:
    names = stretches(LADDER)
    assert names.index(stretch_at(nats, LADDER)) == len([step for step in LADDER if nats <= step.nats])


def test_a_standing_names_both_sides_of_a_plateau_inside_its_interval() -> None:
    found = standing_of(Value(5.1, 4.9, 5.3, 9, "examples"), LADDER)
    assert not isinstance(found, Missing)
    assert set(found.word.split(" or ")) == set(stretches(LADDER)[1:3])


def test_without_a_ladder_there_is_no_standing() -> None:
    assert isinstance(standing_of(Value(5.1, 4.9, 5.3, 9, "examples"), ()), Missing)
