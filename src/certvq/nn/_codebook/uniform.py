"""The start of the paper: uniform numbers around zero.

In: sizes and a generator. Out: a codebook. Must not look at data.
"""

import math
from dataclasses import dataclass

import torch

from certvq.errors import OptionError
from certvq.nn._core.options import checked
from certvq.nn._torch import random as _random


@checked
@dataclass(frozen=True)
class Uniform:
    """Start from uniform numbers around zero, drawn when the layer is built.

    Attributes:
        bound: b, the numbers lie in [-b, b); positive and finite, or None for 1/K.

    Raises:
        OptionError: `bound` out of range.

    References:
        van den Oord's implementation in Sonnet, `sonnet/src/nets/vqvae.py`, for 1/K.
    """

    bound: float | None = None

    def __post_init__(self) -> None:
        if self.bound is not None and not 0.0 < self.bound < math.inf:
            text = f"Uniform bound must be positive and finite, or None, got {self.bound}"
            raise OptionError(text)


def uniform_codebook(
    codebook_size: int,
    dim: int,
    generator: torch.Generator | None,
    *,
    bound: float | None = None,
) -> torch.Tensor:
    """Draw a codebook (K, D) of torch's default type of number, uniform in [-bound, bound)."""
    unit = _random.uniform(codebook_size * dim, generator, torch.device("cpu"))
    spread = 2.0 * unit - 1.0
    spread = spread / codebook_size if bound is None else spread * bound
    return spread.reshape(codebook_size, dim).to(torch.get_default_dtype())
