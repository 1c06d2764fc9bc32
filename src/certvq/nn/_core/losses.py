"""Mean squared errors that neither overflow in half precision nor fail on empty batches.

In: two tensors of one shape. Out: a scalar. Must not detach anything: what gets a gradient is the
caller's choice.
"""

from typing import Any

import torch

from certvq.nn._torch.modes import applied, transforming


def saturated(loss: torch.Tensor) -> torch.Tensor:
    """Return the loss, or the greatest number of its type where it is beyond that.

    Example:
        >>> saturated(torch.tensor(torch.inf)) == torch.finfo(torch.float32).max
        tensor(True)
    """
    return loss.clamp(max=torch.finfo(loss.dtype).max)


def mean_square(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the mean of the squared differences, in float32 or wider; 0 for empty tensors.

    Squares and sums that overflow give the greatest number of that type, and not infinity, whose
    product with a weight of 0 is NaN. The gradient is 0 then, and finite, as long as the
    differences themselves are.

    Args:
        left: any shape and float type.
        right: the same shape, any float type.

    Example:
        >>> mean_square(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]))
        tensor(2.)
    """
    wide = wide_of(left, right)
    difference = left.to(wide) - right.to(wide)
    # The derivative of `square` is 0 times infinity where twice the difference overflows.
    squares = torch.mul(difference, difference)
    return saturated(squares.sum() / max(1, difference.numel()))


def known_mean_square(
    left: torch.Tensor, right: torch.Tensor, sqdist: torch.Tensor
) -> torch.Tensor:
    """Return `mean_square` of rows whose squared distances are known already.

    Args:
        left: (N, D), any float type.
        right: (N, D), any float type.
        sqdist: squared distances of the rows, as `certvq.assign` returns them, float64 (N,); or
            their sum.

    Returns:
        The mean, in float32 or wider, with the gradients of `mean_square`.

    Cost: O(N) forward, and nothing kept but the arguments.

    Example:
        >>> left = torch.tensor([[1.0, 3.0]], requires_grad=True)
        >>> right, sqdist = torch.tensor([[1.0, 1.0]]), torch.tensor([4.0], dtype=torch.float64)
        >>> known_mean_square(left, right, sqdist).backward()
        >>> left.grad
        tensor([[0., 2.]])
    """
    result: torch.Tensor = applied(_KnownMeanSquare, _KnownMeanSquareBothWays, left, right, sqdist)
    return result


class _KnownMeanSquare(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(left: torch.Tensor, right: torch.Tensor, sqdist: torch.Tensor) -> torch.Tensor:
        wide = wide_of(left, right)
        mean = sqdist.sum() / max(1, left.numel())
        return mean.clamp(max=torch.finfo(wide).max).to(wide)

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor], output: torch.Tensor
    ) -> None:
        del output
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        left, right = ctx.saved_tensors
        wide = wide_of(left, right)
        difference = left.to(wide) - right.to(wide)
        scale = cotangents[0] * (2.0 / max(1, left.numel()))
        apart = torch.is_grad_enabled() or transforming()
        slope = difference * scale if apart else difference.mul_(scale)
        wanted = ctx.needs_input_grad
        return (
            slope.to(left.dtype) if wanted[0] else None,
            -slope.to(right.dtype) if wanted[1] else None,
            None,
        )


class _KnownMeanSquareBothWays(_KnownMeanSquare):
    """With the derivative of forward mode, which compilers refuse."""

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor], output: torch.Tensor
    ) -> None:
        _KnownMeanSquare.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*inputs[:2])

    @staticmethod
    def jvp(ctx: Any, *tangents: torch.Tensor) -> torch.Tensor:
        left, right = ctx.saved_tensors
        wide = wide_of(left, right)
        difference = left.to(wide) - right.to(wide)
        moved = tangents[0].to(wide) - tangents[1].to(wide)
        return (difference * moved).sum() * (2.0 / max(1, left.numel()))


def wide_of(left: torch.Tensor, right: torch.Tensor) -> torch.dtype:
    """Return the type of number that both are compared in, float32 or wider."""
    return torch.promote_types(torch.promote_types(left.dtype, right.dtype), torch.float32)
