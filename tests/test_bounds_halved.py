"""Each bound is as large as its derivation demands, and half of it is not: that fails here."""

import math
from fractions import Fraction

import numpy as np
import pytest

from certvq import bounds

U = Fraction(1, 2**53)
TINY = Fraction(1, 2**1074)
DIM = 64


def gamma(terms):
    return terms * U / (1 - terms * U)


def check_gamma(bound):
    assert Fraction(bound(DIM)) >= gamma(DIM)


def check_underflow_radius(bound):
    assert Fraction(bound(DIM)) >= Fraction(5, 2) * (DIM + 1) * TINY


def check_norm_upper(bound):
    """Two roundings of the difference, one of the square, D - 1 of the sum."""
    assert Fraction(float(bound(9.0, DIM))) ** 2 >= 9 * (1 + gamma(DIM + 2))


def check_score_radius(bound):
    needed = gamma(DIM + 3) * 15 + gamma(2 * DIM + 3) * Fraction(25, 2)
    assert Fraction(bound(np.array([3.0]), 5.0, DIM)[0]) >= needed


def check_flush_radius(bound):
    """Results of D + 1 products and D sums, and operands of either factor."""
    for norm in (0.0, 3.0):
        needed = ((2 * DIM + 1) + (DIM + 1) * (2 * norm + 1)) * 2.0**-1022
        assert bound(np.array([norm]), norm, DIM)[0] >= needed


def check_fixed_point_residual(bound):
    assert Fraction(float(bound(9.0, DIM))) >= 3 + 2 * U * 32768


def check_fixed_point_distance(bound):
    """A latent (3, 4) in units of 2 and a code (1, 0): |(6, 8) - (1, 0)|^2 = 89."""
    squared_norm, scale, names = 100.0, 2.0, 7.0
    score = (6.0 - 0.5) / scale
    for computed in (score - 2.0, score + names):
        assert bound(squared_norm, computed, scale, names) ** 2 >= 89.0


def check_fixed_point_reach(bound):
    """On a line: the latent moves by a towards one code and away from the other, both codes by b.

    The latent is at 0, the codes at -r and r; they are seen at distances rho = r - a - b and
    rho + 2 (a + b), and their scores differ by half of the difference of the squares. Either score
    may be off by two units and the number of the group.
    """
    rho, a, b, scale, names = 1000, Fraction(1, 2), Fraction(1, 2), 4, 31
    moved = scale * a + b
    apart = ((rho + 2 * moved) ** 2 - rho**2) / 2 / scale
    value = bound(float(rho), float(a), float(b), float(scale), 1.0 / scale, float(names))
    assert Fraction(float(value)) >= apart + 2 * (names + 2)


def check_candidate_threshold(bound):
    best, radius = np.array([5.0]), np.array([0.25])
    assert bound(best, radius)[0] <= 5.0 - 2 * 0.25
    assert bound(best, radius)[0] >= 4.0


def check_sqdist_lower(bound):
    assert Fraction(bound(1.0, DIM)) * (1 + gamma(DIM + 2)) <= 1
    assert bound(1.0, DIM) > 1.0 - 2.0**-40


def check_sqdist_upper(bound):
    assert Fraction(bound(1.0, DIM)) >= 1 / (1 - gamma(DIM + 2))


def check_farther_factor(bound):
    least = math.nextafter(3.0 * bound(DIM) + bounds.farther_slack(DIM), math.inf)
    assert bounds.sqdist_lower(least, DIM) > bounds.sqdist_upper(3.0, DIM)


def check_farther_slack(bound):
    assert bounds.sqdist_lower(bound(DIM), DIM) > bounds.sqdist_upper(0.0, DIM)


def check_quarter_sqdist(bound):
    """A computed distance that is too great; the row's own one is rounded down."""
    between = math.nextafter(float(4 * (1 + gamma(DIM + 2))), 0.0)
    assert 1.0 - 2.0**-40 < bound(between, DIM) < 1.0 - 4 * 2.0**-53
    assert bound(4.0 * bounds.SMALLEST, DIM) < 0.0


def check_sqdist_pair_radius(bound):
    """And it leaves room for a rounding of the second double with the radius added."""
    for dim in (1, DIM, 2**24):
        second = (dim + 11) * U
        needed = second * gamma(dim + 20) + U**2
        assert Fraction(bound(1.0, dim)) >= (needed + second * U) * (1 + gamma(dim + 8))


def check_border_distance_lower(bound):
    border = bound(np.array([1.0]), np.array([3.0]), np.array([0.0]))[0]
    assert Fraction(1, 6) * (1 - 100 * U) <= Fraction(border) <= Fraction(1, 6)


def check_fixed_point_score_of_distance(bound):
    """On a line: latent 100 and code 40 in units of the latent, rounded away from each other.

    The score may be two units too low by its offset, besides the number of the group, and is
    rounded towards zero. Twice the bound is no check of it, so half of a greater one is.
    """
    squared_norm, scale, names, moved = 100.0**2, 4.0, 31.0, 0.75
    for apart in (60.0, 30.0):
        exact = scale * (squared_norm - (apart + moved) ** 2) / 2
        assert exact - names - 20 <= bound(squared_norm, apart, moved, scale, names)
        assert bound(squared_norm, apart, moved, scale, names) <= exact - names - 3


def check_axes_distance(bound):
    """What rounding the axes and the parts along them moves, and the root of that of squares."""
    g = float(gamma(DIM + 8))
    moved = math.sqrt((18 * g) ** 2 + 40 * g)
    for distance in (0.0, 2.0**-30):
        assert bound(distance, 5.0, 3.0, DIM) >= distance + moved * (5 + 3)


def check_byte_score_upper(bound):
    """Latent and code along the diagonal, in 64 dims; the offset of the padding, badly rounded."""
    assert bound(127.0, 100.0**2, 2.0, 64.0) >= 127 * 8 * 100 + 2 * 100**2 + 1


def check_border_distance_of_sqdist(bound):
    """Errors on the side that makes the border seem farther."""
    g = gamma(DIM + 2)
    farther, nearer, between = 25 * (1 + g), 9 * (1 - g), 4 * (1 - g)
    value = Fraction(float(bound(float(farther), float(nearer), float(between), DIM)))
    assert 4 * (1 - 1000 * U) <= value <= 4


def check_border_distance_of_product(bound):
    """Vectors on a line: 2 apart, the latent 3 and 5 from them; all terms err in one sense."""
    g = gamma(DIM + 3)
    value = Fraction(float(bound(float(16 * (1 + g)), 25.0, 9.0, 4.0, DIM)))
    assert 4 * (1 - 1000 * U) <= value <= 4


def check_border_reach(bound):
    assert Fraction(float(bound(9.0, 1.0, DIM))) >= (3 + 2) * (1 + gamma(DIM + 2) / 4)


def check_sqdist_limit(bound):
    """A code at this distance exactly may be computed so much farther."""
    assert Fraction(float(bound(3.0, DIM))) >= 9 * (1 + gamma(DIM + 2))


def check_tensor_residual(bound):
    """Measured as 3 in a unit of 4; entries are below 2**15, and each may be rounded before."""
    assert Fraction(float(bound(9.0, 4.0))) >= 4 * (3 + 2 * U * 2**15)


def check_tensor_relative_error(bound):
    """The first product has all the magnitude, and every later instruction errs by what it may."""
    names = Fraction(1, 2**20)
    step = Fraction(2, 2**23)
    accumulated = (1 + step) ** DIM - 1
    needed = accumulated + (1 + accumulated) * (Fraction(2, 2**24) + names)
    assert Fraction(bound(DIM, float(names))) >= needed


def check_tensor_score_error(bound):
    for unit in (1.0, 2.0**90):
        needed = (3 * 4 + Fraction(4 * 4, 2)) / 2**10 + Fraction(DIM * 4, 2**126) * Fraction(unit)
        assert Fraction(float(bound(3.0, 4.0, 2.0**-10, unit))) >= needed


def check_tensor_distance(bound):
    """A latent (6, 8) and a code (1, 0): |(6, 8) - (1, 0)|^2 = 89, the score is 5.5."""
    for computed in (5.5 - 2.0, 5.5 + 2.0):
        assert bound(100.0, computed, 2.0) ** 2 >= 89.0


def check_tensor_reach(bound):
    """On a line, as for `fixed_point_reach`; besides, the threshold is rounded to float32."""
    rho, moved, error = 1000, 1, Fraction(3)
    apart = Fraction((rho + 2 * moved) ** 2 - rho**2, 2) + 2 * error
    for score in (0.0, 2.0**30):
        rounding = (Fraction(score) + apart) / 2**24
        value = bound(float(rho), float(moved), float(error), score, 1.0)
        assert Fraction(float(value)) >= apart + rounding


CHECKS = {
    name.removeprefix("check_"): check
    for name, check in list(globals().items())
    if name.startswith("check_")
}


def test_every_bound_has_a_check():
    assert set(CHECKS) >= set(bounds.THEOREMS)


@pytest.mark.rows("name", CHECKS)
def test_bound_is_large_enough(name):
    assert CHECKS[name](getattr(bounds, name)) is None


@pytest.mark.rows("name", CHECKS)
def test_half_of_it_is_not(name):
    bound = getattr(bounds, name)
    with pytest.raises(AssertionError):
        CHECKS[name](lambda *arguments: 0.5 * bound(*arguments))
