"""The filter on NumPy: float64 scores by matrix product, with a rigorous radius.

In: blocks of latents on the host. Out: `Filtered`. The scores of a block stay in the cache; an
N x K matrix never exists. Must not import torch.
"""

import numpy as np

from certvq import bounds
from certvq._native import squared_row_norms
from certvq._types import Float64Array, Int64Array
from certvq.assign._exact import Pairs
from certvq.assign._filter import Filtered
from certvq.assign._prepare import Prepared
from certvq.assign._threads import no_fork

_BLOCK_SCORES = 1 << 20
"""Scores of a block: 8 MiB, measured best of 2**18 .. 2**22 at K = 8192 (docs/engineering.md)."""

_FEWEST_ROWS, _MOST_ROWS = 32, 2048
"""Rows of a block at least, where 32 took 147 ms and 128 took 137 (docs/engineering.md), and at
most, which is chosen and not measured."""


class NumpyFilter:
    """Centred scores ``z.c - |c|^2/2`` of one codebook, as one matrix product with D + 1 terms."""

    parallel = True

    def __init__(self, prepared: Prepared, exponent: int) -> None:
        self._exponent = exponent
        self._dim = prepared.dim
        with np.errstate(all="ignore"):
            vectors = prepared.scaled(exponent)
            self.centre: Float64Array = vectors.mean(axis=0)
            centred = vectors - self.centre
            squares = squared_row_norms(centred)
            self.augmented = np.empty((self._dim + 1, len(vectors)))
            self.augmented[:-1] = centred.T
            self.augmented[-1] = -0.5 * squares
            self.code_norm = float(bounds.norm_upper(squares, self._dim).max())

    def block_rows(self) -> int:
        """Return how many latents a block should have."""
        return min(_MOST_ROWS, max(_FEWEST_ROWS, _BLOCK_SCORES // max(self.augmented.shape)))

    def augment(self, latents: np.ndarray) -> tuple[Float64Array, Float64Array]:
        """Prepare a block for the product with `augmented`.

        Args:
            latents: (B, D), unscaled, any float type.

        Returns:
            Scaled and centred latents with a column of ones, (B, D + 1), and radii (B,): each
            entry of the product is within the radius of the true score.

        Guarantee: ``dot_rounding_error_le`` with the counts of `certvq.bounds.score_radius`, also
        if the threads that compute the product flush subnormal numbers.
        """
        exact = latents.astype(np.float64)
        if self._exponent:
            exact = np.ldexp(exact, -self._exponent)
        augmented = np.ones((len(exact), self._dim + 1))
        centred = augmented[:, :-1]
        np.subtract(exact, self.centre, out=centred)
        squares = squared_row_norms(centred)
        norms = bounds.norm_upper(squares, self._dim)
        radius = bounds.score_radius(norms, self.code_norm, self._dim)
        return augmented, radius

    def scores(self, latents: np.ndarray) -> tuple[Float64Array, Float64Array]:
        """Compute the scores (B, U) of a block and the radius (B,) of each row."""
        augmented, radius = self.augment(latents)
        with no_fork():
            return augmented @ self.augmented, radius

    def run(self, latents: np.ndarray, besides: Int64Array | None = None) -> Filtered:
        """Decide the rows of a block that lead by more than twice the radius."""
        scores, radius = self.scores(latents)
        rows = np.arange(len(scores))
        if besides is not None:
            scores[rows, besides] = -np.inf
        codes = scores.argmax(axis=1).astype(np.int64)
        best = scores[rows, codes]
        threshold = bounds.candidate_threshold(best, radius)
        scores[rows, codes] = -np.inf
        open_rows = np.flatnonzero(~(scores.max(axis=1) < threshold))
        scores[rows[open_rows], codes[open_rows]] = best[open_rows]
        pairs = candidates(scores[open_rows], threshold[open_rows])
        if besides is not None:
            pairs = pairs.keep(pairs.codes != besides[open_rows][pairs.rows])
        return Filtered(codes, open_rows, latents[open_rows].astype(np.float64), pairs)


def candidates(scores: Float64Array, threshold: Float64Array) -> Pairs:
    """List every code whose score is not below the threshold of its row.

    Args:
        scores: (M, U).
        threshold: (M,).

    Returns:
        The pairs, row by row; a NaN anywhere counts as a candidate.
    """
    rows, codes = np.nonzero(~(scores < threshold[:, None]))
    return Pairs(rows.astype(np.int64), codes.astype(np.int64))


def numpy_filter(prepared: Prepared, exponent: int) -> NumpyFilter:
    """Return the filter of a codebook, built once."""
    return prepared.derive("numpy", exponent, lambda: NumpyFilter(prepared, exponent))
