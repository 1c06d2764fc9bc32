"""Squared distances to the chosen code vectors.

In: latents, a prepared codebook and codes. Out: float64 (N,), within a proved relative error or
rounded correctly: by the compiled kernel, or by Python's integers where it was not built. Must not
import filters.
"""

import numpy as np

from certvq import _native
from certvq._native import thread_count
from certvq._types import Array, Float, Float64, Float64Array, Int64, Int64Array
from certvq.assign._arrays import to_host
from certvq.assign._exact import exact_sqdist
from certvq.assign._packing import to_bits
from certvq.assign._prepare import Prepared

_BLOCK = 1 << 17
"""Differences at a time: 1 MiB. Of 2**15 .. 2**19 the fastest, or within the noise of it, at 8 to
256 dims; 2**19 takes up to three times as long."""

_ONE_THREAD = 1 << 19
"""Coordinates that one thread measures in half a millisecond. Another thread saves less than it
costs to wait for it where other programs use the cores: k-means++ measures so many at a time."""

SMALLEST_PRODUCT = 2.0**-900
"""Below, a squared distance may have lost terms to underflow: each loses at most 2**-1075, which is
far beneath the rounding error of a sum above this."""

_LARGE = 2.0**900
"""Above, a term or the sum may have overflowed. Far below infinity, as the other is above 0."""


def row_sqdist(
    latents: Float[Array, "N {prepared.dim}"], prepared: Prepared, codes: Int64[Int64Array, " N"]
) -> Float64[Float64Array, " N"]:
    """Compute ``sum_d (z[n, d] - c[codes[n], d])^2``.

    Args:
        latents: (N, D), of any library.
        prepared: the codebook.
        codes: int64 (N,), codes of the user's codebook.

    Returns:
        float64 (N,): relative error at most ``gamma(D + 8)``. Beyond ``2**-900 .. 2**900`` it is
        correctly rounded, to infinity where float64 ends.
    """
    host = to_host(latents)
    result = np.empty(len(host))
    step = max(1, _BLOCK // prepared.dim)
    for start in range(0, len(host), step):
        part = slice(start, start + step)
        difference = host[part].astype(np.float64)
        with np.errstate(all="ignore"):
            difference -= prepared.distinct[prepared.group[codes[part]]]
            computed = np.einsum("nd,nd->n", difference, difference)
        doubtful = ~((computed > SMALLEST_PRODUCT) & (computed < _LARGE)) & difference.any(axis=1)
        rows = start + np.flatnonzero(doubtful)
        if rows.size:
            computed[rows - start] = rounded_sqdist(host[rows], prepared, codes[rows])
        result[part] = computed
    return result


def rounded_sqdist(
    latents: Float[Array, "N {prepared.dim}"], prepared: Prepared, codes: Int64[Int64Array, " N"]
) -> Float64[Float64Array, " N"]:
    """Compute the same, each rounded once, to nearest even, to infinity where float64 ends.

    Args:
        latents: (N, D) finite numbers, of any library.
        prepared: the codebook.
        codes: int64 (N,), codes of the user's codebook.

    Returns:
        float64 (N,).

    Guarantee: by ``sqdist_pair_radius``, or by a sum in which no bit is lost.
    Cost: O(N D): about a nanosecond for each coordinate with the compiled kernel, half a
        microsecond without it.
    """
    if _native.AVAILABLE:
        given = np.ascontiguousarray(codes)
        return _native.rounded_sqdist(
            to_bits(latents),
            to_bits(prepared.source),
            given,
            thread_count() if len(given) * prepared.dim > _ONE_THREAD else 1,
        )
    points = to_host(latents).astype(np.float64)
    vectors = prepared.distinct
    places = prepared.group[codes]
    rows = [exact_sqdist(z, vectors[place]) for z, place in zip(points, places, strict=True)]
    return np.array(rows, dtype=np.float64)
