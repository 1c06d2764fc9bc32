"""A start from data: k-means++ seeds, then Lloyd's iterations.

In: the tokens of the first training batch. Out: code vectors and how many tokens chose each. Must
not touch a module's state.
"""

from dataclasses import dataclass

import torch

from certvq.assign import assign
from certvq.errors import OptionError
from certvq.nn._codebook.statistics import sums_by_code
from certvq.nn._core.options import checked
from certvq.nn._core.similarity import unit_rows
from certvq.nn._torch import random as _random
from certvq.nn._torch.modes import beside, brought, widened

_NOISE = 0.01
"""Spread of surplus codes around tokens, in standard deviations of each feature."""


@checked
@dataclass(frozen=True)
class KMeans:
    """Start from k-means of the first training batch.

    Until that batch has come the codebook holds the numbers of `Uniform`. With fewer distinct
    tokens than codes, each distinct token becomes a code and the surplus codes are random tokens
    of the batch plus normal noise of 0.01 standard deviations of each feature.

    Attributes:
        iterations: Lloyd's iterations at most, >= 0; they end early when no code changes.

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
        generator: source of the random choices.
        unit: whether code vectors are scaled to length one (spherical k-means).

    Returns:
        The clusters, of the codebook's type of number. A cluster that lost its tokens keeps its
        code vector.

    Cost: O(K N D) for the seeds, one certified assignment for each iteration, O(N D) memory.
    """
    home, size = codebook.device, len(codebook)
    tokens, codebook = beside(tokens), beside(codebook)
    scaled = unit_rows if unit else _unscaled
    centres = scaled(_seeds(tokens, size, generator)).to(codebook.dtype)
    codes = assign(tokens, centres).codes
    for _ in range(iterations):
        centres = scaled(_cluster_means(tokens, codes, centres)).to(codebook.dtype)
        before, codes = codes, assign(tokens, centres).codes
        if torch.equal(before, codes):
            break
    counts = torch.bincount(codes, minlength=size)
    return Clusters(brought(centres, home), brought(counts, home))


def _unscaled(vectors: torch.Tensor) -> torch.Tensor:
    return vectors


def _seeds(
    tokens: torch.Tensor, codebook_size: int, generator: torch.Generator | None
) -> torch.Tensor:
    """Choose seeds among the tokens, (K, D) float64, all different where that can be."""
    distinct, multiplicity = torch.unique(tokens, dim=0, return_counts=True)
    distinct = widened(distinct)
    if len(distinct) > codebook_size:
        return distinct[_plus_plus(distinct, multiplicity, codebook_size, generator)]
    surplus = codebook_size - len(distinct)
    picked = _random.integers(len(tokens), surplus, generator, tokens.device)
    noise = _random.normal((surplus, tokens.shape[1]), generator, tokens.device)
    wide = widened(tokens)
    spread = wide.std(dim=0, correction=0)
    return torch.cat([distinct, wide[picked] + _NOISE * spread * widened(noise)])


def _plus_plus(
    points: torch.Tensor,
    multiplicity: torch.Tensor,
    count: int,
    generator: torch.Generator | None,
) -> torch.Tensor:
    """Choose `count` of more than `count` different points, (count,) int64.

    Each is drawn with probability proportional to its squared distance from the nearest one drawn
    before. Distances come from centred dot products: what is drawn need not be exact, and that way
    of computing them is an order of magnitude faster.
    """
    centred = points - points.mean(dim=0)
    squares = centred.square().sum(dim=1)
    weights = widened(multiplicity)
    nearest = torch.ones_like(weights)
    free = torch.ones_like(weights)
    chosen = torch.empty(count, dtype=torch.int64, device=points.device)
    for step, level in enumerate(_random.uniform(count, generator, points.device)):
        mass = (weights * nearest * free).cumsum(0)
        if not bool(mass[-1] > 0.0):  # all that is left coincides with seeds, to rounding
            mass = free.cumsum(0)
        place = torch.searchsorted(mass, level * mass[-1], right=True).clamp_(max=len(points) - 1)
        chosen[step] = place
        free[place] = 0.0
        distance = (squares + squares[place] - 2.0 * (centred @ centred[place])).clamp_(min=0.0)
        nearest = distance if step == 0 else torch.minimum(nearest, distance)
    return chosen


def _cluster_means(
    tokens: torch.Tensor, codes: torch.Tensor, centres: torch.Tensor
) -> torch.Tensor:
    counts = torch.bincount(codes, minlength=len(centres))
    sums = sums_by_code(tokens, codes, len(centres))
    means = (sums / counts.clamp(min=1)[:, None]).to(centres.dtype)
    return torch.where(counts[:, None] > 0, means, centres)
