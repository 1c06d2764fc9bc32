"""The straight-through estimator in its numerically safe form.

In: latents, code vectors and codes. Out: the code vectors themselves, with the gradient of the
latents. Must not know how codes are found.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from certvq.nn._estimators.estimator import Estimator
from certvq.nn._torch.autograd import applied


class _StraightThrough(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(latents: torch.Tensor, codebook: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        del latents
        return functional.embedding(codes, codebook)

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor], output: torch.Tensor
    ) -> None:
        del output
        ctx.latents_dtype = inputs[0].dtype

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return cotangents[0].to(ctx.latents_dtype), None, None


class _StraightThroughBothWays(_StraightThrough):
    """With the derivative of forward mode, which compilers refuse."""

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor], output: torch.Tensor
    ) -> None:
        ctx.latents_dtype, ctx.vectors_dtype = inputs[0].dtype, output.dtype

    @staticmethod
    def jvp(ctx: Any, *tangents: torch.Tensor) -> torch.Tensor:
        return tangents[0].to(ctx.vectors_dtype, copy=True)


def straight_through(
    latents: torch.Tensor, codebook: torch.Tensor, codes: torch.Tensor
) -> torch.Tensor:
    """Look codes up; send the gradient of the result to the latents, unchanged.

    Mathematics: the value is ``codebook[codes]``; the derivative with respect to `latents` is the
    identity, and that with respect to `codebook` is zero. The usual ``z + sg(c - z)`` has the same
    derivatives but is not the code vector in floating point: it is off by a rounding error.

    Args:
        latents: (N, D), any float type.
        codebook: (K, D).
        codes: (N,) int64 in ``range(K)``, not checked here.

    Returns:
        (N, D) of the codebook's type of number.

    Guarantee: equals ``codebook[codes]`` bit for bit, the sign of zero included; the cotangent of
    the latents is that of the result, rounded to the latents' type of number
    (``straightThrough_gradients``).

    Example:
        >>> latents = torch.tensor([[0.1, 0.2]], requires_grad=True)
        >>> codebook = torch.tensor([[0.0, 0.0], [0.3, 0.3]])
        >>> quantized = straight_through(latents, codebook, torch.tensor([1]))
        >>> quantized.sum().backward()
        >>> latents.grad
        tensor([[1., 1.]])

    References:
        Bengio, Leonard, Courville, "Estimating or Propagating Gradients Through Stochastic
        Neurons", 2013; van den Oord, Vinyals, Kavukcuoglu, 2017, section 3.2.
    """
    result: torch.Tensor = applied(
        _StraightThrough, _StraightThroughBothWays, latents, codebook.detach(), codes
    )
    return result


@dataclass(frozen=True)
class StraightThrough(Estimator):
    """Send the gradient to the latents unchanged, as `straight_through` does."""

    def estimate(
        self,
        latents: torch.Tensor,
        codebook: torch.Tensor,
        codes: torch.Tensor,
        generator: torch.Generator | None,
    ) -> torch.Tensor:
        """Return the code vectors; see `Estimator.estimate`."""
        del generator
        return straight_through(latents, codebook, codes)
