"""What is assumed of the exponential, the sine and the normal distribution is true of them.

At thousands of numbers, with 60 digits, by another library. Each inequality is strict there by far
more than the error of those digits, except where both sides are equal.
"""

from fractions import Fraction
from itertools import pairwise, product

import mpmath
import pytest

from certvq.theory import AXIOMS
from certvq.theory._evaluate import evaluate

ERROR = mpmath.mpf(10) ** -50
NUMBERS = [mpmath.mpf(k) / 16 for k in range(-160, 161)] + [
    sign * mpmath.mpf(2) ** k for k in range(-60, 5) for sign in (-1, 1)
]


@pytest.fixture(autouse=True)
def _digits():
    with mpmath.workdps(60):
        yield


def at_most(left, right):
    """Say whether left <= right, but for the error of the digits."""
    return left - right <= ERROR * (1 + abs(left) + abs(right))


def close(left, right):
    return at_most(left, right) and at_most(right, left)


def test_the_exponential_takes_sums_to_products():
    for x, y in product(NUMBERS[::12], repeat=2):
        assert close(mpmath.exp(x + y), mpmath.exp(x) * mpmath.exp(y))


def test_the_exponential_lies_above_its_tangent_and_tanh_below_its_argument():
    for x in NUMBERS:
        assert at_most(1 + x, mpmath.exp(x))
        if x >= 0:
            doubled = mpmath.exp(2 * x)
            assert at_most(doubled - 1, x * (doubled + 1))


@pytest.mark.parametrize(("base", "holds"), [(11, True), (12, False)])
def test_the_exponential_at_12_5_is_as_assumed(base, holds):
    assert at_most(base, mpmath.exp(mpmath.mpf(12) / 5)) == holds


def test_the_sine_is_as_assumed():
    for x in NUMBERS:
        assert at_most(abs(mpmath.sin(x)), 1)
        assert at_most(abs(mpmath.sin(x)), abs(x))
    for x, y in product(NUMBERS[::12], repeat=2):
        squares = mpmath.sin(x) ** 2 - mpmath.sin(y) ** 2
        assert close(squares, mpmath.sin(x + y) * mpmath.sin(x - y))


@pytest.mark.parametrize(("bound", "holds"), [("0.25", True), ("0.23", False)])
def test_the_normal_distribution_is_as_assumed_and_its_constant_is_nearly_the_least(bound, holds):
    values = {x: mpmath.ncdf(x) for x in NUMBERS}
    for x in NUMBERS:
        assert close(mpmath.ncdf(-x), 1 - values[x])
        assert at_most(values[x], 1)
    growing = sorted(NUMBERS)
    assert all(at_most(values[x], values[y]) for x, y in pairwise(growing))
    above = [x for x in growing if x >= 0]
    pairs = [(x, y) for x, y in product(above, repeat=2) if x <= y]
    slopes = [x * (values[y] - values[x]) <= mpmath.mpf(bound) * (y - x) for x, y in pairs]
    assert all(slopes) is holds


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("ax_exp_add", lambda x: 1 + x + x * x),
        ("ax_exp_tangent", lambda x: 1 + x / 2),
        ("ax_exp_tanh", lambda _: Fraction(9)),
        ("ax_exp_eleven", lambda _: Fraction(9)),
        ("ax_sine", lambda x: x / 2),
        ("ax_normal_cdf", lambda x: 1 / (1 + x * x)),
    ],
)
def test_the_formula_of_an_axiom_is_false_of_a_wrong_function(name, wrong):
    numbers = tuple(Fraction(k, 2) for k in range(-2, 7))
    values = {"exp": wrong, "sin": wrong, "normalcdf": wrong, "trees": numbers}
    assert evaluate(AXIOMS[name].formula, values) is False
