"""Unit vectors at every scale."""

import pytest
import torch

from certvq.nn._core.similarity import unit_rows


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("share", [0.9, 1e-3])
def test_huge_numbers_keep_their_direction(dtype, share):
    """The squares of these overflow."""
    big = torch.finfo(dtype).max * share
    units = unit_rows(torch.tensor([[big, -big, 0.0], [1.0, 0.0, 0.0]], dtype=dtype))
    assert units.dtype == torch.promote_types(dtype, torch.float32)
    half = 0.5**0.5
    expected = torch.tensor([[half, -half, 0.0], [1.0, 0.0, 0.0]], dtype=units.dtype)
    torch.testing.assert_close(units, expected)


def test_short_vectors_are_not_blown_up():
    rows = torch.tensor([[0.0, 0.0], [1e-7, 0.0]], requires_grad=True)
    units = unit_rows(rows)
    torch.testing.assert_close(units, torch.tensor([[0.0, 0.0], [0.1, 0.0]]))
    units.sum().backward()
    assert torch.isfinite(rows.grad).all()


def test_the_gradient_is_that_of_the_formula(seeded):
    rows = torch.randn(5, 3, dtype=torch.float64, generator=seeded(), requires_grad=True)
    assert torch.autograd.gradcheck(unit_rows, (rows,))
