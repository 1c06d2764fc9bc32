"""Exact sums: grids, slices, digits, merging, and pairs of floats, against Python's integers."""

import pickle
from fractions import Fraction

import numpy as np
import pytest

from certvq.cluster._grid import Extent, OffGrid, extent_of, slices, tight_extent_of
from certvq.cluster._pairs import as_pair, two_product, two_sum
from certvq.cluster._sums import BLOCK, CellSummer, Grids, carried, digit_count, to_integers
from certvq.errors import ShapeError

RNG = np.random.default_rng(5)
WILD = RNG.standard_normal((60, 3)) * 2.0 ** RNG.integers(-1070, 1000, (60, 3))
CASES = {
    "noise": RNG.standard_normal((60, 3)),
    "subnormal": RNG.integers(-9, 9, (60, 3)) * 5e-324,
    "greatest": np.full((60, 3), np.finfo(np.float64).max),
    "zero": np.zeros((60, 3)),
    "wild": WILD,
}
WEIGHTS = np.where(RNG.random(60) < 0.3, 0.0, RNG.random(60) * 2.0 ** RNG.integers(-40, 40, 60))


def summed(rows, codes, size, weights=None, grids=None):
    if grids is None:
        grids = Grids(extent_of(rows), None if weights is None else tight_extent_of(weights))
    summer = CellSummer(grids, size, rows.shape[1])
    summer.add(rows, codes, weights)
    return summer.result()


@pytest.mark.rows(("name", "weights"), [(name, w) for name in CASES for w in (None, WEIGHTS)])
def test_sums_are_exact(name, weights):
    rows, codes = CASES[name], RNG.integers(0, 4, 60)
    sums = summed(rows, codes, 5, weights)
    unit = Fraction(2) ** sums.grids.products.lowest
    factors = np.ones(60) if weights is None else weights
    for cell, vector in enumerate(sums.integers()):
        own = np.flatnonzero(codes == cell)
        for column, value in enumerate(vector):
            terms = (Fraction(float(factors[i])) * Fraction(float(rows[i, column])) for i in own)
            assert value * unit == sum(terms, Fraction(0))
        mass = sum((Fraction(float(factors[i])) for i in own), Fraction(0))
        weight_unit = 1 if weights is None else Fraction(2) ** sums.grids.weights.lowest
        assert sums.masses()[cell] * weight_unit == mass
    assert sums.counts.tolist() == np.bincount(codes, minlength=5).tolist()
    assert 4 in sums.empty()


def test_parts_merge_in_any_order_to_equal_arrays():
    rows, codes = RNG.standard_normal((900, 4)), RNG.integers(0, 7, 900)
    weights = RNG.random(900)
    grids = Grids(extent_of(rows), tight_extent_of(weights))
    whole = summed(rows, codes, 7, weights, grids)
    parts = [
        summed(rows[cut], codes[cut], 7, weights[cut], grids)
        for cut in np.array_split(RNG.permutation(900), 10)
    ]
    parts = [pickle.loads(pickle.dumps(part)) for part in parts]  # noqa: S301
    merged = parts[3]
    for place in (9, 0, 5, 1, 2, 8, 7, 4, 6):
        merged = merged.merge(parts[place])
    assert np.array_equal(merged.digits, whole.digits)
    assert np.array_equal(merged.mass, whole.mass)
    assert np.array_equal(merged.counts, whole.counts)


def test_parts_of_other_grids_do_not_merge():
    one = summed(np.ones((2, 1)), np.zeros(2, int), 1)
    other = summed(np.full((2, 1), 0.1), np.zeros(2, int), 1)
    with pytest.raises(ShapeError, match="the same grids and shape to be merged, got Grids"):
        one.merge(other)


def test_a_full_block_of_greatest_numbers_fits():
    """One more bit in a slice would overflow 64 bits here."""
    rows = np.full((BLOCK, 1), 2.0**44 - 2.0**-8)
    sums = summed(rows, np.zeros(BLOCK, int), 1)
    assert sums.integers()[0][0] * Fraction(2) ** sums.grids.rows.lowest == BLOCK * Fraction(
        rows[0, 0]
    )
    weights = np.full(BLOCK, 1 - 2.0**-22)
    grids = Grids(extent_of(rows), tight_extent_of(weights))
    weighted = summed(rows, np.zeros(BLOCK, int), 1, weights, grids)
    exact = BLOCK * Fraction(rows[0, 0]) * Fraction(weights[0])
    assert weighted.integers()[0][0] * Fraction(2) ** grids.products.lowest == exact


def test_extents_hold_their_numbers():
    assert extent_of(np.zeros((2, 2))) == Extent(0, 0)
    assert tight_extent_of(np.array([0.0, 3.0, 8.0])) == Extent(0, 4)
    one, other = Extent(-3, 5), Extent(-9, 2)
    assert one.union(other) == other.union(one) == Extent(-9, 5)
    assert one.union(Extent(0, 0)) == Extent(0, 0).union(one) == one


@pytest.mark.rows("width", [21, 42, 45, 52])
def test_slices_make_up_their_numbers(width):
    for values in CASES.values():
        extent = extent_of(values)
        parts = list(slices(values, extent, width))
        total = sum(
            (part.astype(object) << offset for offset, part in parts), np.zeros((60, 3), object)
        )
        exact = [Fraction(x) for x in values.ravel().tolist()]
        assert [n * Fraction(2) ** extent.lowest for n in total.ravel().tolist()] == exact
        assert all(abs(part).max() <= 2**width for _, part in parts)


def test_numbers_beyond_the_grid_are_noticed():
    extent = extent_of(np.array([1.0, 2.0]))
    with pytest.raises(OffGrid, match="greater than any"):
        list(slices(np.array([4.0 * 2**90]), extent, 45))
    with pytest.raises(OffGrid, match="finer steps"):
        list(slices(np.array([2.0**-60]), extent, 45))


def test_digits_have_one_form():
    numbers = [0, 1, -1, 2**32, -(2**32), 2**95 + 7, -(2**95) - 7, 2**31, -(2**63)]
    places = digit_count(96)
    loose = np.array([[(n >> (32 * p)) & 0xFFFFFFFF for n in numbers] for p in range(places - 1)])
    top = np.array([n >> (32 * (places - 1)) for n in numbers])
    digits = np.concatenate([loose, top[None]])
    assert to_integers(digits).tolist() == numbers
    shifted = digits.copy()
    shifted[0] += 2**40
    shifted[1] -= 2**8
    assert np.array_equal(carried(shifted), digits)
    high, low, negative = as_pair(digits)
    for n, a, b, sign in zip(numbers, high, low, negative, strict=True):
        assert Fraction(float(a)) + Fraction(float(b)) == abs(n)
        assert bool(sign) == (n < 0)


def test_pairs_lose_nothing():
    a, b = RNG.standard_normal(200), RNG.standard_normal(200) * 2.0 ** RNG.integers(-50, 50, 200)
    for operation, exact in ((two_sum, lambda x, y: x + y), (two_product, lambda x, y: x * y)):
        value, error = operation(a, b)
        for x, y, v, e in zip(a, b, value, error, strict=True):
            assert Fraction(float(v)) + Fraction(float(e)) == exact(
                Fraction(float(x)), Fraction(float(y))
            )
