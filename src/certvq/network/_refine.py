"""The last rung: tokens that floats leave open, over exact numbers.

In: a network, its input, and which tokens are open. Out: what could be decided of them. Networks of
linear maps, comparisons and pooling are computed over the rational numbers, and every token is
decided; others by balls of more and more bits.
"""

from collections.abc import Iterator

import numpy as np

from certvq.network._decide import Decision
from certvq.network._exact import exact_latents, is_rational
from certvq.network._graph import Network
from certvq.network._levels import Levels
from certvq.network._numbers import FLINT_LOCK, Balls, Numbers, Rationals
from certvq.network._source import Source

FIRST_PRECISION = 128
"""Bits of the first balls: twice what float64 has, and room for radii to grow. Chosen."""

_AT_ONCE = 64
"""Tokens whose receptive fields are computed together, so that neighbours share them. Chosen."""


def refine(
    network: Network,
    source: Source,
    levels: Levels,
    open_tokens: np.ndarray,
    precision: int,
) -> Decision:
    """Decide open tokens.

    Args:
        network: as captured.
        source: its input.
        levels: their codebooks.
        open_tokens: (N,) numbers of tokens, in row order of the output without its channels.
        precision: the most bits of a midpoint.

    Returns:
        A decision for each of them, arrays (N, levels).
    """
    count = len(open_tokens)
    codes, margin = np.full((count, levels.count), -1, np.int64), np.zeros((count, levels.count))
    left = np.arange(count)
    for numbers in _arithmetics(network, levels, precision):
        for start in range(0, len(left), _AT_ONCE):
            part = left[start : start + _AT_ONCE]
            with FLINT_LOCK, numbers.working():
                latents = _latents(network, source, open_tokens[part], numbers)
                found = levels.decide_exact(numbers, latents)
            codes[part], margin[part] = found.codes, found.margin
        left = left[(codes[left] < 0).any(axis=1)]
        if not len(left):
            break
    return Decision(codes, margin, codes >= 0)


def _arithmetics(network: Network, levels: Levels, precision: int) -> Iterator[Numbers]:
    if is_rational(network) and levels.rational:
        yield Rationals()
        return
    bits = min(FIRST_PRECISION, precision)
    while bits <= precision:
        yield Balls(bits)
        bits *= 2


def _latents(network: Network, source: Source, tokens: np.ndarray, numbers: Numbers) -> np.ndarray:
    """Return (N, D) exact latents of tokens."""
    batch, dim, *places = network.output.shape
    mask = np.zeros((batch, *places), bool)
    mask.reshape(-1)[tokens] = True
    full = np.broadcast_to(mask[:, None], network.output.shape)
    latents = exact_latents(network, source, full, numbers)
    return np.moveaxis(latents, 1, -1).reshape(-1, dim)[tokens]
