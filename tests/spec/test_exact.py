"""Floats read as the fractions that they stand for.

Also of `certvq.spec._rounded`.
"""

import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certvq.errors import DTypeError, NonFiniteError
from certvq.spec import exact


@pytest.mark.rows(
    ("number", "expected"),
    [
        (0.5, Fraction(1, 2)),
        (-0.0, Fraction(0)),
        (0.1, Fraction(3602879701896397, 2**55)),
        (5e-324, Fraction(1, 2**1074)),
        (1.7976931348623157e308, Fraction((2**53 - 1) * 2**971)),
        (np.float32(0.1), Fraction(13421773, 2**27)),
        (np.float16(0.1), Fraction(819, 2**13)),
        (7, Fraction(7)),
        (np.int64(2**62), Fraction(2**62)),
        (Fraction(1, 3), Fraction(1, 3)),
        (Decimal("0.1"), Fraction(1, 10)),
    ],
)
def test_number_is_read_as_what_it_stands_for(number, expected):
    assert exact(number) == expected
    assert type(exact(number)) is Fraction


def test_numpy_integers_become_python_integers_that_cannot_overflow():
    assert exact(np.int64(2**62)) * 4 == 2**64


def test_nesting_is_kept_as_tuples():
    assert exact([[0.5, 1.0], (0.25, 2)]) == (
        (Fraction(1, 2), Fraction(1)),
        (Fraction(1, 4), Fraction(2)),
    )
    assert exact([]) == ()


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_float_returns_from_its_fraction(number):
    assert float(exact(number)) == number
    assert exact(number).limit_denominator(2**1074) == exact(number)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_are_refused(number):
    with pytest.raises(NonFiniteError, match=f"the number must be finite, came {number!r}; remove"):
        exact(number)


@pytest.mark.parametrize(
    "number", [np.float32("nan"), np.float16("-inf"), Decimal("NaN"), Decimal("Infinity")]
)
def test_nan_and_infinity_of_other_types_are_refused(number):
    with pytest.raises(NonFiniteError, match=re.escape(f"must be finite, came {number!r}")):
        exact(number)


def test_first_bad_entry_is_named_by_its_indices():
    rows = [[0.0, 1.0], [2.0, float("inf")], [float("nan"), 0.0]]
    with pytest.raises(NonFiniteError, match=re.escape("entry [1][1] must be finite, came inf")):
        exact(rows)


@pytest.mark.parametrize(
    ("value", "name"), [(True, "bool"), (None, "NoneType"), (1j, "complex"), (b"1"[0:0], "bytes")]
)
def test_what_is_no_number_is_refused_with_its_place(value, name):
    with pytest.raises(DTypeError, match=f"came .*{name}"):
        exact(value)
    with pytest.raises(DTypeError, match=f"came .*{name}"):
        exact((1.0, (value,)))


def test_place_of_what_is_no_number():
    text = "entry [1][0] must be a float or a rational number, came True of type bool"
    with pytest.raises(DTypeError, match=re.escape(text)):
        exact((1.0, (True,)))


def test_array_is_refused():
    with pytest.raises(
        DTypeError, match=re.escape("came ndarray; give an array as array.tolist()")
    ):
        exact(np.ones(3))
