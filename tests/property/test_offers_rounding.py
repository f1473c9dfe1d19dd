"""What is rounded the short way, against Python's own `round`: to the last bit, and in the sign of zero."""

from math import copysign

from hypothesis import example, given
from hypothesis import strategies as st

from geo_offers.offers.rounding import rounded

ties = st.builds(lambda whole, digits: (whole + 0.5) / 10**digits, st.integers(-(10**9), 10**9), st.integers(1, 6))


@given(st.floats(-2, 2) | st.floats(allow_nan=False, allow_infinity=False) | ties, st.integers(1, 6))
@example(0.5, 1)
@example(2.675, 2)
@example(0.0005, 3)
@example(-0.0, 3)
@example(-1e-9, 6)
@example(1e300, 6)
def test_a_number_is_rounded_as_python_rounds_it(value: float, digits: int) -> None:
    found, expected = rounded(value, digits), round(value, digits)
    assert found == expected
    assert copysign(1, found) == copysign(1, expected)
