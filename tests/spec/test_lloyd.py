"""The iteration of k-means, by definition."""

from fractions import Fraction

import pytest

from certvq import spec
from certvq.errors import ShapeError

BOOK = spec.Codebook(((0,), (2,), (2,)))


def test_a_tie_goes_to_the_lowest_code_and_an_empty_cell_keeps_its_vector():
    step = spec.lloyd_iteration(BOOK, ((1,), (2,), (4,)))
    assert step.codes == (0, 1, 1)
    assert step.inertia == 1 + 0 + 4
    assert step.masses == (1, 2, 0)
    assert step.means.embedding == ((1,), (3,), (2,))


def test_weights_count_points():
    points = ((0, 1), (0, 4), (9, 9))
    book = spec.Codebook(((0, 0), (9, 8)))
    weighed = spec.lloyd_iteration(book, points, (2, Fraction(1, 2), 0))
    assert weighed.masses == (Fraction(5, 2), 0)
    assert weighed.means.embedding == ((0, Fraction(4, 1) * 2 / 5), (9, 8))
    assert weighed.inertia == 2 * 1 + Fraction(16, 2)
    repeated = spec.lloyd_iteration(book, (points[0], points[0], points[1]))
    assert spec.lloyd_iteration(book, points, (2, 1, 0)).means == repeated.means


def test_means_never_raise_the_inertia_of_the_same_codes():
    """lloyd_iteration_distortion_le, on points of a grid."""
    points = tuple((x * x % 7, x * 3 % 5) for x in range(12))
    book = spec.Codebook(points[:3])
    for _ in range(4):
        step = spec.lloyd_iteration(book, points)
        after = sum(
            spec.squared_l2(p, step.means.embedding[c])
            for p, c in zip(points, step.codes, strict=True)
        )
        assert after <= step.inertia
        book = step.means


def test_weights_must_be_as_many_as_points():
    with pytest.raises(ShapeError, match="came 1 weights for 2 points"):
        spec.lloyd_iteration(BOOK, ((1,), (2,)), (1,))
