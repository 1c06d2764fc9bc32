"""The gradient of residual quantizers whose levels each have an estimator of their own.

In: nothing. Out: the option. Must not know of quantizers.
"""

from dataclasses import dataclass
from typing import Any

import torch

from certvq.errors import OptionError
from certvq.nn._core.options import checked
from certvq.nn._torch.modes import applied


@checked
@dataclass(frozen=True)
class EachLevel:
    """Add the gradients that the levels' own estimators send to the latents.

    Mathematics: ``quantized = sum_l v_l(r_l)`` with ``r_(l+1) = r_l - share v_l - (1 - share)
    sg[v_l]``. With levels that are straight through the latents get the gradient times the number
    of levels at share 0, and once at share 1, where later levels' losses send nothing to the
    latents. Parts that are trained through their own vectors (projections, bounded grids) need this
    estimator.

    Attributes:
        share: share of each level's gradient that reaches the residuals after it, in [0, 1].

    Raises:
        OptionError: `share` out of range.
    """

    share: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            text = f"EachLevel share must lie in [0, 1], got {self.share}"
            raise OptionError(text)


class _Share(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(vectors: torch.Tensor, share: float) -> torch.Tensor:
        del share
        return vectors.view_as(vectors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, float], output: torch.Tensor) -> None:
        del output
        ctx.share = inputs[1]

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.share * cotangents[0], None


class _ShareBothWays(_Share):
    """With the derivative of forward mode, which compilers refuse, and which allows no views."""

    @staticmethod
    def forward(vectors: torch.Tensor, share: float) -> torch.Tensor:
        del share
        return vectors.clone()

    @staticmethod
    def jvp(ctx: Any, *tangents: torch.Tensor) -> torch.Tensor:
        return ctx.share * tangents[0]


def partly_detached(vectors: torch.Tensor, share: float) -> torch.Tensor:
    """Return the same numbers, to the bit, with a share of their gradient.

    Args:
        vectors: any shape.
        share: in [0, 1].

    Example:
        >>> vectors = torch.tensor([0.1], requires_grad=True)
        >>> partly_detached(vectors, 0.25).sum().backward()
        >>> vectors.grad
        tensor([0.2500])
    """
    if share == 0.0:
        return vectors.detach()
    if share == 1.0:
        return vectors
    shared: torch.Tensor = applied(_Share, _ShareBothWays, vectors, share)
    return shared
