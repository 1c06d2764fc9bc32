"""Differences in several digits: exact where they claim to be, which wide numbers are not."""

from fractions import Fraction

import numpy as np
import pytest

from certvq._checker._integers import LIMBS, differences, digit_bits, magnitudes


def compared(*rows):
    """Return which differences are known, and all of them as fractions."""
    found = differences(*rows, magnitudes(*rows))
    values = [
        sum(digit << (found.bits * place) for place, digit in enumerate(reversed(digits)))
        * Fraction(2) ** exponent
        for digits, exponent in zip(found.digits.tolist(), found.exponent.tolist(), strict=True)
    ]
    return found.known.tolist(), values


def true_excess(point, given, rival):
    z, a, b = ([Fraction(v) for v in row.tolist()] for row in (point, given, rival))
    return sum((x - y) ** 2 - (x - w) ** 2 for x, y, w in zip(z, a, b, strict=True))


@pytest.mark.rows("dim", [1, 3, 8, 300])
@pytest.mark.rows("scale", [2.0**-1074, 2.0**-1000, 1.0, 2.0**900])
@pytest.mark.rows("limbs", range(1, LIMBS + 1))
def test_integers_of_any_scale_are_subtracted(rng, dim, scale, limbs):
    """Also the greatest sums of all, with a number in its lowest bit."""
    most = 2.0 ** min(limbs * digit_bits(dim), 53) - 1
    rows = [np.trunc(rng.uniform(-most, most, (9, dim))) * scale for _ in range(3)]
    for row, sign in zip(rows, (1, -1, 1), strict=True):
        row[0] = sign * most * scale
        row[1] = scale
    known, values = compared(*rows)
    assert all(known)
    assert values == [true_excess(*row) for row in zip(*rows, strict=True)]


@pytest.mark.parametrize("spread", [3, 40, 1000])
def test_what_is_claimed_is_right_on_any_floats(rng, spread):
    rows = [rng.standard_normal((300, 2)) * 2.0 ** rng.integers(-spread, spread, (300, 2))] * 2
    rows.append(rows[0] * 2.0 ** rng.integers(-1, 2, (300, 2)))
    known, values = compared(*rows)
    assert any(known)
    for claimed, value, *row in zip(known, values, *rows, strict=True):
        assert not claimed or value == true_excess(*row)


def test_what_does_not_fit_is_not_claimed():
    far = np.array([[2.0**120, 1.0]]), np.array([[0.0, 0.0]]), np.array([[1.0, 0.0]])
    lost = np.array([[1e300, 5e-324]]), np.array([[0.0, 0.0]]), np.array([[0.0, 0.0]])
    for rows in (far, lost):
        assert compared(*rows)[0] == [False]


def test_nothing_is_compared():
    assert compared(*[np.zeros((0, 3))] * 3) == ([], [])
