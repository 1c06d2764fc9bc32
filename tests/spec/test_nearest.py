"""Nearest codes: the predicate, the set, the lowest one, and the argmin."""

import re
from fractions import Fraction

import numpy as np
import pytest

from certvq import spec
from certvq.errors import CodeRangeError, DTypeError, NonFiniteError, ShapeError

BOOK = spec.Codebook(((0.0, 0.0), (1.0, 1.0), (-1.0, 0.5)))
Z = (1.0, -0.5)
TIED = spec.Codebook(((5,), (0,), (2,), (0,)))
QUESTIONS = [
    spec.squared_distances,
    lambda codebook, z: spec.nearest_code_conditions(codebook, z, 0),
    lambda codebook, z: spec.is_nearest_code(codebook, z, 0),
    spec.nearest_codes,
    spec.nearest_code,
]


def test_documented_example_has_one_nearest_code():
    assert spec.squared_distances(BOOK, Z) == (1.25, 2.25, 5.0)
    assert [spec.is_nearest_code(BOOK, Z, code) for code in range(3)] == [True, False, False]
    assert spec.nearest_codes(BOOK, Z) == (0,)
    assert spec.nearest_code(BOOK, Z) == 0


def test_ties_are_all_nearest_and_the_lowest_is_chosen():
    assert [spec.is_nearest_code(TIED, (1,), code) for code in range(4)] == [
        False,
        True,
        True,
        True,
    ]
    assert spec.nearest_codes(TIED, (1,)) == (1, 2, 3)
    assert spec.nearest_code(TIED, (1,)) == 1


def test_conditions_compare_the_code_with_every_code():
    assert spec.nearest_code_conditions(TIED, (1,), 2) == (True, True, True, True)
    assert spec.nearest_code_conditions(TIED, (1,), 0) == (True, False, False, False)


def test_codes_of_any_rank():
    codebook = spec.Codebook((((0, 0), (0, 0)), ((1, 1), (1, 2))))
    assert spec.nearest_codes(codebook, ((1, 1), (1, 1))) == (1,)
    assert spec.nearest_codes(spec.Codebook((3, 8)), 5) == (0,)


def test_tensors_without_entries_are_at_distance_zero():
    assert spec.nearest_codes(spec.Codebook(((), ())), ()) == (0, 1)


def test_floats_are_decided_as_they_round_and_fractions_as_they_are():
    """From -1 the doubles 2**-60 and 0 are equally far; the numbers that they stand for are not."""
    codebook, z = spec.Codebook(((2.0**-60,), (0.0,))), (-1.0,)
    assert spec.nearest_codes(codebook, z) == (0, 1)
    assert spec.nearest_codes(spec.Codebook(spec.exact(codebook.embedding)), spec.exact(z)) == (1,)


def test_empty_codebook_has_no_nearest_code():
    assert spec.nearest_codes(spec.Codebook(()), (1, 2)) == ()
    assert spec.squared_distances(spec.Codebook(()), (1, 2)) == ()
    with pytest.raises(ShapeError, match="at least one code vector, the codebook has 0"):
        spec.nearest_code(spec.Codebook(()), (1, 2))


@pytest.mark.parametrize("ask", QUESTIONS)
def test_latent_of_another_shape_is_refused_with_both(ask):
    text = "the latent has shape (3,) and every code vector has shape (2,)"
    with pytest.raises(ShapeError, match=re.escape(text)):
        ask(BOOK, (1, 2, 3))


@pytest.mark.parametrize("ask", QUESTIONS)
@pytest.mark.parametrize(
    ("z", "codes", "text"),
    [
        (
            (float("nan"),),
            ((1.0,), (2.0,)),
            "the squared distance to code 0 must be finite, came nan",
        ),
        (
            (1.0,),
            ((1.0,), (float("inf"),)),
            "the squared distance to code 1 must be finite, came inf",
        ),
        (
            (1e200,),
            ((1e200,), (-1e200,)),
            "the squared distance to code 1 must be finite, came inf",
        ),
    ],
)
def test_nan_infinity_and_overflow_are_refused(ask, z, codes, text):
    with pytest.raises(NonFiniteError, match=f"{text}; remove NaN and infinity, and give exact"):
        ask(spec.Codebook(codes), z)


def test_exact_numbers_cannot_overflow():
    codebook = spec.Codebook(spec.exact(((1e200,), (-1e200,))))
    assert spec.nearest_codes(codebook, spec.exact((-1.0,))) == (1,)
    assert spec.nearest_codes(spec.Codebook(((10**400,), (0,))), (10**399,)) == (1,)


@pytest.mark.parametrize("ask", [spec.is_nearest_code, spec.nearest_code_conditions, spec.score])
def test_the_code_asked_about_must_exist(ask):
    with pytest.raises(CodeRangeError, match=re.escape("range(3), came 3")):
        ask(BOOK, Z, 3)
    with pytest.raises(DTypeError, match="came False of type bool"):
        ask(BOOK, Z, False)


@pytest.mark.parametrize(
    ("values", "expected"),
    [((4,), 0), ((3, 1, 2), 1), ((1, 1, 1), 0), ((2, 1, 1, 0, 0), 3), ((0.5, -0.0, 0.0), 1)],
)
def test_argmin_keeps_the_first_of_equal_values(values, expected):
    assert spec.argmin(values) == expected


def test_argmin_reads_each_value_once_from_left_to_right():
    asked = []

    class Value:
        def __init__(self, number):
            self.number = number

        def __lt__(self, other):
            asked.append((self.number, other.number))
            return self.number < other.number

    assert spec.argmin([Value(3), Value(5), Value(1), Value(1)]) == 2
    assert asked == [(5, 3), (1, 3), (1, 1)]


def test_argmin_of_nothing_is_refused():
    with pytest.raises(ShapeError, match="argmin needs at least one value, came 0"):
        spec.argmin(())


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((1.0, float("nan")), "value 1 must be finite, came nan"),
        ((float("-inf"), 0.0), "value 0 must be finite, came -inf"),
        ((1.0, np.float32("inf")), r"value 1 must be finite, came np.float32\(inf\)"),
    ],
)
def test_argmin_of_nan_or_infinity_is_refused(values, text):
    with pytest.raises(NonFiniteError, match=text):
        spec.argmin(values)


def test_score_is_half_the_gain_over_the_origin():
    codebook, z = spec.Codebook(((0, 0), (3, 1), (1, 2))), (1, 2)
    assert [spec.score(codebook, z, code) for code in range(3)] == [0, 0, Fraction(5, 2)]
    for code, vector in enumerate(codebook.embedding):
        gain = spec.squared_l2(z, (0, 0)) - spec.squared_l2(z, vector)
        assert 2 * spec.score(codebook, z, code) == gain


def test_score_refuses_another_shape():
    text = "the latent has shape (1,) and every code vector has shape (2,)"
    with pytest.raises(ShapeError, match=re.escape(text)):
        spec.score(BOOK, (1,), 0)
