"""Comparison in 64-bit integers: exact wherever it claims to be, and it claims small integers."""

from fractions import Fraction

import numpy as np
import pytest

from certvq._checker._integers import compare_in_int64


def sign(value):
    return (value > 0) - (value < 0)


def true_excess(point, given, rival):
    z, a, b = ([Fraction(v) for v in row.tolist()] for row in (point, given, rival))
    return sum((x - y) ** 2 - (x - w) ** 2 for x, y, w in zip(z, a, b, strict=True))


@pytest.mark.parametrize("dim", [1, 2, 3, 8, 64, 300])
@pytest.mark.parametrize("scale", [2.0**-1074, 2.0**-1000, 1.0, 2.0**30, 2.0**990])
def test_integers_of_any_scale_are_compared(rng, dim, scale):
    most = 2 ** ((62 - dim.bit_length()) // 2 - 1) - 1
    for top in (1, 3, most):
        rows = [rng.integers(-top, top + 1, (40, dim)) * scale for _ in range(3)]
        rows = [np.where(rng.random((40, dim)) < 0.2, np.sign(r) * top * scale, r) for r in rows]
        known, excess = compare_in_int64(*rows)
        assert known.all()
        for found, *row in zip(excess.tolist(), *rows, strict=True):
            assert sign(found) == sign(true_excess(*row))


def test_the_largest_sums_do_not_overflow():
    for dim in (1, 3, 7, 255, 256):
        most = 2 ** ((62 - dim.bit_length()) // 2 - 1) - 1
        rows = [np.full((1, dim), float(value)) for value in (most, -most, most)]
        known, excess = compare_in_int64(*rows)
        assert known.all()
        assert excess.tolist() == [4 * most * most * dim]


@pytest.mark.parametrize("spread", [3, 40, 1000])
def test_what_is_claimed_is_right_on_any_floats(rng, spread):
    rows = [rng.standard_normal((300, 2)) * 2.0 ** rng.integers(-spread, spread, (300, 2))] * 2
    rows.append(rows[0] * 2.0 ** rng.integers(-1, 2, (300, 2)))
    rows = [np.round(r, 2) if spread == 3 else r for r in rows]
    known, excess = compare_in_int64(*rows)
    for claimed, found, *row in zip(known.tolist(), excess.tolist(), *rows, strict=True):
        assert not claimed or sign(found) == sign(true_excess(*row))


def test_what_does_not_fit_is_not_claimed():
    far = np.array([[2.0**60, 1.0]]), np.array([[0.0, 0.0]]), np.array([[1.0, 0.0]])
    lost = np.array([[1e300, 5e-324]]), np.array([[0.0, 0.0]]), np.array([[0.0, 0.0]])
    for rows in (far, lost):
        assert not compare_in_int64(*rows)[0].any()


def test_nothing_is_compared():
    known, excess = compare_in_int64(*[np.zeros((0, 3))] * 3)
    assert known.shape == excess.shape == (0,)
