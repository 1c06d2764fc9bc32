"""Packed vectors hold exactly the numbers that they were made from."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certvq._lean import pack
from certvq._lean._packing import define_list

finite = st.floats(allow_nan=False, allow_infinity=False)
vectors = st.integers(1, 4).flatmap(
    lambda dim: st.tuples(
        st.lists(st.lists(finite, min_size=dim, max_size=dim), max_size=3),
        st.lists(st.lists(finite, min_size=dim, max_size=dim), min_size=1, max_size=3),
    )
)


def unpacked(packed, number):
    """Read a vector as `vector` of certificate.lean does."""
    base = 2**packed.bits
    digits = [number // 2 ** (packed.bits * k) % base for k in range(packed.dim)]
    return [(digit - base // 2) * Fraction(2) ** packed.exponent for digit in digits]


@given(vectors)
def test_every_float_comes_back_exactly(both):
    latents, codebook = both
    packed = pack(latents, codebook)
    assert [unpacked(packed, z) for z in packed.latents] == latents
    assert [unpacked(packed, c) for c in packed.codebook] == codebook
    assert all(number < 2 ** (packed.bits * packed.dim) for number in packed.latents)
    for row, z in enumerate(latents):
        for code, c in enumerate(codebook):
            exact = sum((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(z, c, strict=True))
            assert packed.sqdist(row, code) * Fraction(4) ** packed.exponent == exact


@pytest.mark.parametrize(
    ("value", "bits", "exponent"),
    [(0.0, 4, 0), (7.0, 4, 0), (8.0, 4, 3), (9.0, 8, 0), (-127.0, 8, 0), (0.75, 4, -2)],
)
def test_no_bit_is_wasted_but_to_fill_a_hexadecimal_digit(value, bits, exponent):
    packed = pack([[value]], [[0.0]])
    assert (packed.bits, packed.exponent) == (bits, exponent)


def test_of_the_whole_range_of_float64_the_bits_suffice():
    packed = pack([[5e-324]], [[1.7976931348623157e308]])
    assert (packed.bits, packed.exponent) == (2100, -1074)


def test_a_long_list_is_put_together_from_short_ones():
    assert define_list("none", []) == ["def none : List Nat := []"]
    lines = define_list("many", range(130), str)
    assert lines[0] == "def many128 : List Nat := [128, 129]"
    assert lines[1].startswith("def many64 : List Nat := 64 :: 65 :: ")
    assert lines[1].endswith(" :: 127 :: many128")
    assert lines[2].startswith("def many : List Nat := 0 :: 1 :: ")
    assert lines[2].endswith(" :: 63 :: many64")
    assert len(lines) == 3
