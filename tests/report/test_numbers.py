import math
import re
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from leonids.report.numbers import Missing, Value, adding_up, ends, interval, nats, ratio, share, value_of
from leonids.stats.intervals import Absent

PARTS = st.lists(st.floats(min_value=-50, max_value=50), min_size=1, max_size=8)


@given(PARTS)
def test_printed_parts_add_up_to_the_printed_sum_and_stay_within_one_unit(parts: list[float]) -> None:
    total, shown = adding_up(parts)
    assert sum(map(Decimal, shown)) == Decimal(total)
    assert abs(float(total) - math.fsum(parts)) <= 0.0005 + 1e-8
    assert all(abs(float(text) - part) < 0.001 + 1e-8 for text, part in zip(shown, parts, strict=True))


@given(PARTS)
def test_a_part_that_is_nothing_is_printed_as_nothing(parts: list[float]) -> None:
    assert adding_up([*parts, 0.0])[1][-1] == "0.000"


@given(st.floats(min_value=-100, max_value=100))
def test_no_number_is_printed_as_minus_zero(value: float) -> None:
    assert not re.fullmatch(r"-0\.0+", nats(value))
    assert not any(re.fullmatch(r"-0\.0+", text) for text in adding_up([value])[1])


def test_a_number_without_an_interval_says_so() -> None:
    assert interval(Value(1.0, None, None, 1, "examples")) == "no interval"
    assert value_of(Absent("one value has no spread", 1, 0.3), unit="seeds") == Value(0.3, None, None, 1, "seeds")
    assert value_of(Absent("nothing was measured", 0), unit="seeds") == Missing("nothing was measured")


def test_the_ends_of_an_interval_are_told_apart_when_one_is_negative() -> None:
    assert ends(Value(0.0, -0.25, 0.5, 9, "examples")) == "-0.250 to 0.500"
    assert ends(Value(0.3, 0.25, 0.5, 9, "examples")) == "0.250-0.500"


def test_nothing_measured_is_missing_and_not_zero() -> None:
    import numpy as np

    assert isinstance(ratio(np.array([]), np.array([])), Missing)
    assert isinstance(share(0, 0), Missing)
