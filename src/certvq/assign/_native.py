"""The compiled backend: a fixed-point filter with a rigorous radius, then exact integers.

In: validated latents and a prepared codebook. Out: `Decided`, with squared distances. Vectors that
the kernel does not take (of length 2**398 and more) go to the NumPy backend. Must not import
torch.
"""

import numpy as np

from certvq import _native
from certvq._native import thread_count
from certvq._types import Array, Float64Array
from certvq.assign._arrays import rows_of
from certvq.assign._assignment import Decided
from certvq.assign._packing import to_bits
from certvq.assign._prepare import Prepared
from certvq.assign._sqdist import SMALLEST_PRODUCT, rounded_sqdist
from certvq.errors import BackendUnavailableError


def native_codes(latents: Array, prepared: Prepared) -> Decided | None:
    """Find the nearest codes with the compiled kernel.

    Args:
        latents: (N, D), of the right width; the kernel itself looks for NaN and infinity.
        prepared: the codebook.

    Returns:
        Codes and evidence, or None where the kernel refuses the numbers: they may not be finite.

    Raises:
        BackendUnavailableError: the kernel was not built.
        OptionError: ``CERTVQ_ISA`` or ``CERTVQ_NUM_THREADS`` cannot be used.

    Guarantee: the contract: by ``quantized_score_gap_le`` every nearest code has a score within
    ``fixed_point_reach`` of the best, and by ``refine_sound`` the nearest of those is nearest.
    """
    if not _native.AVAILABLE:
        text = (
            "backend 'native' needs the compiled kernel, which this installation lacks; install a "
            "wheel, or a C++ compiler and then certvq again"
        )
        raise BackendUnavailableError(text)
    packed = prepared.packed()
    if not packed.usable:
        return None
    host, number = to_bits(latents)
    found = _native.assign(packed, host, number, thread_count())
    if found is None:
        return None
    codes, decided_by, sqdist = found
    return Decided(codes, decided_by, mended_sqdist(latents, prepared, codes, sqdist))


def mended_sqdist(
    latents: Array, prepared: Prepared, codes: np.ndarray, sqdist: Float64Array
) -> Float64Array:
    """Round the squared distances correctly, in place, whose terms may have underflowed."""
    if not len(sqdist) or sqdist[sqdist.argmin()] >= SMALLEST_PRODUCT:
        return sqdist
    doubtful = np.flatnonzero(sqdist < SMALLEST_PRODUCT)
    sqdist[doubtful] = rounded_sqdist(rows_of(latents, doubtful), prepared, codes[doubtful])
    return sqdist
