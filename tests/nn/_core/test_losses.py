"""The mean of squares, wide enough and also of nothing."""

import pytest
import torch

from certvq.nn._core.losses import known_mean_square, mean_square, saturated


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


def test_known_distances_give_the_same_mean_and_gradients(seeded):
    left, right = (
        torch.randn(3, 2, dtype=torch.float64, generator=seeded(s), requires_grad=True)
        for s in (0, 1)
    )
    sqdist = (left - right).detach().square().sum(1)
    known, plain = known_mean_square(left, right, sqdist), mean_square(left, right)
    torch.testing.assert_close(known, plain)
    found = torch.autograd.grad(3.0 * known, (left, right))
    torch.testing.assert_close(found, torch.autograd.grad(3.0 * plain, (left, right)))


def test_known_distances_of_mixed_types():
    left = torch.full((2, 4), 300.0, dtype=torch.float16, requires_grad=True)
    right = torch.zeros(2, 4, requires_grad=True)
    value = known_mean_square(left, right, torch.full((2,), 360000.0, dtype=torch.float64))
    value.backward()
    assert (value.dtype, value.item()) == (torch.float32, 90000.0)
    assert (left.grad.dtype, right.grad.dtype) == (torch.float16, torch.float32)
    assert left.grad.unique().tolist() == [75.0]
    assert right.grad.unique().tolist() == [-75.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_means_beyond_the_greatest_number_are_that_number(dtype):
    """Infinity times a weight of 0 would be NaN."""
    most = torch.finfo(dtype).max
    left, right = torch.full((2, 3), most, dtype=dtype), torch.full((2, 3), -most, dtype=dtype)
    assert mean_square(left, right) == most
    sqdist = torch.full((2,), torch.inf, dtype=torch.float64)
    assert known_mean_square(left, right, sqdist) == most
    assert saturated(torch.tensor(torch.inf, dtype=dtype)) == most
    assert saturated(torch.tensor(-2.0, dtype=dtype)) == -2.0


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1.5, 2e-10])
def test_saturated_means_have_no_slope_where_they_overflow(kind, size):
    """The greatest number of a type times 2 is infinite, and 0 times infinity is NaN."""
    left = torch.full((2, 3), torch.finfo(kind).max / 4 * size, dtype=kind, requires_grad=True)
    right = -left.detach()
    loss = mean_square(left, right)
    assert loss == torch.finfo(kind).max
    (slope,) = torch.autograd.grad(loss, left)
    assert torch.equal(slope, torch.zeros_like(left))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own
def test_known_distances_in_forward_mode():
    """Exact: dyadic numbers, and 2 / 4 as the factor."""
    left, right = torch.tensor([[1.0, 3.0], [2.0, 0.5]]), torch.tensor([[0.0, 1.0], [2.0, 2.5]])
    moves = torch.tensor([[4.0, 1.0], [8.0, -2.0]]), torch.tensor([[0.0, 2.0], [1.0, 1.0]])
    sqdist = torch.tensor([5.0, 4.0], dtype=torch.float64)
    value, moved = torch.func.jvp(
        lambda a, b: known_mean_square(a, b, sqdist), (left, right), moves
    )
    assert value == 2.25
    assert moved == ((left - right) * (moves[0] - moves[1])).sum() / 2
