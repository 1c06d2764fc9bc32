"""The compiled filter of the independent checker, or nothing where it was not built.

In: latents, a codebook and codes on the host. Out: the few pairs that float32 cannot decide. It
shares no code with the kernels of `certvq._native`. Must not import anything of certvq.
"""

import os
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from certvq._checker import _rivals
except ImportError:
    _rivals = None


@dataclass(frozen=True, eq=False)
class Matrix:
    """A matrix of floats on the host, exact in its own type.

    Attributes:
        host: float64, float32 or float16, or uint16 for the bits of bfloat16; (rows, D).
        brain: whether the entries are the bits of bfloat16.
    """

    host: NDArray[np.generic]
    brain: bool = False

    def __len__(self) -> int:
        return len(self.host)

    def float64(self, rows: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.float64]:
        """Return some rows in float64, which holds them exactly."""
        part = self.host[rows]
        if self.brain:
            part = (part.astype(np.uint32) << 16).view(np.float32)
        with np.errstate(invalid="ignore"):  # signalling NaN
            return part.astype(np.float64)


@dataclass(frozen=True, eq=False)
class Found:
    """What the filter leaves to be decided.

    The lowest nearest code, among all but the one besides, is the given one of its row or among its
    rivals; of the rows in `given_up` nothing is known.

    Attributes:
        rows: int64 (P,), not decreasing; with `rivals` the pairs that float32 cannot decide.
        rivals: int64 (P,), codes.
        given_up: int64, increasing.
        sqdist: float64 (N,): squared distance to the given code, by D squares and their sum.
    """

    rows: NDArray[np.int64]
    rivals: NDArray[np.int64]
    given_up: NDArray[np.int64]
    sqdist: NDArray[np.float64]


def bits(array: Any) -> NDArray[np.uint16]:
    """Return the bits of bfloat16 numbers, NumPy's or torch's on the CPU, without a copy."""
    if hasattr(array, "detach"):
        import torch

        array = array.view(torch.int16).numpy()
    return np.asarray(array).view(np.uint16)


def thread_count() -> int:
    """Return the number of threads as `certvq.assign` does, which this module must not know."""
    for name in ("CERTVQ_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "").split(",")[0]
        if value.isdecimal() and int(value) > 0:
            return min(int(value), 1024)
        of_torch = getattr(sys.modules.get("torch"), "get_num_threads", None)
        if of_torch is not None:
            return min(of_torch(), 1024)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def levels() -> list[str]:
    """Name the instruction sets of the filter that run on this processor, the best first."""
    return [] if _rivals is None else _rivals.levels()


def find_rivals(
    latents: Matrix,
    codebook: Matrix,
    codes: NDArray[np.int64],
    *,
    besides: NDArray[np.int64] | None = None,
    threads: int | None = None,
    level: str = "",
    widen: float = 1.0,
) -> Found | None:
    """Find the rivals that float32 arithmetic cannot prove to be farther than the best code known.

    Args:
        latents: (N, D), any floats.
        codebook: (K, D), K and D at least 1.
        codes: (N,), in ``range(K)``.
        besides: (N,), one code a row that is no rival and unlike its code. Later code vectors
            that equal its own are left out, too.
        threads: at least 1; by default as `thread_count` says.
        level: an instruction set out of `levels`, the best by default.
        widen: factor of the radius; anything but 1 is for tests of the tests.

    Returns:
        `Found`; None if there is no compiled filter, or the codebook is not finite or extreme.

    Raises:
        KeyboardInterrupt: or whatever a signal handler raises, within a fraction of a second.

    Guarantee: ``dot_rounding_error_le``, by the radius that `native/checker/rivals.cpp` derives.
    """
    if _rivals is None:
        return None
    points, vectors = _plain(latents), _plain(codebook)
    own = np.ascontiguousarray(codes, dtype=np.int64)
    found = _rivals.rivals(
        points,
        latents.brain,
        vectors,
        codebook.brain,
        own,
        thread_count() if threads is None else threads,
        level,
        widen,
        None if besides is None else np.ascontiguousarray(besides, dtype=np.int64),
    )
    if found is None:
        return None
    rows, rivals, given_up, sqdist = found
    return Found(rows, rivals, given_up, sqdist)


def _plain(matrix: Matrix) -> NDArray[np.generic]:
    """Return native, aligned entries at steps of whole entries; a view if that is possible."""
    host = matrix.host.astype(matrix.host.dtype.newbyteorder("="), copy=False)
    if not host.flags.aligned or any(step % host.itemsize for step in host.strides):
        host = np.array(host, order="C")
    return host.view(np.uint16) if host.dtype == np.float16 else host
