"""The nearest codes of each latent in certified order: `certvq.rank`.

In: latents and a codebook of any library. Out: the `count` nearest codes, the nearest first, and
their squared distances. Filter, certify, refine as for one code: scores leave out what is too far,
squared differences order the rest, and integers decide what float64 cannot tell apart. The compiled
kernel ranks rows where float64 can; NumPy ranks the others, and all where there is no kernel.
Must not import backends.
"""

from dataclasses import dataclass

import numpy as np

from certvq import _native, bounds
from certvq._native import thread_count
from certvq._types import Array, Float, Float64, Float64Array, Int, Int64, Int64Array
from certvq.assign._arrays import (
    Latents,
    as_array,
    largest_magnitude,
    rows_of,
    sender,
    to_host,
)
from certvq.assign._exact import Pairs, integer_sqdist
from certvq.assign._filter_numpy import NumpyFilter, candidates, numpy_filter
from certvq.assign._packing import to_bits
from certvq.assign._prepare import Codebook, Prepared, as_prepared
from certvq.assign._sqdist import row_sqdist
from certvq.assign._threads import each_block
from certvq.assign._validate import require_finite, require_ieee754, require_width
from certvq.errors import OptionError


@dataclass(frozen=True)
class Ranking:
    """The nearest codes of each latent.

    Attributes:
        codes: int64 (N, count), the nearest first.
        sqdist: float64 (N, count), squared distances with a relative error of at most
            ``gamma(D + 8)``, or an absolute error if they are subnormal; infinite beyond the
            range of float64.
    """

    codes: Int[Array, "N count"]
    sqdist: Float[Array, "N count"]


@dataclass(frozen=True)
class _Ordered:
    """Candidates in the order of their row, then distance, then code.

    Attributes:
        pairs: indices of latents, and of distinct code vectors.
        codes: codes of the user's codebook.
        sqdist: as computed.
    """

    pairs: Pairs
    codes: Int64[Int64Array, " P"]
    sqdist: Float64[Float64Array, " P"]


def rank(latents: Latents, codebook: Codebook, count: int) -> Ranking:
    """Find the nearest codes of each latent in order, certified over the real numbers.

    Mathematics: row n is the beginning of the sequence of all codes, sorted by
    ``|z_n - c_i|^2`` over the real numbers and then by i.

    Args:
        latents: (N, D) finite numbers, as for `certvq.assign`.
        codebook: (K, D) finite numbers, or a `Prepared`.
        count: how many codes of each latent, in 1..K.

    Returns:
        A `Ranking`, on the device of the latents.

    Raises:
        OptionError: `count` is not in 1..K.
        ShapeError, DTypeError, NonFiniteError, FloatEnvironmentError: as for `certvq.assign`.

    Guarantee: the codes are a function of the numbers alone, and the first one is that of
        `certvq.assign`. A code whose computed score is more than twice the error bound below the
        `count`-th best is beaten by that many codes (``quantized_score_gap_le`` in the kernel, else
        ``nearest_of_score_gap``, for each of them); the others are sorted by intervals that hold
        their distances, or by integers where two intervals meet. That last step, and the counting,
        are on paper.
    Ties: the lowest index first.
    Cost: O(N K D): with the compiled kernel, for up to 15 codes, else in float64. Eight codes took
        1.2 to 4.1 times as long as `certvq.assign` where that was measured. Memory O(N count + K D)
        and one block of scores.

    Example:
        >>> import numpy as np, certvq
        >>> codebook = np.array([[0.0], [3.0], [1.0], [2.0]])
        >>> certvq.rank(np.array([[1.2], [1.5]]), codebook, 3).codes
        array([[2, 3, 0],
               [2, 3, 0]])

    References:
        Jegou, Douze, Schmid, "Product Quantization for Nearest Neighbor Search", 2011, for the
        use of several nearest code vectors.
    """
    array, prepared = as_array(latents), as_prepared(codebook)
    if not 1 <= count <= prepared.codebook_size:
        text = (
            f"count must lie in 1..{prepared.codebook_size}, the number of codes, got {count}; "
            "ask for fewer"
        )
        raise OptionError(text)
    require_width(array, prepared.dim)
    require_ieee754()
    codes, sqdist = _kernel(array, prepared, count) or _numpy(array, prepared, count)
    send = sender(array)
    return Ranking(codes=send(codes), sqdist=send(sqdist))


def _kernel(array: Array, prepared: Prepared, count: int) -> tuple[Int64Array, Float64Array] | None:
    """Rank with the compiled filter, and with NumPy what it leaves open; None where it cannot."""
    places = min(count, len(prepared.lowest))
    if not _native.AVAILABLE or places > _native.MOST_RANKED or not prepared.packed().usable:
        return None
    found = _native.rank(prepared.packed(), *to_bits(array), places, thread_count())
    if found is None:
        return None
    codes, sqdist, decided_by = found
    if places < count or len(prepared.lowest) < prepared.codebook_size:
        codes, sqdist = _with_equals(codes, sqdist, prepared, count)
    rows = np.flatnonzero(decided_by == 0)
    if rows.size:
        codes[rows], sqdist[rows] = _numpy(rows_of(array, rows), prepared, count)
    return codes, sqdist


def _with_equals(
    ranked: Int64Array, sqdist: Float64Array, prepared: Prepared, count: int
) -> tuple[Int64Array, Float64Array]:
    """Put all codes of each distinct vector in its place, the lowest first, up to `count` in all.

    Rows that are open may hold anything.
    """
    members = np.argsort(prepared.group, kind="stable")
    sizes = np.bincount(prepared.group)
    vectors = prepared.group[np.clip(ranked, 0, prepared.codebook_size - 1)]
    ends = np.cumsum(sizes[vectors], axis=1)
    at = np.zeros((len(ranked), count), dtype=np.int64)
    for end in ends.T[:-1]:
        at += end[:, None] <= np.arange(count)
    vector = np.take_along_axis(vectors, at, axis=1)
    begin = np.take_along_axis(ends, at, axis=1) - sizes[vector]
    inner = np.minimum(np.arange(count) - begin, sizes[vector] - 1)
    first = (np.cumsum(sizes) - sizes)[vector]
    return members[first + inner].astype(np.int64), np.take_along_axis(sqdist, at, axis=1)


def _numpy(array: Array, prepared: Prepared, count: int) -> tuple[Int64Array, Float64Array]:
    require_finite(array, "latents")
    host = to_host(array)
    exponent = prepared.exponent_for(largest_magnitude(host))
    filter_ = numpy_filter(prepared, exponent)
    codes = np.empty((len(host), count), dtype=np.int64)
    sqdist = np.empty((len(host), count))

    def decide(block: slice) -> None:
        with np.errstate(all="ignore"):  # underflow and overflow are counted in the bounds
            codes[block], sqdist[block] = _block(host[block], prepared, filter_, count, exponent)

    each_block(decide, len(host), filter_.block_rows(), threads=thread_count())
    if exponent:  # scaled for the largest number of all, the others may have underflowed
        for place in range(count):
            sqdist[:, place] = row_sqdist(host, prepared, codes[:, place])
    return codes, sqdist


def _block(
    latents: np.ndarray, prepared: Prepared, filter_: NumpyFilter, count: int, exponent: int
) -> tuple[Int64Array, Float64Array]:
    scores, radius = filter_.scores(latents)
    wanted = min(count, scores.shape[1])
    worst = np.partition(scores, -wanted, axis=1)[:, -wanted]
    pairs = candidates(scores, bounds.candidate_threshold(worst, radius))
    exact = latents.astype(np.float64)
    ordered = _sorted(exact, prepared, pairs, exponent)
    starts = ordered.pairs.starts()
    place = starts[:, None] + np.arange(count)
    doubtful = np.flatnonzero(_meets_next(ordered, prepared.dim)[place].any(axis=1))
    codes = ordered.codes[place]
    sqdist = ordered.sqdist[place]
    ends = np.append(starts[1:], len(ordered.codes))
    if doubtful.size:
        members = np.concatenate([np.arange(starts[row], ends[row]) for row in doubtful])
        rows = np.repeat(np.arange(doubtful.size), (ends - starts)[doubtful])
        local = Pairs(rows, ordered.pairs.codes[members])
        order = _exact_order(exact[doubtful], prepared.distinct, local, ordered.codes[members])
        firsts = local.starts()[:, None] + np.arange(count)
        chosen = members[order][firsts]
        codes[doubtful], sqdist[doubtful] = ordered.codes[chosen], ordered.sqdist[chosen]
    return codes, sqdist


def _sorted(exact: Float64Array, prepared: Prepared, pairs: Pairs, exponent: int) -> _Ordered:
    """Compute the distances of all candidates and sort them; equal code vectors come apart."""
    scaled = np.ldexp(exact, -exponent)
    vectors = prepared.scaled(exponent)
    computed = np.empty(len(pairs.rows))
    for part in pairs.chunks(prepared.dim):
        difference = scaled[pairs.rows[part]] - vectors[pairs.codes[part]]
        computed[part] = np.einsum("pd,pd->p", difference, difference)
    codes = prepared.lowest[pairs.codes]
    if len(prepared.lowest) < prepared.codebook_size:
        members = np.argsort(prepared.group, kind="stable")
        sizes = np.bincount(prepared.group)
        copies = sizes[pairs.codes]
        begin = (np.cumsum(sizes) - sizes)[pairs.codes]
        inner = np.arange(copies.sum()) - np.repeat(np.cumsum(copies) - copies, copies)
        codes = members[np.repeat(begin, copies) + inner]
        pairs = Pairs(np.repeat(pairs.rows, copies), np.repeat(pairs.codes, copies))
        computed = np.repeat(computed, copies)
    order = np.lexsort((codes, computed, pairs.rows))
    ordered = Pairs(pairs.rows[order], pairs.codes[order])
    return _Ordered(ordered, codes[order].astype(np.int64), computed[order])


def _meets_next(ordered: _Ordered, dim: int) -> np.ndarray:
    """Say of each candidate whether one that follows it in its row might belong before it.

    Copies of one code vector that follow each other are in order; what follows the last of them may
    belong before all of them.
    """
    rows, vectors = ordered.pairs.rows, ordered.pairs.codes
    upper, lower = (
        bounds.sqdist_upper(ordered.sqdist, dim),
        bounds.sqdist_lower(ordered.sqdist, dim),
    )
    same_row = rows[:-1] == rows[1:]
    ends = np.append(~same_row | (vectors[:-1] != vectors[1:]), True)  # of runs of one vector
    last = np.flatnonzero(ends)
    meets = np.append(same_row & ~(lower[1:] > upper[:-1]), False)
    run = np.cumsum(ends) - ends
    return meets[last][run]


def _exact_order(
    exact: Float64Array, distinct: Float64Array, pairs: Pairs, codes: Int64Array
) -> Int64Array:
    """Sort pairs by row, then exact distance, then code."""
    distances = integer_sqdist(exact, distinct, pairs)
    if isinstance(distances, np.ndarray):
        return np.lexsort((codes, distances, pairs.rows)).astype(np.int64)
    rows, ties = pairs.rows.tolist(), codes.tolist()
    order = sorted(range(len(rows)), key=lambda i: (rows[i], distances[i], ties[i]))
    return np.array(order, dtype=np.int64)
