"""Floats kept as integers: the same bits, also under torch.func."""

import math

import pytest
import torch
from torch import func

from certvq.nn._core.bits import floats_of

NUMBERS = [[0.5, -0.0, math.inf], [5e-324, 1e-40, -3.25]]
WIDTHS = {torch.float16: torch.int16, torch.float32: torch.int32, torch.float64: torch.int64}
each = pytest.mark.parametrize("dtype", WIDTHS)


@each
def test_it_is_a_view(dtype, same_bits):
    numbers = torch.tensor(NUMBERS, dtype=dtype)
    bits = numbers.view(WIDTHS[dtype])
    found = floats_of(bits, dtype)
    assert same_bits(found, numbers)
    assert found.data_ptr() == bits.data_ptr()


@each
@pytest.mark.parametrize("axis", [0, 1])
def test_vmap_gives_the_same_bits(dtype, axis, same_bits):
    numbers = torch.tensor(NUMBERS, dtype=dtype)
    bits = numbers.view(WIDTHS[dtype])
    found = func.vmap(lambda part: floats_of(part, dtype), in_dims=axis, out_dims=axis)(bits)
    assert same_bits(found, numbers)
    nested = func.vmap(func.vmap(lambda one: floats_of(one[None], dtype)[0]))
    assert same_bits(nested(bits), numbers)
    assert same_bits(bits, numbers.view(WIDTHS[dtype]))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's
def test_they_are_constants_of_derivatives():
    bits = torch.tensor([3.0, -2.0]).view(torch.int32)
    slope = func.grad(lambda x: (floats_of(bits, torch.float32) * x).sum())(torch.ones(2))
    assert slope.tolist() == [3.0, -2.0]
    _, moved = func.jvp(
        lambda x: floats_of(bits, torch.float32) * x, (torch.ones(2),), (torch.ones(2),)
    )
    assert moved.tolist() == [3.0, -2.0]
