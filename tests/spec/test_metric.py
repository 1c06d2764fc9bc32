"""Dot products, squared distances and their mean."""

import re
from fractions import Fraction

import pytest

from certvq.errors import DTypeError, ShapeError
from certvq.spec import dot, mse, squared_l2


def test_dot_sums_the_products_of_all_entries():
    assert dot((1, 2, 3), (4, 5, -6)) == 4 + 10 - 18
    assert dot(((1, 2), (3, 4)), ((1, 0), (0, 1))) == 5
    assert dot((), ()) == 0


def test_squared_l2_sums_the_squares_of_the_gaps():
    assert squared_l2((1, 2), (4, -2)) == 9 + 16
    assert squared_l2((((1,), (2,)),), (((0,), (0,)),)) == 5
    assert squared_l2(3, Fraction(1, 2)) == Fraction(25, 4)
    assert squared_l2((), ()) == 0


def test_squared_l2_does_not_expand_the_square():
    """On floats the expanded form x.x - 2 x.y + y.y would give 0 here."""
    assert squared_l2((1e9 + 1,), (1e9,)) == 1.0


def test_mse_divides_by_the_number_of_entries_of_any_rank():
    assert mse((1, 2), (0, 0)) == Fraction(5, 2)
    assert mse(((1, 2), (3, 4)), ((0, 0), (0, 0))) == Fraction(30, 4)
    assert mse(3, 1) == 4


def test_documented_distances_of_the_three_codes():
    codes = ((0.0, 0.0), (1.0, 1.0), (-1.0, 0.5))
    assert [mse((1.0, -0.5), code) for code in codes] == [0.625, 1.125, 2.5]


def test_integers_never_round():
    assert squared_l2((10**30,), (-1,)) == (10**30 + 1) ** 2
    assert mse((10**30, 0), (-1, 0)) == Fraction((10**30 + 1) ** 2, 2)


@pytest.mark.parametrize("function", [dot, squared_l2, mse])
def test_unlike_shapes_are_refused_with_both(function):
    text = "x has shape (2,) and y has shape (3,)"
    with pytest.raises(ShapeError, match=re.escape(text)):
        function((1, 2), (1, 2, 3))


@pytest.mark.parametrize("function", [dot, squared_l2, mse])
def test_tensors_of_equally_many_entries_but_other_rank_are_refused(function):
    text = "x has shape (4,) and y has shape (2, 2)"
    with pytest.raises(ShapeError, match=re.escape(text)):
        function((1, 2, 3, 4), ((1, 2), (3, 4)))


@pytest.mark.parametrize("function", [dot, squared_l2, mse])
def test_other_containers_are_refused(function):
    with pytest.raises(DTypeError, match="came str"):
        function("ab", "ab")


@pytest.mark.parametrize("empty", [(), ((), ())])
def test_mse_of_no_entries_is_refused(empty):
    with pytest.raises(ShapeError, match="at least one entry, x and y have 0 entries"):
        mse(empty, empty)
