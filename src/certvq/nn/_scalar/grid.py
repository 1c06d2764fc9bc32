"""Grids of levels on a bounded interval: where they lie, and where one gives way to the next.

In: numbers of levels. Out: exact thresholds for latents, and constants of the bounding function.
All is computed from rational numbers, once per number of levels. Must not know of tensors.
"""

import functools
import math
from dataclasses import dataclass
from fractions import Fraction

from certvq.nn._scalar.thresholds import below_fraction, below_half_logarithm

_EPS = Fraction(1, 1000)
"""The paper's slack, by which the outermost levels are rounded to from both sides."""


@dataclass(frozen=True)
class Axis:
    """One feature of a grid, in units where a latent of 0 lies at 0 and levels within [-1, 1].

    The bounded latent is ``gain * g(z + shift) - bias``, with g the hyperbolic tangent or the clamp
    to [-1, 1], and level i lies at ``(step * i - origin) / width``.

    Attributes:
        limits: for each level but the last the greatest float64 at most the latent at which it and
            the next level are equally near.
        gain: slope of the bounded latent in g.
        shift: what is added to the latent, the nearest float64.
        bias: what is subtracted from the bounded latent.
        step: distance of the numerators of two levels.
        origin: numerator of the lowest level, negated.
        width: common denominator of the levels.
    """

    limits: tuple[float, ...]
    gain: float
    shift: float
    bias: float
    step: int
    origin: int
    width: int


@functools.lru_cache(maxsize=1024)
def axis_of(levels: int, *, preserve_symmetry: bool, hard_clamp: bool) -> Axis:
    """Return the axis with so many levels.

    With L levels, ``h = (L - 1)(1 + eps) / 2``, ``o = 1/2`` for even L and 0 for odd L, the bounded
    latent is ``(g(z + g^-1(o / h)) h - o) / floor(L / 2)`` and the levels are the integers from
    ``-floor(L / 2)`` to ``ceil(L / 2) - 1``, over ``floor(L / 2)``. Preserving symmetry it is
    ``g(z)``, and the levels divide [-1, 1] evenly.

    Args:
        levels: L, at least 3, or at least 2 where symmetry is preserved.
        preserve_symmetry: which of the two.
        hard_clamp: whether g is the clamp.
    """
    if preserve_symmetry:
        borders = [Fraction(2 * i + 2 - levels, levels - 1) for i in range(levels - 1)]
        limits = tuple(_invert(border, Fraction(0), hard_clamp=hard_clamp) for border in borders)
        return Axis(limits, 1.0, 0.0, 0.0, 2, levels - 1, levels - 1)
    half = levels // 2
    reach = (levels - 1) * (1 + _EPS) / 2
    offset = Fraction(1 - levels % 2, 2)
    centre = offset / reach
    borders = [(Fraction(2 * i + 1, 2) - half + offset) / reach for i in range(levels - 1)]
    limits = tuple(_invert(border, centre, hard_clamp=hard_clamp) for border in borders)
    shift = float(centre) if hard_clamp else math.atanh(centre)
    return Axis(limits, float(reach / half), shift, float(offset / half), 1, half, half)


def _invert(border: Fraction, centre: Fraction, *, hard_clamp: bool) -> float:
    """Round ``g^-1(border) - g^-1(centre)`` down."""
    if hard_clamp:
        return below_fraction(border - centre)
    ratio = (1 + border) * (1 - centre) / ((1 - border) * (1 + centre))
    return below_half_logarithm(ratio)
