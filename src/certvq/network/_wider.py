"""The second rung: tokens that float64 leaves open, in pairs of float64 numbers.

In: latents in pairs with bounds. Out: what is certain of them. Most tokens are decided by the first
numbers of their pairs; balls around both decide those that are too near to a border for that. Must
not know networks.
"""

import numpy as np
import torch

from certvq.network._bounded import Bounded, along, narrowed
from certvq.network._decide import Decision
from certvq.network._levels import Levels
from certvq.network._numbers import FLINT_LOCK, Balls, flint
from certvq.network._wide import nearest, rest

_PRECISION = 192
"""Bits of the balls: pairs have 107, and products of two of them twice as many at most. Chosen."""

_NEAR = 2.0**-40
"""Balls are tried where the bound is below this part of the latent: they add nothing to a greater
one. Chosen."""


def decide_latents(levels: Levels, latents: Bounded) -> Decision:
    """Decide tokens by the nearest float64 numbers of their latents.

    Args:
        levels: the codebooks.
        latents: float64 or pairs, channels at axis 1.

    Returns:
        The decision of all tokens, arrays (N, levels).
    """
    near = narrowed(along(latents, 1))
    return levels.decide_bounded(_rows(near.value), near.error.reshape(-1).numpy())


def decide_near_ties(levels: Levels, latents: Bounded, open_tokens: np.ndarray) -> Decision:
    """Decide open tokens by balls around their pairs.

    Args:
        levels: the codebooks.
        latents: pairs, channels at axis 1.
        open_tokens: (M,) numbers of tokens.

    Returns:
        A decision for each of them, arrays (M, levels).
    """
    latents = along(latents, 1)
    error = latents.error.reshape(-1).numpy()[open_tokens]
    high, low = (_rows(part(latents.value))[open_tokens] for part in (nearest, rest))
    count = len(open_tokens)
    codes, margin = np.full((count, levels.count), -1, np.int64), np.zeros((count, levels.count))
    with np.errstate(over="ignore", invalid="ignore"):
        worth = np.flatnonzero(error <= _NEAR * np.sqrt((high**2).sum(axis=1)))
    if len(worth):
        numbers, arb = Balls(_PRECISION), flint().arb
        balls = np.empty((len(worth), high.shape[1]), object)
        with FLINT_LOCK, numbers.working():
            for row, token in enumerate(worth):
                off = arb(0.0, float(error[token]))
                pairs = zip(high[token], low[token], strict=True)
                balls[row] = [arb(float(a)) + arb(float(b)) + off for a, b in pairs]
            found = levels.decide_exact(numbers, balls)
        codes[worth], margin[worth] = found.codes, found.margin
    return Decision(codes, margin, codes >= 0)


def _rows(value: torch.Tensor) -> np.ndarray:
    """Return latents (B, D, *places) as rows (N, D)."""
    return value.movedim(1, -1).reshape(-1, value.shape[1]).numpy()
