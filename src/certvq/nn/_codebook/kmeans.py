"""A start from data, by `certvq.kmeans`.

In: the tokens of the first training batch. Out: code vectors and how many tokens chose each. Must
not touch a module's state.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import torch

from certvq.assign import assign
from certvq.cluster import kmeans
from certvq.cluster._start import TooFewRowsError
from certvq.errors import OptionError
from certvq.nn._core.options import checked
from certvq.nn._core.similarity import unit_rows
from certvq.nn._torch import random as _random
from certvq.nn._torch.modes import brought, widened

_NOISE = 0.01
"""Spread of surplus codes around tokens, in standard deviations of each feature."""


@checked
@dataclass(frozen=True)
class KMeans:
    """Start from `certvq.kmeans` of the first training batch: the same start on every device.

    Until that batch has come the codebook holds the numbers of `Uniform`. With fewer distinct
    tokens than codes, each distinct token becomes a code and the surplus codes are random tokens
    of the batch plus normal noise of 0.01 standard deviations of each feature.

    Attributes:
        iterations: Lloyd's iterations at most, >= 0; they end early when no code changes. A code
            that loses its tokens moves into a costly cell (docs/kmeans.md).

    Raises:
        OptionError: `iterations` is negative.

    References:
        Arthur and Vassilvitskii, "k-means++: The Advantages of Careful Seeding", 2007;
        Lloyd, "Least Squares Quantization in PCM", 1982.
    """

    iterations: int = 10

    def __post_init__(self) -> None:
        if self.iterations < 0:
            text = f"KMeans iterations must be at least 0, got {self.iterations}"
            raise OptionError(text)


@dataclass(frozen=True)
class Clusters:
    """What k-means found.

    Attributes:
        codebook: (K, D).
        counts: (K,) int64, tokens of each code in the last assignment.
    """

    codebook: torch.Tensor
    counts: torch.Tensor


def cluster(
    tokens: torch.Tensor,
    codebook: torch.Tensor,
    *,
    iterations: int,
    generator: torch.Generator | None,
    unit: bool = False,
) -> Clusters:
    """Find code vectors for tokens.

    Args:
        tokens: (N, D) finite, N >= 1.
        codebook: (K, D), read for its shape and type of number only.
        iterations: Lloyd's iterations at most.
        generator: source of the seed, and of the noise where tokens are too few.
        unit: whether code vectors are scaled to length one (spherical k-means); tokens of length 0
            then have no say.

    Returns:
        The clusters, of the codebook's type of number.

    Guarantee: that of `certvq.kmeans` in the wider type of tokens and codebook; code vectors are
        then rounded to the codebook's. The tokens' device has no say.
    Cost: that of `certvq.kmeans` on the CPU.
    """
    home, size = codebook.device, len(codebook)
    rows = tokens.detach().cpu().to(torch.promote_types(tokens.dtype, codebook.dtype))
    usable = rows[rows.any(dim=1)] if unit else rows
    seed = int(_random.integers(1 << 62, 1, generator, rows.device))
    metric: Literal["cosine", "euclidean"] = "cosine" if unit else "euclidean"
    centres = None
    if len(usable) >= size:
        with suppress(TooFewRowsError):
            found = kmeans(usable, size, iterations=iterations, seed=seed, metric=metric)
            centres = found.codebook
    if centres is None:
        start = _surplus(rows, size, generator)
        centres = unit_rows(start) if unit else start
    centres = centres.to(codebook.dtype)
    counts = torch.bincount(assign(rows, centres).codes, minlength=size)
    return Clusters(brought(centres, home), brought(counts, home))


def _surplus(
    tokens: torch.Tensor, codebook_size: int, generator: torch.Generator | None
) -> torch.Tensor:
    """Return all distinct tokens, at most K, and others with noise: (K, D) float64."""
    distinct = widened(torch.unique(tokens, dim=0))[:codebook_size]
    surplus = codebook_size - len(distinct)
    picked = _random.integers(len(tokens), surplus, generator, tokens.device)
    noise = _random.normal((surplus, tokens.shape[1]), generator, tokens.device)
    wide = widened(tokens)
    spread = wide.std(dim=0, correction=0)
    return torch.cat([distinct, wide[picked] + _NOISE * spread * widened(noise)])
