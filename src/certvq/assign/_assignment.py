"""What `certvq.assign` returns.

In: codes and evidence of a backend. Out: the frozen `Assignment`. Must not import kernels.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from certvq._types import Array, Float, Float64, Int, Int64, UInt8, UInt8Array


class DecidedBy(IntEnum):
    """How the code of a row was decided; each way is sound, the later ones cost more.

    Example:
        >>> DecidedBy(2).name
        'REFINED'
    """

    FILTER = 1
    """The best score leads by more than its proved error allows for, twice over."""
    REFINED = 2
    """Squared distances of the few candidates, in wider or better conditioned arithmetic."""
    EXACT = 3
    """Exact integer arithmetic, or bitwise equality of code vectors, decided what was open."""


@dataclass(frozen=True)
class Assignment:
    """Nearest codes, certified, with the evidence for each row.

    Attributes:
        codes: int64 (N,), the lowest index among the nearest code vectors.
        decided_by: uint8 (N,), values of `DecidedBy`.
        sqdist: float64 (N,), squared distance to the chosen code vector: within a relative error of
            ``gamma(D + 8)``, or correctly rounded if that was asked for; on the CPU where the
            latents' device has no float64.
        second: int64 (N,), the nearest code other than the chosen one, -1 if K = 1; None if
            it was not asked for.

    Guarantee: that of `certvq.assign`: for each row, over the real numbers, no code vector is
    nearer and none of the same distance has a lower index. The same holds of `second` among all
    codes but the chosen one.
    """

    codes: Int[Array, " N"]
    decided_by: UInt8[Array, " N"]
    sqdist: Float[Array, " N"]
    second: Int[Array, " N"] | None = None

    def counts(self) -> dict[str, int]:
        """Count the rows decided by each means.

        Returns:
            ``{"filter": n, "refined": n, "exact": n}``.
        """
        decided = _to_host(self.decided_by)
        tally = np.bincount(decided, minlength=len(DecidedBy) + 1)
        return {way.name.lower(): int(tally[way]) for way in DecidedBy}


@dataclass(frozen=True)
class Decided:
    """Codes of the user's codebook and evidence, as a backend hands them over.

    NumPy arrays, or torch tensors where the latents are: a backend for GPUs spares them the way to
    the host and back.
    """

    codes: Int64[Array, " N"]
    decided_by: UInt8[Array, " N"]
    sqdist: Float64[Array, " N"] | None = None
    """Squared distances as in `Assignment`, from a backend that computes them anyway."""


def _to_host(array: Array) -> UInt8Array:
    host = array.detach().cpu() if hasattr(array, "detach") else array
    return np.asarray(host)
