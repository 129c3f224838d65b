from hypothesis import given
from hypothesis import strategies as st

from leonids.report.numbers import Missing, Value
from leonids.report.phases import BEFORE, PHASES, phase_at, phase_of

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
