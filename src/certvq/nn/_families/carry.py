"""A value with the gradient of something else.

In: what goes forward and what the gradient goes back to. Out: the first, to the bit. Must not know
of quantizers.
"""

from typing import Any

import torch


class _Carry(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(value: torch.Tensor, surrogate: torch.Tensor) -> torch.Tensor:
        del surrogate
        return value.clone()

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor], output: torch.Tensor
    ) -> None:
        del output
        ctx.dtype = inputs[1].dtype

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, cotangents[0].to(ctx.dtype)


def carry(value: torch.Tensor, surrogate: torch.Tensor) -> torch.Tensor:
    """Return `value`; send the gradient of the result to `surrogate`, unchanged.

    Args:
        value: any shape and float type; gets no gradient.
        surrogate: the same shape, any float type.

    Guarantee: equals `value` bit for bit, which ``surrogate + sg(value - surrogate)`` does not.

    Example:
        >>> x = torch.tensor([0.3], requires_grad=True)
        >>> y = carry(torch.tensor([1.0]), 2.0 * x)
        >>> y.sum().backward()
        >>> y.item(), x.grad.item()
        (1.0, 2.0)
    """
    result: torch.Tensor = _Carry.apply(value, surrogate)
    return result
