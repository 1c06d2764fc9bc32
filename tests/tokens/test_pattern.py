"""Patterns put codes in order for a language model, and take them out again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certvq.errors import CodeRangeError, OptionError, ShapeError
from certvq.tokens import Pattern

CODES = np.array([[1, 7, 0], [2, 6, 1], [3, 5, 0], [0, 4, 1]])
SIZES = (4, 8, 2)


def test_flat_has_one_vocabulary_after_another():
    pattern = Pattern("flat", SIZES)
    assert pattern.apply(CODES).tolist() == [1, 11, 12, 2, 10, 13, 3, 9, 12, 0, 8, 13]
    assert (pattern.starts, pattern.pad, pattern.vocabulary_size) == ((0, 4, 12), 14, 15)


def test_parallel_is_the_codes():
    pattern = Pattern("parallel", SIZES)
    assert pattern.apply(CODES).tolist() == CODES.tolist()
    assert (pattern.pad, pattern.vocabulary_size) == (8, 9)


def test_delayed_moves_each_codebook():
    assert Pattern("delayed", SIZES, pad=99).apply(CODES).tolist() == [
        [1, 99, 99],
        [2, 7, 99],
        [3, 6, 0],
        [0, 5, 1],
        [99, 4, 0],
        [99, 99, 1],
    ]


def test_offsets_and_pad_can_be_chosen():
    pattern = Pattern("parallel", SIZES, offsets=(100, 200, 300), pad=0)
    assert pattern.apply(CODES[:1]).tolist() == [[101, 207, 300]]
    assert pattern.vocabulary_size == 302
    assert Pattern("flat", SIZES, offsets=(0, 0, 0)).apply(CODES[:1]).tolist() == [1, 7, 0]


@given(
    st.sampled_from(["flat", "parallel", "delayed"]),
    st.integers(1, 5),
    st.integers(1, 9),
    st.data(),
)
def test_undo_gives_the_codes_back(name, codebooks, length, data):
    sizes = tuple(data.draw(st.integers(1, 9)) for _ in range(codebooks))
    codes = np.array([[data.draw(st.integers(0, k - 1)) for k in sizes] for _ in range(length)])
    pattern = Pattern(name, sizes)
    steps = pattern.apply(codes)
    assert len(steps) == pattern.steps(length)
    assert steps.max() < pattern.vocabulary_size
    assert pattern.undo(steps).tolist() == codes.tolist()


def test_numbers_that_are_no_codes_are_named():
    pattern = Pattern("flat", SIZES)
    with pytest.raises(
        CodeRangeError, match=r"token 1: 14 is no code of codebook 2.*at 12 and are 2"
    ):
        pattern.undo([0, 4, 12, 0, 4, 14])
    with pytest.raises(CodeRangeError, match="token 0: 0 is no code of codebook 1"):
        pattern.undo([0, 0, 12])


@pytest.mark.parametrize(
    ("name", "shape"), [("flat", (4,)), ("flat", (2, 3)), ("parallel", (3,)), ("delayed", (1, 3))]
)
def test_sequences_that_are_none_are_refused(name, shape):
    with pytest.raises(ShapeError, match=rf"a {name} sequence of 3 codebooks has no shape"):
        Pattern(name, SIZES).undo(np.zeros(shape, np.int64))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"name": "spiral"}, "pattern must be flat, parallel or delayed, got 'spiral'"),
        ({"name": "flat", "offsets": (0, 1)}, "offsets must be 3 numbers"),
        ({"name": "flat", "offsets": (0, 1, -1)}, "offsets must be 3 numbers from 0 on"),
        ({"name": "flat", "pad": 3}, "pad must be no code, such as 14, got 3"),
        ({"name": "flat", "pad": -1}, "pad must be no code"),
        ({"name": "flat", "offsets": (1 << 63, 0, 0)}, r"must be below 2\*\*63"),
    ],
)
def test_patterns_that_are_not_possible_are_refused(options, text):
    with pytest.raises(OptionError, match=text):
        Pattern(codebook_sizes=SIZES, **options)
