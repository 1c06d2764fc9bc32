"""Squared distances to the chosen code vectors.

In: latents, a prepared codebook and codes. Out: float64 (N,), within a proved relative error or
rounded correctly. Must not import filters.
"""

import numpy as np

from certvq._types import Float64Array, Int64Array
from certvq.assign._exact import exact_sqdist
from certvq.assign._prepare import Prepared

_BLOCK = 1 << 18
SMALLEST_PRODUCT = 2.0**-900
"""Below, a squared distance may have lost terms to underflow."""

_LARGE = 2.0**900


def row_sqdist(
    latents: np.ndarray, prepared: Prepared, codes: Int64Array, *, exact: bool
) -> Float64Array:
    """Compute ``sum_d (z[n, d] - c[codes[n], d])^2``.

    Args:
        latents: (N, D) on the host.
        prepared: the codebook.
        codes: int64 (N,), codes of the user's codebook.
        exact: round the true value correctly, at about half a microsecond for each coordinate.

    Returns:
        float64 (N,): relative error at most ``gamma(D + 8)``, or correctly rounded. Beyond
        ``2**-900 .. 2**900`` it is always correctly rounded, to infinity where float64 ends.
    """
    result = np.empty(len(latents))
    step = max(1, _BLOCK // prepared.dim)
    for start in range(0, len(latents), step):
        part = slice(start, start + step)
        points = latents[part].astype(np.float64)
        vectors = prepared.distinct[prepared.group[codes[part]]]
        with np.errstate(all="ignore"):
            difference = points - vectors
            computed = np.einsum("nd,nd->n", difference, difference)
        doubtful = ~((computed > SMALLEST_PRODUCT) & (computed < _LARGE)) & difference.any(axis=1)
        for row in np.flatnonzero(doubtful | exact):
            computed[row] = exact_sqdist(points[row], vectors[row])
        result[part] = computed
    return result
