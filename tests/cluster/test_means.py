"""Means, directions and inertia are rounded once: Fractions and another rounding say so."""

import itertools
from fractions import Fraction
from math import isqrt

import numpy as np
import pytest

import certvq
from certvq.cluster import _inertia, _means, _unit
from certvq.cluster._grid import extent_of, tight_extent_of
from certvq.cluster._rounding import FORMATS, rounded_ratio, rounded_to
from certvq.cluster._sums import CellSummer, Grids

from ._exactly import TYPES, numbers, rounded, tensor

RNG = np.random.default_rng(11)


@pytest.mark.rows("number", TYPES)
def test_ratios_round_to_nearest_even(number):
    form = FORMATS[number]
    lowest = form.lowest
    unit = 2 ** (form.precision - 1)
    ratios = [(2 * unit + 1, 1, 0), (2 * unit + 3, 1, 0), (2 * unit - 1, 1, 0), (1, 2, lowest)]
    ratios += [(3, 2, lowest), (1, 3, 0), (-7, 3, lowest + 2), (unit * 4 - 1, 1, 0), (0, 5, 3)]
    ratios += [
        (int(a), int(b), int(e)) for a, b, e in RNG.integers(1, 2**9, (60, 3)) % (2**9, 99, 7)
    ]
    for top, given, exponent in ratios:
        bottom = max(given, 1)
        exact = Fraction(top, bottom) * Fraction(2) ** exponent
        assert rounded_ratio(top, bottom, exponent, form) == rounded(exact, number)
        if exact and (exact.denominator & (exact.denominator - 1)) == 0:
            assert float(rounded_to(np.array([float(exact)]), form)[0]) == rounded(exact, number)


def sums_of(rows, codes, size, weights=None):
    grids = Grids(extent_of(rows), None if weights is None else tight_extent_of(weights))
    summer = CellSummer(grids, size, rows.shape[1])
    summer.add(rows, codes, weights)
    return summer.result()


MEANS = [(number, weighted) for number in TYPES for weighted in (False, True)]


@pytest.mark.rows(("number", "weighted"), MEANS)
def test_means_are_rounded_once(number, weighted):
    """Cells of two rows: half of the means are ties of two numbers of the type."""
    rows = numbers(
        tensor(RNG.standard_normal((120, 4)) * 2.0 ** RNG.integers(-9, 9, (120, 1)), number)
    )
    rows[0], rows[60] = 1.0, 1.0 + 2.0 ** (1 - FORMATS[number].precision)
    codes = np.arange(120) % 60
    weights = RNG.integers(1, 5, 120) / 3.0 if weighted else None
    factors = np.ones(120) if weights is None else weights
    before = np.zeros((60, 4), FORMATS[number].host)
    means = _means.rounded_means(sums_of(rows, codes, 60, weights), before, FORMATS[number])
    for cell in range(60):
        own = [Fraction(float(factors[i])) for i in (cell, cell + 60)]
        for column in range(4):
            pair = Fraction(rows[cell, column]), Fraction(rows[cell + 60, column])
            exact = (own[0] * pair[0] + own[1] * pair[1]) / sum(own)
            assert float(means[cell, column]) == rounded(exact, number)


def test_the_quick_way_never_differs_from_integers(monkeypatch):
    """Sums next to boundaries of rounding, where a pair of floats may or may not know."""
    base = np.ldexp(RNG.integers(2**52, 2**53, (400, 1)).astype(np.float64), -52)
    rows = np.concatenate([base, base, np.nextafter(base, 9), base * 2.0**-60, base * 2.0**-107])
    codes = np.tile(np.arange(400), 5)
    sums = sums_of(rows, codes, 400)
    for number in TYPES:
        form = FORMATS[number]
        before = np.zeros((400, 1), form.host)
        quick = _means.rounded_means(sums, before, form)
        with monkeypatch.context() as patch:
            unsure = (before.copy(), np.zeros((400, 1), bool))
            patch.setattr(_means, "_quick_means", lambda *_, unsure=unsure: unsure)
            assert np.array_equal(_means.rounded_means(sums, before, form), quick)


@pytest.mark.rows("number", TYPES)
def test_means_beside_a_tie_are_rounded_to_their_side(number):
    """1 + half a unit + or - little; where it is least, a pair of floats cannot hold it."""
    all_little = [[2.0**-60, -(2.0**-60), 0.0], [2.0**-66, 2.0**-98], [2.0**-148, -(2.0**-148)]]
    half = 2.0 ** -FORMATS[number].precision
    for little, odd in itertools.product(map(np.array, all_little), (0.0, 2 * half)):
        rows = np.zeros((4, len(little)))
        rows[0], rows[1], rows[2] = 4.0 * (1.0 + odd), 4.0 * half, 4.0 * little
        before = np.zeros((1, len(little)), FORMATS[number].host)
        summer = CellSummer(Grids(tight_extent_of(rows)), *before.shape)
        summer.add(rows, np.zeros(4, int), None)
        means = _means.rounded_means(summer.result(), before, FORMATS[number])
        tie = Fraction(1) + Fraction(odd) + Fraction(half)
        exact = [rounded(tie + Fraction(small), number) for small in little.tolist()]
        assert means[0].tolist() == exact


@pytest.mark.rows("number", TYPES)
def test_inertia_is_rounded_once(number):
    rows = numbers(tensor(200.0 + RNG.standard_normal((90, 3)), number))
    codebook = numbers(tensor(200.0 + RNG.standard_normal((5, 3)), number))
    codes, weights = RNG.integers(0, 5, 90), RNG.random(90)
    for masses in (None, weights):
        sums = sums_of(rows, codes, 5, masses)
        extent = sums.grids.rows
        unit = 0 if masses is None else sums.grids.weights.lowest
        whole = None if masses is None else _inertia.whole_numbers(masses, unit)
        squares = _inertia.square_total(rows, extent, whole)
        factors = np.ones(90) if masses is None else masses
        exact = sum(
            Fraction(float(w))
            * sum((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(x, c, strict=True))
            for w, x, c in zip(factors, rows.tolist(), codebook[codes].tolist(), strict=True)
        )
        assert _inertia.rounded_inertia(sums, codebook, squares) == float(exact)


def test_wide_exponents_take_the_way_of_integers():
    rows = np.array([[1e300, 1e-300], [-1e-320, 3.0]])
    parts = _inertia.row_squares(rows, extent_of(rows))
    ((offset, squares),) = parts
    exact = [sum(Fraction(x) ** 2 for x in row) for row in rows.tolist()]
    unit = Fraction(4) ** extent_of(rows).lowest
    assert [int(n) * unit for n in squares] == exact
    assert offset == 0
    far = certvq.kmeans(np.array([[1e300], [-1e300], [0.0]]), 1, iterations=0, start=[[0.0]])
    assert far.inertia == np.inf


def rounded_unit(vector, number):
    """Round ``x / |x|``: compare squares of candidates' midpoints, so no root is rounded."""
    square = sum(x * x for x in vector)
    for x in vector:
        size = x * x / square
        scaled = Fraction(isqrt(int(size * 4**300)), 2**300)  # below the root by less than 2**-300
        exact = scaled * scaled == size
        yield (1 if x > 0 else -1) * rounded(
            scaled if exact else scaled + Fraction(1, 2**301), number
        )


@pytest.mark.rows("number", TYPES)
def test_directions_are_rounded_once(number):
    form = FORMATS[number]
    rows = numbers(tensor(RNG.standard_normal((40, 3)), number))
    rows[0], rows[1], rows[2] = (3, 4, 0), (1, 0, 0), (2.0**-14, 1, -1)
    units = _unit.unit_rows(rows, form)
    for row, unit in zip(rows.tolist(), units.tolist(), strict=True):
        assert unit == list(rounded_unit([Fraction(x) for x in row], number))
    sums = sums_of(rows, np.arange(40) % 7, 9)
    before = np.full((9, 3), 0.5, form.host)
    means = _unit.unit_means(sums, before, form)
    for total, mean in zip(sums.integers()[:7], means.tolist(), strict=False):
        assert mean == list(rounded_unit([Fraction(x) for x in total], number))
    assert (means[7:] == 0.5).all()


def test_directions_agree_with_integers_near_boundaries(monkeypatch):
    rows = RNG.standard_normal((300, 2)) * 2.0 ** RNG.integers(-450, 450, (300, 1))
    rows[:50] = RNG.standard_normal((50, 2)) * 2.0 ** RNG.integers(-500, 500, (50, 2))
    for number in TYPES:
        quick = _unit.unit_rows(rows, FORMATS[number])
        exact = [
            _unit._exact_unit(_inertia.whole_numbers(row, extent_of(row).lowest), FORMATS[number])
            for row in rows
        ]
        assert quick.tolist() == exact


def test_the_kernel_divides_and_multiplies_as_numpy_does(monkeypatch):
    """Means are ties of two floats, or below or above one by less than float64 can tell."""
    base = np.float32(RNG.integers(2**23, 2**24, (300, 3)) * 2.0**-23)
    base *= RNG.choice([-1, 1], base.shape).astype(np.float32)
    hair = RNG.choice([-1, 0, 1], base.shape) * 2.0**-52
    rows = np.concatenate([base, np.nextafter(base, np.float32(9)), hair, np.zeros_like(base)])
    codes = np.tile(np.arange(300), 4)
    rows, codes = rows[codes != 7].astype(np.float64), codes[codes != 7]
    form = FORMATS["float32"]
    summer = CellSummer(Grids(tight_extent_of(rows)), 300, 3)
    summer.add(rows, codes, None)
    sums, vectors = summer.result(), RNG.standard_normal((300, 3)).astype(np.float32)
    assert _means._fit(sums, form) == certvq._native.AVAILABLE
    square = _inertia.square_total(rows, sums.grids.rows, None)
    means = _means.rounded_means(sums, vectors, form)
    inertia = _inertia.rounded_inertia(sums, vectors, square)
    assert (means[7] == vectors[7]).all()
    monkeypatch.setattr(certvq._native, "AVAILABLE", False)
    expected = _means.rounded_means(sums, vectors, form)
    assert np.array_equal(means.view(np.uint32), expected.view(np.uint32))
    assert inertia == _inertia.rounded_inertia(sums, vectors, square)
