"""Thresholds: each float lies just below its real number."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from certvq.nn._scalar.thresholds import (
    below_float32,
    below_fraction,
    below_half_logarithm,
    count_below,
)


@given(st.fractions())
def test_fractions_are_rounded_down(number):
    below = below_fraction(number)
    assert Fraction(below) <= number < Fraction(math.nextafter(below, math.inf))


@given(st.fractions(min_value=Fraction(1, 10**5), max_value=10**6, max_denominator=10**5))
def test_logarithms_are_rounded_down(ratio):
    below = below_half_logarithm(ratio)
    with localcontext() as context:
        context.prec = 200
        exact = (Decimal(ratio.numerator) / Decimal(ratio.denominator)).ln() / 2
    assert Decimal(below) <= exact < Decimal(math.nextafter(below, math.inf))
    assert (Decimal(below) == exact) == (ratio == 1)


@given(st.floats(-1e30, 1e30))
def test_float32_is_rounded_down(number):
    table = torch.tensor([number], dtype=torch.float64)
    below = below_float32(table)
    above = torch.nextafter(below, torch.tensor([math.inf]))
    assert below.double() <= table < above.double()


def test_infinity_stays():
    assert below_float32(torch.tensor([math.inf], dtype=torch.float64)).item() == math.inf


@pytest.mark.rows("most", [1, 5, 32, 127, 128, 200])
@pytest.mark.rows("count", [0, 1, 3000])
@pytest.mark.rows("dtype", [torch.float32, torch.float64])
def test_counting_is_counting(most, count, dtype):
    generator = torch.Generator().manual_seed(most + count)
    limits = torch.randn(2, most, generator=generator).sort().values.to(dtype)
    limits[1, most // 2 :] = math.inf
    latents = torch.randn(2, count, generator=generator).to(dtype)
    if count:
        latents[:, : min(count, most)] = limits[:, : min(count, most)].nan_to_num(posinf=3.0)
    got = count_below(latents, limits)
    for row, line, result in zip(latents.tolist(), limits.tolist(), got.tolist(), strict=True):
        assert result == [sum(limit < latent for limit in line) for latent in row]
