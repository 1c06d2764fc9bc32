"""The mean of squares, wide enough and also of nothing."""

import torch

from certvq.nn._core.losses import mean_square


def test_half_precision_does_not_overflow():
    left = torch.full((4,), 300.0, dtype=torch.float16)
    assert mean_square(left, torch.zeros_like(left)) == 90000.0


def test_the_wider_type_wins():
    left, right = torch.ones(2, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.float64)
    assert mean_square(left, right).dtype == torch.float64


def test_nothing_has_mean_zero():
    assert mean_square(torch.zeros(0, 3), torch.zeros(0, 3)) == 0.0


def test_gradcheck(seeded):
    left, right = (
        torch.randn(3, 2, dtype=torch.float64, generator=seeded(s), requires_grad=True)
        for s in (0, 1)
    )
    assert torch.autograd.gradcheck(mean_square, (left, right))
