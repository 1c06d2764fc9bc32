"""The start of the paper: uniform numbers around zero.

In: sizes and a generator. Out: a codebook. Must not look at data.
"""

from dataclasses import dataclass

import torch

from certvq.nn._core import random as _random


@dataclass(frozen=True)
class Uniform:
    """Start from uniform numbers of [-1/K, 1/K), drawn when the layer is built.

    References:
        van den Oord's implementation in Sonnet, `sonnet/src/nets/vqvae.py`.
    """


def uniform_codebook(
    codebook_size: int, dim: int, generator: torch.Generator | None
) -> torch.Tensor:
    """Draw a codebook (K, D) of torch's default type of number, uniform in [-1/K, 1/K)."""
    unit = _random.uniform(codebook_size * dim, generator, torch.device("cpu"))
    spread = (2.0 * unit - 1.0) / codebook_size
    return spread.reshape(codebook_size, dim).to(torch.get_default_dtype())
