"""Every constant of the error analysis, each with the theorem that justifies it.

In: dimensions, and computed norms or distances. Out: rigorous radii in float64, rounded outward.
Must not import anything of certvq: what is written here is the whole argument.

The arithmetic model (IEEE 754 binary64, round to nearest, gradual underflow) is: an addition or
subtraction returns ``exact * (1 + delta)``, a product returns ``exact * (1 + delta) + eta``, with
``abs(delta) <= u = 2**-53`` and ``abs(eta) <= 2**-1075``. A product of n factors ``1 + delta`` lies
within ``gamma(n) = n u / (1 - n u)`` of 1 (``dot_rounding_error_le``, for any order of summation,
with or without fused multiply-add). The theorems, and what stands behind each, are listed in
docs/guarantees.md.

What is computed, for latents x and code vectors y (exact floats) and any float vector m:

    zh = fl(x - m), ch = fl(y - m)           z = x - m, c = y - m in real numbers
    h  = fl(fl(ch . ch) / 2)                 relative error gamma(D + 2) on each term of |c|^2 / 2
    s  = fl((zh, 1) . (ch, -h))              D + 1 terms, any order

so that ``abs(s - (z.c - |c|^2/2)) <= gamma(D+3) sum|z_d c_d| + gamma(2D+3) |c|^2/2 + underflow``,
and ``sum|z_d c_d| <= |z||c|`` by Cauchy and Schwarz. The counts below are a few units larger: the
difference pays for evaluating the radius itself, and the threshold, in floating point.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]
_Function = TypeVar("_Function", bound=Callable[..., object])
_Real = TypeVar("_Real", float, Float64Array)

UNIT_ROUNDOFF: Final = 2.0**-53
"""Largest relative error of one float64 operation (IEEE 754 binary64, to nearest)."""

SMALLEST: Final = math.ldexp(1.0, -1074)
"""The smallest positive float64; a product that underflows errs by at most half of it."""

SAFE_EXPONENT: Final = 400
"""Inputs within ``2**-400 .. 2**400`` neither overflow nor lose anything that matters unscaled."""

FIXED_POINT_NORM: Final = 32700.0
"""Largest norm of a latent or code vector in the units of the native filter's 16-bit integers.

Each entry then fits 16 bits. Rounding adds at most ``sqrt(D) / 2 <= 512`` to a norm, for dims up to
2**20; the offset is half the square of such a norm, and the mark of the padding 2**28. So any
partial sum of a score is below ``33213**2 + 33213**2 / 2 + 2**28 < 2**31``: nothing overflows
a 32-bit accumulator (``int16_dot_exact``)."""

BYTE_SUM: Final = 32767.0
"""Largest sum that the 16-bit sums of the native first pass may reach.

Such a sum has ``z.c`` over some of the dims, which the norms over these dims bound (Cauchy and
Schwarz). It may wrap on the way: what is added up is right modulo 2**16."""

TENSOR_CODE_NORM: Final = 256.0
"""Norm that no code vector of the Triton filter exceeds, in the units of its float16 numbers."""

TENSOR_LATENT_NORM: Final = 32768.0
"""Norm that no latent of the Triton filter exceeds, in the unit of its row: entries fit float16."""

TENSOR_SMALLEST: Final = 2.0**-14
"""The least normal float16. The Triton filter rounds what is below to 0, and measures what that
changes, so that it does not matter whether the device flushes subnormal operands."""

TENSOR_ROUNDOFF: Final = 2.0**-23
"""Error of an instruction of m products on tensor cores, relative to all magnitudes, over m + 1."""

TENSOR_DIM: Final = 1 << 17
"""Dims up to which the bounds of the Triton filter are derived."""

THEOREMS: Final[dict[str, tuple[str, ...]]] = {}
"""Name of each bound in this module, and the theorems that it rests on."""


def justified_by(*theorems: str) -> Callable[[_Function], _Function]:
    """Record which theorems a bound rests on, in `THEOREMS`."""

    def record(function: _Function) -> _Function:
        THEOREMS[function.__name__] = theorems
        return function

    return record


@justified_by("dot_rounding_error_le")
def gamma(terms: int) -> float:
    """Bound the relative error of `terms` roundings in a row, rounded up.

    Mathematics: ``n u / (1 - n u)`` with ``u = 2**-53``.

    Args:
        terms: how many roundings meet in one term, at least 0 and below 2**52.

    Returns:
        The least float64 that is not below the exact quotient.

    Raises:
        OverflowError: `terms` is so large that the bound says nothing.
    """
    if not 0 <= terms < 2**52:
        text = f"gamma needs 0 <= terms < 2**52, got {terms}"
        raise OverflowError(text)
    exact = Fraction(terms, 2**53 - terms)
    rounded = float(exact)
    return rounded if Fraction(rounded) >= exact else math.nextafter(rounded, math.inf)


@justified_by("dot_rounding_error_le")
def underflow_radius(dim: int) -> float:
    """Bound what underflow can add to a score or a squared distance of `dim` terms.

    Each of at most D + 1 products errs by at most 2**-1075. Where inputs were scaled down by a
    power of two, each of them moved by at most 2**-1075 as well, and its partner is at most 2:
    less than ``2.5 (D + 1)`` times the smallest number in all.
    """
    return 4.0 * (dim + 2) * SMALLEST


@justified_by("dot_rounding_error_le")
def norm_upper(squared_norms: _Real, dim: int) -> _Real:
    """Bound Euclidean norms from above, given their squares as computed in float64.

    Args:
        squared_norms: any shape, computed dot products of fl(x - m) with itself, D terms each.
        dim: D.

    Returns:
        For each entry a float64 that is at least the norm of ``x - m`` over the real numbers.
    """
    inflated = (squared_norms + underflow_radius(dim)) * (1.0 + gamma(dim + 8))
    return np.sqrt(inflated) * (1.0 + gamma(4))  # pyright: ignore[reportReturnType]


@justified_by("dot_rounding_error_le")
def score_radius(
    latent_norms: Annotated[Float64Array, " N"], code_norm: float, dim: int
) -> Annotated[Float64Array, " N"]:
    """Bound the error of every computed score of a row.

    Mathematics: ``gamma(D+8) |z||c| + gamma(2D+12) |c|^2/2 + flushing`` (module docstring).

    Args:
        latent_norms: (N,) upper bounds of the norms of ``x - m``.
        code_norm: upper bound of the norms of all ``y - m``.
        dim: D.

    Returns:
        (N,) radius E: each computed score is within E of the true one.
    """
    cross = gamma(dim + 8) * (latent_norms * code_norm)
    square = gamma(2 * dim + 12) * (0.5 * code_norm * code_norm)
    return cross + (square + flush_radius(latent_norms, code_norm, dim))


@justified_by("dot_rounding_error_le")
def flush_radius(
    latent_norms: Annotated[Float64Array, " N"], code_norm: float, dim: int
) -> Annotated[Float64Array, " N"]:
    """Bound what flushed subnormal numbers can change in a score, underflow included.

    The threads of a BLAS may flush results (each product and each sum then errs by at most
    2**-1022) and operands (2**-1022 times the partner), whatever the calling thread does. There
    are at most D + 1 products and D sums, and the partners' entries are at most the norms, or 1:
    ``(2 D + 1) + (D + 1) (|z| + |c| + 1)`` times 2**-1022 in all: negligible beside the rounding
    errors at ordinary scales. Arguments and shapes are those of `score_radius`.
    """
    return (1.5 * (2 * dim + 2) * 2.0**-1022) * (1.0 + latent_norms + code_norm)


@justified_by("dot_rounding_error_le")
def fixed_point_residual(squared_residual: float, dim: int) -> float:
    """Bound how far a vector is from the integers that it was rounded to, as it was measured.

    Mathematics: ``|scale (x - m) - integers|``. The roundings of the difference and the product are
    below ``2**-53 * 32768`` each; 2**-20 pays for them.

    Args:
        squared_residual: computed sum of the squares of ``fl(scale * fl(x - m)) - integers``.
        dim: D.

    Returns:
        A bound in units.
    """
    return norm_upper(squared_residual, dim) + 2.0**-20


@justified_by("int16_dot_exact")
def fixed_point_distance(squared_norm: float, score: float, scale: float, names: float) -> float:
    """Bound the distance of a latent to the code of the best score, both as integers.

    Mathematics: ``|z - c|^2 = |z|^2 - 2 scale s`` with the score ``s = (z.c - |c|^2 / 2) / scale``,
    which is computed exactly but for less than two units, by rounding the offset and halving it,
    and for the number of its group.

    Args:
        squared_norm: ``|z|^2`` in units of the codes, exact.
        score: the best one as computed.
        scale: units of the codes in a unit of the latent: a power of two, or rounded at most twice.
        names: greatest change of a score by the number of its group in the low bits.

    Returns:
        An upper bound in units of the codes.
    """
    squared = squared_norm - 2.0 * scale * (score - names - 2.0)
    slack = (squared_norm + scale * 2.0**33) * 2.0**-50
    return np.sqrt(np.maximum(squared, 0.0) + slack) * (1.0 + gamma(8))


@justified_by("quantized_score_gap_le")
def fixed_point_reach(
    distance: float,
    latent_residual: float,
    code_residual: float,
    scale: float,
    inverse: float,
    names: float,
) -> float:
    """Bound how far below the best score that of a nearest code can be, as computed.

    Mathematics: rounding moves latent and codes by ``a`` and ``b``. A code that is nearest before
    is at most ``2 (a + b)`` farther than the best one after, so with ``e = a + b`` its score is at
    most ``2 r e + 2 e^2`` below, besides two units and the group's number in either score.

    Args:
        distance: r as `fixed_point_distance` bounds it.
        latent_residual: `fixed_point_residual` of the latent, in its units.
        code_residual: the greatest `fixed_point_residual` of a code vector.
        scale: units of the codes in a unit of the latent: a power of two, or rounded at most twice.
        inverse: its inverse, rounded at most twice.
        names: greatest change of a score by the number of its group.

    Returns:
        A bound in units of a score.
    """
    moved = scale * latent_residual + code_residual
    gap = (2.0 * distance + 2.0 * moved) * moved * inverse
    return (gap + 2.0 * (names + 2.0)) * (1.0 + 2.0**-30) + 1.0


@justified_by("int16_dot_exact")
def fixed_point_score_of_distance(
    squared_norm: float, distance: float, moved: float, scale: float, names: float
) -> float:
    """Bound from below the computed score of every code within some distance of a latent.

    Mathematics: with z' and c' the integers of both, in units of the latent,
    ``|z' - c'| <= |z - c| + moved``, and the score is ``scale (|z'|^2 - |z' - c'|^2) / 2``, but for
    less than two units, by rounding the offset and halving it, and for the number of its group.

    Args:
        squared_norm: ``|z'|^2``, exact.
        distance: the greatest ``|z - c|``.
        moved: how far rounding moves the latent and a code together, at most: the
            `fixed_point_residual` of both.
        scale: units of the codes in a unit of the latent: a power of two, or rounded at most twice.
        names: greatest change of a score by the number of its group.

    Returns:
        A score as computed that none of these codes is below, also after rounding towards zero.
    """
    greatest = (distance + moved) * (1.0 + gamma(12))
    square = greatest * greatest
    slack = (squared_norm + square) * 2.0**-49
    return (0.5 * scale) * ((squared_norm - square) - slack) - (names + 5.0)


@justified_by("dot_rounding_error_le")
def axes_distance(distance: float, latent_norm: float, code_norm: float, dim: int) -> float:
    """Bound how far apart the native first pass sees a latent and a code, along a few axes.

    Mathematics: with orthonormal axes u, ``p = (u.z)`` and ``t^2 = |z|^2 - |p|^2``, points (p, t)
    are no farther apart than their vectors: ``t t' >= z.z' - p.p'`` by Cauchy and Schwarz, applied
    to what is left of both. Let ``g = gamma(D + 8)``, D <= 1024. The products of seven axes, or
    fewer, were computed and are within g of 0 and 1, so that orthonormal ones are ``15 g`` away.
    With its roundings p errs by at most ``18 g |z|``, ``t^2`` by ``40 g |z|^2`` and t by the root
    of that: both by ``7 sqrt(g) |z|``. Underflow adds less than 2**-500, code norms are 2**-400.

    Args:
        distance: of the latent z and the code vector, at most.
        latent_norm: upper bound of ``|z|``.
        code_norm: the same for all code vectors.
        dim: D.

    Returns:
        A bound of the distance of the two points as computed.
    """
    return (distance + 8.0 * np.sqrt(gamma(dim + 8)) * (latent_norm + code_norm)) * (1.0 + gamma(8))


@justified_by("int8_dot_exact")
def byte_score_upper(latent_limit: float, squared_norm: float, ratio: float, dim: float) -> float:
    """Bound the magnitude of every score of the native first pass, so that it fits beside a name.

    Mathematics: with integers z and c, ``|z.c| <= |z||c|``, ``|z| <= sqrt(D) limit``, and an offset
    is at most ``ratio |c|^2``: half of that for a code vector, all of it in the padding.

    Args:
        latent_limit: the greatest magnitude of an entry of z.
        squared_norm: the greatest ``|c|^2``.
        ratio: units of the latent in a unit of the codes, at most.
        dim: D.

    Returns:
        A bound in units of a score, with two units for the rounding of the offset.
    """
    product = latent_limit * np.sqrt(dim) * np.sqrt(squared_norm)
    return (product + ratio * squared_norm + 2.0) * (1.0 + 2.0**-30)


@justified_by("nearest_of_score_gap", "nearest_mem_candidates")
def candidate_threshold(
    best: Annotated[Float64Array, " N"], radius: Annotated[Float64Array, " N"]
) -> Annotated[Float64Array, " N"]:
    """Return the score below which a code cannot be nearest: at most ``best - 2 radius``.

    Args:
        best: (N,) greatest computed score of each row.
        radius: (N,) as `score_radius` gives it; its spare roundings pay for this subtraction.

    Returns:
        (N,) thresholds. If every other score lies below, the best is the unique nearest code;
        in any case every nearest code has a score at or above.
    """
    return best - 2.0 * radius


@justified_by("dot_rounding_error_le", "refine_sound")
def sqdist_lower(computed: _Real, dim: int) -> _Real:
    """Bound squared distances from below that were computed as ``sum_d fl(fl(x - y)^2)``.

    All terms are nonnegative and each took at most D + 2 roundings, so the error is relative.

    Args:
        computed: any shape, float64.
        dim: D.

    Returns:
        Lower bounds, of the same shape, of the distances over the real numbers.
    """
    return computed * (1.0 - gamma(dim + 8)) - underflow_radius(dim)


@justified_by("dot_rounding_error_le", "refine_sound")
def sqdist_upper(computed: _Real, dim: int) -> _Real:
    """Bound squared distances from above, as `sqdist_lower` does from below."""
    return computed * (1.0 + gamma(dim + 8)) + underflow_radius(dim)


@justified_by("dot_rounding_error_le", "refine_sound")
def farther_factor(dim: int) -> float:
    """Return by which factor a computed squared distance exceeds another that is surely less.

    With g = ``gamma(D + 8)``, ``d > f e + s`` for ``f = 1 + 4 g`` and ``s = farther_slack(D)``
    gives ``sqdist_lower(d) > sqdist_upper(e)``.
    """
    return 1.0 + 4.0 * gamma(dim + 8)


@justified_by("dot_rounding_error_le", "refine_sound")
def farther_slack(dim: int) -> float:
    """Return what underflow adds to `farther_factor`."""
    return 4.0 * underflow_radius(dim)


@justified_by("isNearestCode_of_small_perturbation", "dot_rounding_error_le")
def quarter_sqdist(between: _Real, dim: int) -> _Real:
    """Bound a quarter of the squared distance between two vectors from below.

    With i the one vector, z too, and j the other, a latent within half of their distance from i is
    as near to i as to j.

    Args:
        between: the squared distance as it was computed, finite.
        dim: D.

    Returns:
        A number, less than 0 where nothing is proved. If the squared distance of a latent to one
        vector, rounded once, is no greater, the one to the other vector is not less. For rounding
        takes at most u of it, and the product below as much, or half of `SMALLEST` each.
    """
    return 0.25 * sqdist_lower(between, dim) * (1.0 - gamma(8)) - 4.0 * SMALLEST


@justified_by("dot_rounding_error_le")
def sqdist_pair_radius(sqdist: float, dim: int) -> float:
    """Bound the error of a squared distance that was summed as two doubles.

    Mathematics: with ``x - y = d + e``, ``d^2 = p + q`` and ``s + p = s' + t`` exactly, the true
    value is the last s, and the sum of all t, q, ``2 d e`` and ``e^2``. The products p are summed
    in eight lanes and these added up, so that all t are at most ``(D + 7) u`` of the value, all q
    at most u, all ``2 d e`` at most ``2 u``; the second double is the sum of these, of which each
    passes at most ``D + 20`` roundings. It leaves out ``e^2``, at most ``u^2`` of the value. So the
    error is at most ``(D + 11) u gamma(D + 20) + u^2`` of the value.

    Args:
        sqdist: the first double, within ``2**-900 .. 2**1000``: underflow is of no account.
        dim: D, at most 2**24.

    Returns:
        The bound, with room for what the sums of the products are off by, relatively, and for one
        rounding of either of ``second - bound`` and ``second + bound``.
    """
    return (dim + 20.0) * (dim + 20.0) * (UNIT_ROUNDOFF * UNIT_ROUNDOFF) * sqdist


@justified_by("isNearestCode_of_small_perturbation")
def border_distance_lower(
    sqdist_gap: Float64Array, code_distance: Float64Array, gap_error: Float64Array
) -> Float64Array:
    """Bound the distance of a latent to the border between two cells from below.

    Mathematics: the border is a hyperplane at distance ``(d_j - d_i) / (2 |c_i - c_j|)``.

    Args:
        sqdist_gap: any shape, computed ``d_j - d_i``.
        code_distance: upper bounds of ``|c_i - c_j|``; 0 means that the two are the same vector.
        gap_error: bounds of the error of `sqdist_gap`.

    Returns:
        Distances, 0 where the gap is not proved to be positive, infinite for equal vectors.
    """
    gap = np.maximum(sqdist_gap - gap_error, 0.0) * (1.0 - gamma(8))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        distance = gap / (2.0 * code_distance)
    shrunk = np.maximum(distance * (1.0 - gamma(8)) - SMALLEST, 0.0)
    return np.where(code_distance == 0.0, np.inf, np.nan_to_num(shrunk, nan=0.0, posinf=0.0))


@justified_by("isNearestCode_of_small_perturbation", "dot_rounding_error_le")
def border_distance_of_sqdist(farther: float, nearer: float, between: float, dim: int) -> float:
    """Bound the distance of a latent to the border between two cells from below.

    Mathematics: as `border_distance_lower`, from three squared distances as they were computed,
    each as ``sum_d fl(fl(x - y)^2)``.

    Args:
        farther: computed ``|z - c_j|^2``.
        nearer: computed ``|z - c_i|^2``.
        between: computed ``|c_i - c_j|^2`` of two unlike code vectors.
        dim: D.

    Returns:
        A distance; 0 where the gap is not proved to be positive.
    """
    gap = np.maximum(sqdist_lower(farther, dim) - sqdist_upper(nearer, dim), 0.0)
    distance = gap / (2.0 * norm_upper(between, dim))
    return np.maximum(distance * (1.0 - gamma(8)) - SMALLEST, 0.0)


@justified_by("isNearestCode_of_small_perturbation", "dot_rounding_error_le")
def border_distance_of_product(
    product: float, farther: float, nearer: float, between: float, dim: int
) -> float:
    """Bound the distance of a latent to the border between two cells from below.

    Mathematics: ``d_j - d_i = (c_i - c_j) . ((z - c_i) + (z - c_j))``, of which each term errs by
    at most ``D + 3`` roundings of ``|c_i - c_j| (|z - c_i| + |z - c_j|)``. That is less than what
    the squared distances err by where z is far from two code vectors that are near each other.
    `product` is computed in any order of summation; the other arguments, and the result, are those
    of `border_distance_of_sqdist`.
    """
    apart = norm_upper(between, dim)
    reach = norm_upper(nearer, dim) + norm_upper(farther, dim)
    error = gamma(dim + 12) * (apart * reach) + underflow_radius(dim)
    distance = np.maximum(product - error, 0.0) / (2.0 * apart)
    return np.maximum(distance * (1.0 - gamma(8)) - SMALLEST, 0.0)


@justified_by("dot_rounding_error_le")
def border_reach(nearer: float, radius: float, dim: int) -> float:
    """Bound how far a code vector can be whose border is nearer than `radius`.

    Mathematics: ``|c_i - c_j| <= |z - c_i| + |z - c_j|``, so the border between the cells of i
    and j is at least ``(|z - c_j| - |z - c_i|) / 2`` away.

    Args:
        nearer: computed ``|z - c_i|^2``.
        radius: any distance.
        dim: D.

    Returns:
        Every code vector at least so far from z has a border at least `radius` away.
    """
    return (norm_upper(nearer, dim) + 2.0 * radius) * (1.0 + gamma(8))


@justified_by("dot_rounding_error_le", "refine_sound")
def sqdist_limit(distance: float, dim: int) -> float:
    """Return what a computed squared distance must exceed to be at least `distance` for certain."""
    return sqdist_upper(distance * distance, dim) * (1.0 + 4.0 * gamma(dim + 8))


@justified_by("quantized_score_gap_le")
def tensor_residual(squared_residual: _Real, unit: _Real) -> _Real:
    """Bound how far a vector is from the float16 numbers that it was rounded to, as measured.

    Mathematics: ``|scale (x - m) - unit q|``, with entries of q below 2**15. The roundings of
    the difference and of the squares and their sum, for dims up to `TENSOR_DIM`, are below 2**-34
    of the residual and 2**-37 in q's units; 2**-30 and 2**-20 pay for them.

    Args:
        squared_residual: computed sum of the squares of ``fl(scale / unit * fl(x - m)) - q``.
        unit: of q, a power of two.

    Returns:
        A bound in units of the codes.
    """
    root = np.sqrt(squared_residual)
    return (root + root * 2.0**-30 + 2.0**-20) * unit  # pyright: ignore[reportReturnType]


@justified_by("quantized_score_gap_le")
def tensor_relative_error(dim: float, names: float) -> float:
    """Bound the error of a score on tensor cores, beside the greatest magnitude of its parts.

    Mathematics: by ``ax_tensor_core_accumulate`` an instruction that adds m products to an
    accumulator A errs by at most ``(m + 1) 2**-23 (|A| + sum |products|)``. As ``m + 1 <= 2 m``,
    all instructions of a score together err by at most ``g / (1 - g)`` of the sum of all absolute
    products, ``g = dim 2**-22``, however the products are spread over them. Rounding the offset to
    float32 and subtracting it add 2**-24 each, and the number of the group `names`.

    Args:
        dim: how many products, the zeros of the padding among them, at most `TENSOR_DIM`.
        names: greatest relative change of a score by the number of its group in the low bits.

    Returns:
        A factor of ``|z'| |c'| + |c'|^2 / 2``.
    """
    roundings = dim * 2.0 * TENSOR_ROUNDOFF
    accumulated = roundings / (1.0 - roundings)
    return (accumulated + (1.0 + accumulated) * (names + 2.0**-22)) * (1.0 + 2.0**-30)


@justified_by("quantized_score_gap_le")
def tensor_score_error(latent_norm: _Real, code_norm: _Real, relative: _Real, unit: _Real) -> _Real:
    """Bound the error of the scores of a row as tensor cores compute them.

    Args:
        latent_norm: upper bound of ``|z'|``, in units of the codes.
        code_norm: the greatest ``|c'|``.
        relative: `tensor_relative_error`.
        unit: of the latent; the scores are computed in it.

    Returns:
        w, in units of the codes. What is flushed or underflows, at most some 2**-126 for each
        product in the unit of the latent, is paid for by 2**-100.
    """
    magnitude = latent_norm * code_norm + 0.5 * code_norm * code_norm
    error = magnitude * relative + unit * 2.0**-100
    return error + error * 2.0**-30


@justified_by("quantized_score_gap_le")
def tensor_distance(squared_norm: _Real, score: _Real, error: _Real) -> _Real:
    """Bound the distance of a latent to the code of the best score, both as rounded to float16.

    Mathematics: ``|z' - c'|^2 = |z'|^2 - 2 s``, with s at most `error` below the computed score.
    As ``|c'| <= 257``, the roundings of all this are below ``2**-30 (|z'|^2 + 2**17)``.

    Args:
        squared_norm: ``|z'|^2`` as computed, in units of the codes.
        score: the best one as computed.
        error: `tensor_score_error`.

    Returns:
        An upper bound in units of the codes.
    """
    squared = squared_norm - 2.0 * (score - error)
    root = np.sqrt(np.maximum(squared, 0.0) + (squared_norm + 2.0**17) * 2.0**-30)
    return root + root * 2.0**-30  # pyright: ignore[reportReturnType]


@justified_by("quantized_score_gap_le")
def tensor_reach(distance: _Real, moved: _Real, error: _Real, score: _Real, unit: _Real) -> _Real:
    """Bound how far below the best score that of a nearest code can be, as computed.

    Mathematics: ``2 r e + 2 e^2 + 2 w``, where rounding moves latent and codes by e together. The
    threshold is rounded to float32: 2**-22 of the score and 2**-20 of the bound pay for it.

    Args:
        distance: r as `tensor_distance` bounds it.
        moved: e, the `tensor_residual` of the latent and the greatest one of the codes.
        error: w, `tensor_score_error`.
        score: the best one as computed.
        unit: of the latent.

    Returns:
        A bound in units of the codes.
    """
    gap = 2.0 * (distance + moved) * moved + 2.0 * error
    rounding = np.abs(score) * 2.0**-22 + unit * 2.0**-100
    return gap + gap * 2.0**-20 + rounding  # pyright: ignore[reportReturnType]
