"""How far a latent may move before its code can change.

In: latents, a codebook and their codes. Out: float64 (N,), a proved lower bound for each row. The
cell of a code is cut out by hyperplanes half-way to each other code; the radius is the distance to
the nearest of them, rounded down. The compiled kernel measures those that its filter cannot leave
out; NumPy takes its place where it was not built or refuses the numbers, and measures all.
"""

import numpy as np

from certvq import _native, bounds
from certvq._native import thread_count
from certvq._types import Array, Float, Float64Array, Int64Array
from certvq.assign._arrays import Codes, Latents, as_array, largest_magnitude, sender, to_host
from certvq.assign._filter_numpy import NumpyFilter, numpy_filter
from certvq.assign._packing import to_bits
from certvq.assign._prepare import Codebook, Prepared, as_prepared
from certvq.assign._validate import (
    require_codes,
    require_finite,
    require_ieee754,
    require_width,
)


def stability_radius(latents: Latents, codebook: Codebook, codes: Codes) -> Float[Array, " N"]:
    """Bound from below how far each latent may move before its code can change.

    Mathematics: ``min over j of (|z - c_j|^2 - |z - c_i|^2) / (2 |c_i - c_j|)``, rounded down.

    Args:
        latents: (N, D), as for `certvq.assign`.
        codebook: (K, D) or a `Prepared`.
        codes: (N,) the codes of the latents, as `certvq.assign` returns them.

    Returns:
        float64 (N,), on the device of the latents: for every perturbation of Euclidean norm at most
        the radius, the code stays the lowest nearest one. 0 if this cannot be proved, or if the
        code is not the lowest nearest one to begin with; infinite if there is only one code vector.

    Raises:
        ShapeError, DTypeError, NonFiniteError, CodeRangeError, FloatEnvironmentError: with numbers.

    Guarantee: ``isNearestCode_of_small_perturbation``.
    Ties: an exact tie with any other code gives 0, and so does a code that has a lower equal.
    Cost: with the compiled kernel one pass of O(N K D), 1.2 to 2.3 times that of `certvq.assign`;
        without it, or beyond a length of 2**398, two products of O(N K D) in float64. O(N + K D)
        memory.

    Example:
        >>> import numpy as np, certvq
        >>> r = certvq.stability_radius(np.array([[0.2]]), np.array([[0.0], [1.0]]), [0])
        >>> bool(0.3 - 1e-12 < r[0] <= 0.3)
        True
    """
    array, prepared = as_array(latents), as_prepared(codebook)
    require_width(array, prepared.dim)
    require_ieee754()
    given = require_codes(as_array(codes), int(array.shape[0]), prepared.codebook_size)
    radius = _native_radii(array, prepared, given)
    if radius is None:
        require_finite(array, "latents")
        radius = _numpy_radii(to_host(array), prepared, given)
    return sender(array)(radius)


def _native_radii(array: Array, prepared: Prepared, given: Int64Array) -> Float64Array | None:
    """Bound the radii with the compiled kernel; None where there is none, or it refuses."""
    if not (_native.AVAILABLE and prepared.packed().usable):
        return None
    host, number = to_bits(array)
    return _native.stability(prepared.packed(), host, number, given, thread_count())


def _numpy_radii(host: np.ndarray, prepared: Prepared, given: Int64Array) -> Float64Array:
    exponent = prepared.exponent_for(largest_magnitude(host))
    own = prepared.group[given]
    with np.errstate(all="ignore"):  # underflow and overflow are counted in the bounds
        radius = _radii(host, prepared, own, exponent)
    radius[prepared.lowest[own] != given] = 0.0
    return radius


def _radii(host: np.ndarray, prepared: Prepared, own: Int64Array, exponent: int) -> Float64Array:
    filter_ = numpy_filter(prepared, exponent)
    radius = np.empty(len(host))
    for start in range(0, len(host), filter_.block_rows()):
        part = slice(start, start + filter_.block_rows())
        radius[part] = _block_radius(filter_, prepared, host[part], own[part])
    if exponent:
        radius = np.nextafter(np.ldexp(radius, exponent), 0.0, where=radius < np.inf, out=radius)
    return radius


def _block_radius(
    filter_: NumpyFilter, prepared: Prepared, latents: np.ndarray, own: Int64Array
) -> Float64Array:
    rows = np.arange(len(own))
    scores, error = filter_.scores(latents)
    gaps = 2.0 * (scores[rows, own][:, None] - scores)
    distances = _code_distances(filter_, prepared, own)
    borders = bounds.border_distance_lower(gaps, distances, 4.0 * error[:, None])
    borders[rows, own] = np.inf
    return borders.min(axis=1)


def _code_distances(filter_: NumpyFilter, prepared: Prepared, own: Int64Array) -> Float64Array:
    """Bound ``|c_i - c_j|`` from above for the code i of each row and every j, (B, U)."""
    used, place = np.unique(own, return_inverse=True)
    scores, error = filter_.scores(prepared.distinct[used])
    squares = 2.0 * (scores[np.arange(len(used)), used][:, None] - scores) + 4.0 * error[:, None]
    return (np.sqrt(np.maximum(squares, 0.0)) * (1.0 + bounds.gamma(8)))[place]
