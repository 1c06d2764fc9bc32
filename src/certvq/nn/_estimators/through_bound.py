"""Points of a bounded grid with the gradient of the latents that were bounded.

In: latents, and the points that they were rounded to. Out: the points, differentiable. Must not
know how a point is found.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch

from certvq.nn._core.features import by_feature
from certvq.nn._torch.modes import applied, beyond_backward, followed


@dataclass(frozen=True)
class Bound:
    """The function ``gain * g(z + shift) - bias``, one gain, shift and bias for each feature.

    Attributes:
        gain: (D,) float32, or None for 1.
        shift: (D,) float32, or None for 0.
        bias: (D,) float32, or None for 0.
        hard: whether g is the clamp to [-1, 1]; else it is tanh.
    """

    gain: torch.Tensor | None
    shift: torch.Tensor | None
    bias: torch.Tensor | None
    hard: bool

    def __call__(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the bounded latents in float32 or float64, rounded; differentiable."""
        moved = self._moved(latents)
        result = moved.clamp(-1.0, 1.0) if self.hard else torch.tanh(moved)
        if self.gain is not None:
            result = result * self.gain.to(result.dtype)
        return result if self.bias is None else result - self.bias.to(result.dtype)

    def pull_back(self, latents: torch.Tensor, cotangents: torch.Tensor) -> torch.Tensor:
        """Return the cotangents of the latents, given those of the bounded latents."""
        return self.steepen(latents, cotangents).to(latents.dtype)

    def steepen(self, latents: torch.Tensor, moves: torch.Tensor) -> torch.Tensor:
        """Multiply by the slope of the function, entry by entry, in float32 or wider.

        The slope of tanh is computed as ``1 - tanh(x)^2 = 4 s (1 - s)`` with ``s = 1 / (1 +
        exp(2 |x|))``, which takes a fraction of the time of tanh and does not cancel.
        """
        wide = torch.promote_types(latents.dtype, torch.float32)
        moved, moves = self._moved(latents), moves.to(wide)
        if self.hard:
            slope = moves * ((moved >= -1.0) & (moved <= 1.0))
            return slope if self.gain is None else by_feature(torch.mul, slope, self.gain.to(wide))
        apart = followed()
        if apart:
            slope = torch.ops.aten.sigmoid_backward(moves, torch.sigmoid(-2 * moved.abs()))
        else:  # the same in one piece of memory: new pieces cost more than the arithmetic
            slope = moved.abs().mul_(-2).sigmoid_()
            torch.ops.aten.sigmoid_backward.grad_input(moves, slope, grad_input=slope)
        if self.gain is None:
            return 4 * slope if apart else slope.mul_(4)
        times = torch.mul if apart else torch.Tensor.mul_
        return by_feature(times, slope, 4 * self.gain.to(wide))

    def _moved(self, latents: torch.Tensor) -> torch.Tensor:
        wide = latents.to(torch.promote_types(latents.dtype, torch.float32))
        return (
            wide if self.shift is None else by_feature(torch.add, wide, self.shift.to(wide.dtype))
        )


class _ThroughBound(torch.autograd.Function):
    @staticmethod
    def forward(latents: torch.Tensor, vectors: torch.Tensor, bound: Bound) -> torch.Tensor:
        del latents, bound
        return vectors.contiguous() if not vectors.is_contiguous() else vectors.clone()

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor, Bound], output: torch.Tensor
    ) -> None:
        del output
        ctx.save_for_backward(inputs[0])
        ctx.bound = inputs[2]

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (latents,) = ctx.saved_tensors
        return ctx.bound.pull_back(latents, cotangents[0]), None, None


class _ThroughParts(torch.autograd.Function):
    """The same with all tensors as arguments, and a derivative of forward mode."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        latents: torch.Tensor,
        vectors: torch.Tensor,
        gain: torch.Tensor | None,
        shift: torch.Tensor | None,
        bias: torch.Tensor | None,
        hard: bool,  # noqa: FBT001 (autograd takes no keywords)
    ) -> torch.Tensor:
        del latents, gain, shift, bias, hard
        return vectors.clone(memory_format=torch.contiguous_format)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        latents, _, gain, shift, bias, ctx.hard = inputs
        ctx.vectors_dtype = output.dtype
        ctx.save_for_backward(latents, gain, shift, bias)
        ctx.save_for_forward(latents, gain, shift, bias)

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        latents, *parts = ctx.saved_tensors
        bound = Bound(*parts, hard=ctx.hard)
        return bound.pull_back(latents, cotangents[0]), None, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: torch.Tensor) -> torch.Tensor:
        latents, *parts = ctx.saved_tensors
        bound = Bound(*parts, hard=ctx.hard)
        return bound.steepen(latents, tangents[0]).to(ctx.vectors_dtype)


def through_bound(latents: torch.Tensor, vectors: torch.Tensor, bound: Bound) -> torch.Tensor:
    """Return `vectors` with the gradient of ``bound(latents)``.

    Args:
        latents: (N, D), any float type.
        vectors: (N, D), any float type; gets no gradient.
        bound: what the latents went through before they were rounded.

    Returns:
        The numbers and the type of number of `vectors`, contiguous.

    Guarantee: equals `vectors` bit for bit.

    Example:
        >>> latents = torch.tensor([[0.0, 2.0]], requires_grad=True)
        >>> bound = Bound(None, None, None, hard=True)
        >>> through_bound(latents, torch.tensor([[0.0, 1.0]]), bound).sum().backward()
        >>> latents.grad
        tensor([[1., 0.]])
    """
    if beyond_backward():
        parts = bound.gain, bound.shift, bound.bias, bound.hard
        result: torch.Tensor = _ThroughParts.apply(latents, vectors, *parts)
        return result
    return cast("torch.Tensor", applied(_ThroughBound, None, latents, vectors, bound))
