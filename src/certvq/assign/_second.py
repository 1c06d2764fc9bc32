"""The nearest code of each latent besides the one that was chosen.

In: latents, a prepared codebook and certified codes. Out: int64 (N,), the lowest index j other than
the code at the least exact distance. The backend that found the codes, run again with the vector of
each row's code left out, gives the nearest other vector; an equal of the chosen vector is settled
here, without looking for it. Must not import torch unless the torch backend runs.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from certvq import _native
from certvq._float64 import float64_home
from certvq._native import thread_count
from certvq._types import Array, Int64Array
from certvq.assign import _engine
from certvq.assign._arrays import is_torch, largest_magnitude, own_copy, rows_of, to_host
from certvq.assign._assignment import Decided
from certvq.assign._exact import same_sqdist
from certvq.assign._filter import Filter
from certvq.assign._filter_numpy import numpy_filter
from certvq.assign._native import mended_sqdist, native_codes
from certvq.assign._packing import to_bits
from certvq.assign._prepare import Prepared
from certvq.assign._reference import reference_second
from certvq.assign._sqdist import rounded_sqdist
from certvq.assign._threads import torch_was_forked
from certvq.errors import OptionError

FindSecond: TypeAlias = Callable[[Array, Prepared, Int64Array], Int64Array]
"""Takes finite latents, the codebook and the codes; returns indices of the user's codebook."""


def find_second(backend: str, latents: Array) -> FindSecond:
    """Return the search for second codes that goes with a backend of `certvq.assign`.

    A registered backend only proposes codes: its seconds are those of ``"auto"``.

    Raises:
        OptionError: the backend is ``"lean"``, whose proved argmin leaves no code out.
    """
    if backend == "lean":
        text = (
            "second=True must go with another backend than 'lean', whose proved argmin leaves no "
            "code out; choose backend='reference' for exact integers, or 'auto'"
        )
        raise OptionError(text)
    on_gpu = is_torch(latents) and latents.device.type == "cuda"
    automatic = _torch if on_gpu else _kernel if _native.AVAILABLE else _numpy
    return _BUILT_IN.get(backend, automatic)


def decide_both(
    backend: str, latents: Array, prepared: Prepared
) -> tuple[Decided, Int64Array] | None:
    """Find codes and second codes in one pass of the compiled filter.

    Rows whose order float64 cannot tell are decided as if they were alone.

    Returns:
        What `find_backend` and `find_second` find for the backend, or None: ask them. So with
        another backend, and where the kernel refuses.
    """
    if not _native.AVAILABLE or backend not in {"auto", "native"}:
        return None
    if is_torch(latents) and latents.device.type == "cuda":
        return None
    packed = prepared.packed()
    if not packed.usable or packed.distinct < 2:
        return None
    host, number = to_bits(latents)
    found = _native.rank(packed, host, number, 2, thread_count())
    if found is None:
        return None
    ranked, sqdists, decided_by = found
    codes, seconds = ranked.T.copy()
    sqdist = sqdists[:, 0].copy()
    rows = np.flatnonzero(decided_by == 0)
    if rows.size:
        some = rows_of(latents, rows)
        alone = native_codes(some, prepared)
        if alone is None:
            return None
        codes[rows], decided_by[rows], sqdist[rows] = alone.codes, alone.decided_by, alone.sqdist
        seconds[rows] = _kernel(some, prepared, np.asarray(alone.codes))
    sqdist = mended_sqdist(latents, prepared, codes, sqdist)
    if packed.distinct < prepared.codebook_size:
        seconds = _with_equals(seconds, latents, prepared, codes)
    return Decided(codes, decided_by, sqdist), seconds


def _kernel(latents: Array, prepared: Prepared, codes: Int64Array) -> Int64Array:
    packed = prepared.packed()
    if not packed.usable:
        return _numpy(latents, prepared, codes)
    host, number = to_bits(latents)
    found = _native.second(packed, host, number, np.ascontiguousarray(codes), thread_count())
    if found is None:
        return _numpy(latents, prepared, codes)
    if packed.distinct == prepared.codebook_size:
        return found
    return _with_equals(found, latents, prepared, codes)


def _numpy(latents: Array, prepared: Prepared, codes: Int64Array) -> Int64Array:
    host = to_host(latents)
    exponent = prepared.exponent_for(largest_magnitude(host))
    return _by_filter(host, prepared, codes, numpy_filter(prepared, exponent), exponent)


def _torch(latents: Array, prepared: Prepared, codes: Int64Array) -> Int64Array:
    import torch

    from certvq.assign._filter_torch import torch_filter

    tensor = latents if is_torch(latents) else torch.from_numpy(own_copy(to_host(latents)))
    home = torch.device(float64_home(tensor.device))
    if home.type == "cpu" and torch_was_forked():
        return _numpy(tensor, prepared, codes)
    exponent = prepared.exponent_for(largest_magnitude(to_host(tensor)))
    filter_ = torch_filter(prepared, exponent, home)
    return _by_filter(tensor, prepared, codes, filter_, exponent)


def _reference(latents: Array, prepared: Prepared, codes: Int64Array) -> Int64Array:
    return reference_second(to_host(latents), prepared.vectors(), codes)


_BUILT_IN: Final[dict[str, FindSecond]] = {
    "native": _kernel,
    "reference": _reference,
    "numpy": _numpy,
    "torch": _torch,
}


def _by_filter(
    latents: Array,
    prepared: Prepared,
    codes: Int64Array,
    filter_: Filter,
    exponent: int,
) -> Int64Array:
    if len(prepared.lowest) > 1:
        besides = prepared.group[codes]
        found = _engine.run(latents, prepared, filter_, exponent, besides=besides).codes
    else:
        found = np.full(len(codes), -1, dtype=np.int64)
    return _with_equals(found, latents, prepared, codes)


def _with_equals(
    others: Int64Array, latents: Array, prepared: Prepared, codes: Int64Array
) -> Int64Array:
    """Put the next equal of the chosen vector where it is the second code.

    Nothing is nearer than an equal of the chosen vector. Another vector is as near only in an exact
    tie, and then the lower index of the two counts.
    """
    equals = _next_equals(prepared)[codes]
    result = np.where(equals < prepared.codebook_size, equals, others)
    rows = np.flatnonzero((others >= 0) & (others < result))
    if rows.size:
        some = rows_of(latents, rows)
        chosen = rounded_sqdist(some, prepared, codes[rows])
        alike = np.flatnonzero(chosen == rounded_sqdist(some, prepared, others[rows]))
        points, vectors = to_host(some).astype(np.float64), prepared.vectors()
        for i in alike.tolist():
            row = rows[i]
            if same_sqdist(points[i], vectors[codes[row]], vectors[others[row]]):
                result[row] = others[row]
    return result


def _next_equals(prepared: Prepared) -> Int64Array:
    """Return for each lowest code the second lowest with its vector, K if there is none."""
    indices = np.arange(prepared.codebook_size)
    firsts = prepared.lowest[prepared.group]
    higher = indices[firsts != indices][::-1]
    result = np.full(prepared.codebook_size, prepared.codebook_size, dtype=np.int64)
    result[firsts[higher]] = higher  # the last one written stays, which is the lowest
    return result
