"""Latents are refused just when an entry is NaN or infinite."""

import math

import pytest
import torch

from certvq.errors import NonFiniteError
from certvq.nn._core.latents import finite_error, require_finite_latents


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_bad_entry_is_named(bad):
    tokens = torch.zeros(3, 2)
    tokens[1, 1] = bad
    with pytest.raises(NonFiniteError, match=f"got {bad} at row 1, column 1"):
        require_finite_latents(tokens)
    assert "row 1" in str(finite_error(tokens))


def test_opposite_infinities_do_not_cancel():
    tokens = torch.tensor([[math.inf, -math.inf]])
    assert finite_error(tokens) is not None


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_sum_that_overflows_is_no_error(dtype):
    tokens = torch.full((100, 2), torch.finfo(dtype).max, dtype=dtype)
    assert finite_error(tokens) is None
    assert finite_error(tokens[:0]) is None
