"""The value of one tensor with the gradient of another.

In: two tensors of one shape. Out: the second, as far as numbers go; the first, as far as gradients
go. Must not know what they are.
"""

from typing import Any

import torch

from certvq.nn._torch.modes import applied


class _Exchange(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(source: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        del source
        return value.clone()

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor], output: torch.Tensor
    ) -> None:
        del output
        ctx.source_dtype = inputs[0].dtype

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[torch.Tensor, None]:
        return cotangents[0].to(ctx.source_dtype), None


class _ExchangeBothWays(_Exchange):
    """With the derivative of forward mode, which compilers refuse."""

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor], output: torch.Tensor
    ) -> None:
        ctx.source_dtype, ctx.value_dtype = inputs[0].dtype, output.dtype

    @staticmethod
    def jvp(ctx: Any, *tangents: torch.Tensor) -> torch.Tensor:
        return tangents[0].to(ctx.value_dtype, copy=True)


def exchange(source: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return `value` with the gradient of `source`.

    Mathematics: ``source + sg(value - source)``, which in floating point is off by a rounding
    error, without that error.

    Args:
        source: what the gradient goes to, any float type.
        value: the same shape, any float type; gets no gradient.

    Returns:
        The numbers and the type of number of `value`.

    Guarantee: equals `value` bit for bit.

    Example:
        >>> source = torch.tensor([0.2, 0.9], requires_grad=True)
        >>> result = exchange(2 * source, torch.tensor([0.0, 1.0]))
        >>> result.sum().backward()
        >>> result.tolist(), source.grad.tolist()
        ([0.0, 1.0], [2.0, 2.0])
    """
    result: torch.Tensor = applied(_Exchange, _ExchangeBothWays, source, value)
    return result
