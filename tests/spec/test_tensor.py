"""Nested shapes of any rank."""

import re
from fractions import Fraction

import numpy as np
import pytest

from certvq.errors import DTypeError, ShapeError
from certvq.spec._tensor import (
    divided,
    entries,
    frozen,
    is_nested,
    map_entries,
    require_same_shape,
    shape,
    total,
)


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (3, ()),
        (Fraction(1, 3), ()),
        ((), (0,)),
        ([], (0,)),
        ((1,), (1,)),
        ([(1, 2, 3), [4, 5, 6]], (2, 3)),
        (((), ()), (2, 0)),
        ((((1,), (2,)),), (1, 2, 1)),
    ],
)
def test_shape_lists_the_axes_outermost_first(tensor, expected):
    assert shape(tensor) == expected


def test_ragged_tensor_is_refused_with_both_shapes():
    text = "part 0 has shape (2,) and part 2 has shape (3,)"
    with pytest.raises(ShapeError, match=re.escape(text)):
        shape(((1, 2), (3, 4), (5, 6, 7)))


def test_scalar_beside_a_vector_is_ragged():
    text = "part 0 has shape () and part 1 has shape (1,)"
    with pytest.raises(ShapeError, match=re.escape(text)):
        shape((1, (2,)))


@pytest.mark.parametrize(
    ("container", "name"),
    [(np.ones((2, 2)), "ndarray"), ("12", "str"), ({1, 2}, "set"), (range(2), "range")],
)
def test_other_containers_are_refused_by_name(container, name):
    with pytest.raises(DTypeError, match=f"nested tuples or lists of scalars, came {name}; give"):
        is_nested(container)
    with pytest.raises(DTypeError, match=f"came {name}"):
        entries([container])


def test_entries_run_in_row_major_order():
    assert entries((((1, 2), (3, 4)), ((5, 6), (7, 8)))) == (1, 2, 3, 4, 5, 6, 7, 8)
    assert entries(9) == (9,)
    assert entries(((), ())) == ()


def test_frozen_copies_lists_into_tuples():
    lists = [[1, 2], [3, 4]]
    copy = frozen(lists)
    lists[0][0] = 99
    assert copy == ((1, 2), (3, 4))


def test_map_entries_keeps_the_shape():
    assert map_entries(lambda a: a * a, ((1, 2), (3, 4))) == ((1, 4), (9, 16))
    assert map_entries(lambda a, b, c: a + b * c, 1, 2, 3) == 7
    assert map_entries(lambda a: a, ((), ())) == ((), ())


def test_same_shape_is_returned_whatever_the_nesting_is_made_of():
    assert require_same_shape([[1], [2]], ((3,), (4,))) == (2, 1)


def test_unlike_shapes_are_refused_with_names_and_shapes():
    text = "the latent has shape (2,) and code 1 has shape (2, 1); give"
    with pytest.raises(ShapeError, match=re.escape(text)):
        require_same_shape((1, 2), ((1,), (2,)), names=("the latent", "code 1"))


def test_total_adds_floats_from_left_to_right_without_compensation():
    assert total((1e16, 1.0, -1e16)) == 0.0
    assert total((1e16, -1e16, 1.0)) == 1.0
    assert total(()) == 0


def test_integers_are_divided_exactly():
    assert divided(2**80 + 1, 2) == Fraction(2**80 + 1, 2)
    assert divided(Fraction(1, 3), 3) == Fraction(1, 9)
    assert type(divided(1.0, 4)) is float
