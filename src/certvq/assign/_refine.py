"""Rows that the filter left open: their few candidates, in better conditioned arithmetic.

In: exact latents of the open rows and their candidates. Out: their codes and how each was decided.
Squared distances as sums of squared differences have no cancellation beyond the differences, so
their error is relative; what overlaps even then goes to exact integers. Must not import filters.
"""

import numpy as np

from certvq import bounds
from certvq._types import Bool, BoolArray, Float64, Float64Array
from certvq.assign._assignment import Decided, DecidedBy
from certvq.assign._exact import Pairs, decide_exactly
from certvq.assign._prepare import Prepared


def refine(
    latents: Float64[Float64Array, "N D"], prepared: Prepared, pairs: Pairs, exponent: int
) -> Decided:
    """Decide open rows among their candidates.

    Args:
        latents: (M, D) exact numbers.
        prepared: the codebook.
        pairs: candidates, indices into ``prepared.distinct``; they hold every nearest code.
        exponent: power of two by which the call is scaled.

    Returns:
        Codes as indices into ``prepared.distinct``, (M,), and REFINED or EXACT for each.

    Guarantee: ``refine_sound``: nearest among candidates that hold every nearest code is nearest.
    """
    remaining = pairs.keep(_may_be_nearest(latents, prepared, pairs, exponent))
    starts = remaining.starts()
    codes = remaining.codes[starts]
    lengths = np.diff(np.append(starts, len(remaining.rows)))
    open_rows = np.flatnonzero(lengths > 1)
    decided_by = np.full(len(latents), DecidedBy.REFINED, dtype=np.uint8)
    if open_rows.size:
        place = np.full(len(latents), -1, dtype=np.int64)
        place[open_rows] = np.arange(open_rows.size)
        undecided = remaining.keep(place[remaining.rows] >= 0)
        local = Pairs(place[undecided.rows], undecided.codes)
        codes[open_rows] = decide_exactly(latents[open_rows], prepared.distinct, local)
        decided_by[open_rows] = DecidedBy.EXACT
    return Decided(codes, decided_by)


def _may_be_nearest(
    latents: Float64[Float64Array, "M D"], prepared: Prepared, pairs: Pairs, exponent: int
) -> Bool[BoolArray, " P"]:
    scaled = np.ldexp(latents, -exponent)
    vectors = prepared.scaled(exponent)
    computed = np.empty(len(pairs.rows))
    for part in pairs.chunks(prepared.dim):
        difference = scaled[pairs.rows[part]] - vectors[pairs.codes[part]]
        computed[part] = np.einsum("pd,pd->p", difference, difference)
    lower = bounds.sqdist_lower(computed, prepared.dim)
    upper = bounds.sqdist_upper(computed, prepared.dim)
    starts = pairs.starts()
    least_upper = np.minimum.reduceat(upper, starts)
    lengths = np.diff(np.append(starts, len(upper)))
    return ~(lower > np.repeat(least_upper, lengths))
