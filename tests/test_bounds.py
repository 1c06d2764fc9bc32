"""The constants: the formulas that are proved, rounded outward, and not smaller than reality."""

import math
from fractions import Fraction

import numpy as np
import pytest

from certvq import bounds
from certvq.spec import dot, exact, squared_l2

U = Fraction(1, 2**53)


@pytest.mark.parametrize("terms", [0, 1, 7, 1000, 2**30])
def test_gamma_is_the_formula_rounded_up(terms):
    formula = terms * U / (1 - terms * U)
    assert formula <= Fraction(bounds.gamma(terms)) <= formula * (1 + 2 * U)


@pytest.mark.parametrize("terms", [-1, 2**52])
def test_gamma_refuses_what_says_nothing(terms):
    with pytest.raises(OverflowError, match=str(terms)):
        bounds.gamma(terms)


def test_every_bound_names_a_theorem():
    public = {n for n in vars(bounds) if n.islower() and callable(getattr(bounds, n))}
    functions = {n for n in public if getattr(bounds, n).__module__ == "certvq.bounds"}
    assert functions - {"justified_by"} == set(bounds.THEOREMS)
    assert all(bounds.THEOREMS.values())


@pytest.mark.parametrize("dim", [1, 3, 64, 1000])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_scores_lie_within_the_radius(rng, dim, offset):
    z = rng.standard_normal((20, dim)) + offset
    c = rng.standard_normal((20, dim)) * 2.0
    computed = np.einsum("nd,nd->n", z, c) - 0.5 * np.einsum("nd,nd->n", c, c)
    norms = bounds.norm_upper(np.einsum("nd,nd->n", z, z), dim)
    code_norms = bounds.norm_upper(np.einsum("nd,nd->n", c, c), dim)
    for row in range(20):
        radius = bounds.score_radius(norms[row : row + 1], code_norms[row], dim)[0]
        zr, cr = exact(z[row].tolist()), exact(c[row].tolist())
        true = dot(zr, cr) - dot(cr, cr) / 2
        assert abs(Fraction(computed[row]) - true) <= Fraction(radius)


@pytest.mark.parametrize("dim", [1, 5, 300])
def test_score_radius_is_the_formula_rounded_up(dim):
    """A radius of half the size fails here."""
    norm, code_norm = 3.0, 5.0

    def gamma(n):
        return n * U / (1 - n * U)

    needed = gamma(dim + 3) * 15 + gamma(2 * dim + 3) * Fraction(25, 2)
    radius = Fraction(bounds.score_radius(np.array([norm]), code_norm, dim)[0])
    assert needed < radius < 8 * needed
    assert radius - needed >= 4 * U * (15 + Fraction(25, 2))


def test_flush_radius_covers_flushed_operands_and_results():
    """D + 1 products and D sums, each off by 2**-1022, besides flushed operands."""
    radius = bounds.flush_radius(np.array([3.0]), 5.0, 7)[0]
    assert radius >= (8 + 7 + 7 * (3.0 + 5.0) + 2) * 2.0**-1022


def test_norm_upper_is_above_the_norm_and_close(rng):
    x = rng.standard_normal((50, 9)) * 10.0 ** rng.integers(-150, 150, (50, 1))
    upper = bounds.norm_upper(np.einsum("nd,nd->n", x, x), 9)
    for row, bound in zip(x, upper, strict=True):
        square = sum(Fraction(v) ** 2 for v in row.tolist())
        assert square <= Fraction(bound) ** 2 <= square * (1 + 200 * U) + Fraction(2) ** -1060


def test_norm_upper_holds_where_squares_underflow():
    tiny = np.array([3e-170])
    assert bounds.norm_upper(tiny * tiny, 1)[0] >= tiny[0]


@pytest.mark.parametrize("dim", [1, 4, 129])
def test_distances_lie_in_their_interval(rng, dim):
    x = rng.standard_normal((40, dim)) + 1e5
    y = x + rng.standard_normal((40, dim)) * 1e-9
    difference = x - y
    computed = np.einsum("nd,nd->n", difference, difference)
    lower, upper = bounds.sqdist_lower(computed, dim), bounds.sqdist_upper(computed, dim)
    for row in range(40):
        true = squared_l2(exact(x[row].tolist()), exact(y[row].tolist()))
        assert Fraction(lower[row]) <= true <= Fraction(upper[row])
        needed = true * ((dim + 2) * U)
        assert Fraction(upper[row]) - true >= needed * Fraction(1, 2)


def test_threshold_is_twice_the_radius_below():
    assert bounds.candidate_threshold(np.array([5.0]), np.array([0.25])).tolist() == [4.5]


def test_border_distance_is_rounded_down():
    gap, distance = np.array([1.0, 1.0, -1.0, 0.5]), np.array([3.0, 0.0, 1.0, 1.0])
    border = bounds.border_distance_lower(gap, distance, np.array([0.0, 0.0, 0.0, 0.6]))
    assert border[0] > 0.16666
    assert Fraction(border[0]) < Fraction(1, 6)
    assert border[1:].tolist() == [math.inf, 0.0, 0.0]
