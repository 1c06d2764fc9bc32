"""Filter, certify, refine: the loop over blocks that every fast path shares.

In: validated latents, a prepared codebook and a filter. Out: `Decided` on the host. Memory beside
the inputs: O(N + K D) and one block of scores. Must not know which library computes the filter.
"""

import numpy as np

from certvq._native import thread_count
from certvq._types import Array, Float, Int64, Int64Array
from certvq.assign._assignment import Decided, DecidedBy
from certvq.assign._filter import Filter
from certvq.assign._prepare import Prepared
from certvq.assign._refine import refine
from certvq.assign._threads import each_block

_WORTH_THREADS = 1 << 24
"""Multiplications below which starting threads costs more than it gains."""


def run(
    latents: Float[Array, "N D"],
    prepared: Prepared,
    filter_: Filter,
    exponent: int,
    *,
    besides: Int64[Int64Array, " N"] | None = None,
) -> Decided:
    """Decide every row.

    Args:
        latents: (N, D), validated, of the library that `filter_` takes.
        prepared: the codebook.
        filter_: scores with a rigorous radius, built for `exponent`.
        exponent: power of two by which the call is scaled.
        besides: int64 (N,), a row of ``prepared.distinct`` for each latent that is left out, as if
            the codebook did not have it; then there are at least two.

    Returns:
        Codes of the user's codebook, int64 (N,), and how each was decided, uint8 (N,).

    Guarantee: ``certified_assign``, by ``nearest_of_score_gap`` for rows that the filter decides,
    and by ``nearest_mem_candidates`` and ``refine_sound`` for the others.
    """
    rows = int(latents.shape[0])
    codes = np.empty(rows, dtype=np.int64)
    decided_by = np.full(rows, DecidedBy.FILTER, dtype=np.uint8)

    def decide(block: slice) -> None:
        with np.errstate(all="ignore"):  # underflow and overflow are counted in the bounds
            decide_block(block)

    def decide_block(block: slice) -> None:
        filtered = filter_.run(latents[block], None if besides is None else besides[block])
        codes[block] = filtered.codes
        if filtered.open_rows.size:
            refined = refine(filtered.latents, prepared, filtered.pairs, exponent)
            codes[block.start + filtered.open_rows] = refined.codes
            decided_by[block.start + filtered.open_rows] = refined.decided_by

    multiplications = rows * len(prepared.distinct) * prepared.dim
    threads = thread_count() if filter_.parallel and multiplications >= _WORTH_THREADS else 1
    each_block(decide, rows, filter_.block_rows(), threads=threads)
    return Decided(prepared.lowest[codes], decided_by)
