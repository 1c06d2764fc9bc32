"""The codebook with its explicit index: lookup, and what is refused."""

import dataclasses
import re

import numpy as np
import pytest

from certvq.errors import CodeRangeError, DTypeError, ShapeError
from certvq.spec import Codebook, quantize_at
from certvq.spec._codebook import require_code

BOOK = Codebook(((0, 0), (1, 1), (-1, 2)))


def test_codebook_holds_tuples_and_its_size():
    vectors = [[0, 0], [1, 1]]
    codebook = Codebook(vectors)
    vectors[0][0] = 99
    assert codebook.embedding == ((0, 0), (1, 1))
    assert codebook.num_codes == 2
    assert codebook == Codebook(((0, 0), (1, 1)))


@pytest.mark.parametrize("field", ["embedding", "size"])
def test_codebook_cannot_be_changed(field):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(BOOK, field, ())


def test_codebook_may_be_empty_or_of_rank_zero_codes():
    assert Codebook(()).num_codes == 0
    assert Codebook((3, 4)).num_codes == 2


def test_code_vectors_of_unlike_shapes_are_refused_with_both():
    text = "code vector 0 has shape (2,) and code vector 2 has shape (3,)"
    with pytest.raises(ShapeError, match=re.escape(text)):
        Codebook(((1, 2), (3, 4), (5, 6, 7)))


@pytest.mark.parametrize(
    ("vectors", "error", "text"),
    [
        (7, ShapeError, "came a scalar (7); for one code of rank 0 give a tuple of length 1"),
        (np.ones((2, 2)), DTypeError, "came ndarray; give an array as array.tolist()"),
    ],
)
def test_scalar_or_array_is_no_codebook(vectors, error, text):
    with pytest.raises(error, match=re.escape(text)):
        Codebook(vectors)


@pytest.mark.parametrize("integer", [int, np.int64, np.uint8])
def test_quantize_at_looks_the_code_vector_up(integer):
    found = [quantize_at(BOOK, integer(code)) for code in range(3)]
    assert found == [(0, 0), (1, 1), (-1, 2)]


@pytest.mark.parametrize("code", [3, -1, 10**20])
def test_code_out_of_range_is_refused_with_the_range(code):
    text = f"a code must lie in range(3), came {code}; the codebook has 3 code vectors"
    with pytest.raises(CodeRangeError, match=re.escape(text)):
        require_code(BOOK, code)


def test_no_code_lies_in_an_empty_codebook():
    with pytest.raises(CodeRangeError, match=re.escape("in range(0), came 0")):
        quantize_at(Codebook(()), 0)


@pytest.mark.parametrize(
    ("code", "name"), [(True, "bool"), (1.0, "float"), ("1", "str"), (None, "NoneType")]
)
def test_what_is_no_integer_is_no_code(code, name):
    text = f"a code must be an integer in range(3), came {code!r} of type {name}; give an int"
    with pytest.raises(DTypeError, match=re.escape(text)):
        require_code(BOOK, code)
