"""The compiled kernels, with NumPy in their place where they were not built.

In: arrays on the host. Out: arrays on the host. What NumPy does in their place satisfies the same
bounds, so no code depends on which one ran. Must not import anything of certvq but
types and errors.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from certvq._types import Float32Array, Float64Array, Int64Array, UInt8Array
from certvq.errors import OptionError

try:
    from certvq._native import _kernel
except ImportError:
    _kernel = None

if TYPE_CHECKING:
    from certvq._native._kernel import Packed as Packed
else:
    Packed = getattr(_kernel, "Packed", Any)

AVAILABLE: Final = _kernel is not None
"""Whether the compiled module was built for this interpreter."""

ISA_VARIABLE: Final = "CERTVQ_ISA"
"""Environment variable that forces an instruction set, for tests and comparisons."""


Grid: TypeAlias = tuple[int, int, bool]
"""Exponent of a grid, its bits, and whether to sum squares."""

MOST_RANKED: Final = 15
"""Nearest codes that `rank` finds."""

MOST_THREADS = 4096
"""No more are started, whatever the environment says."""


def thread_count() -> int:
    """Return how many threads to use.

    Returns:
        ``CERTVQ_NUM_THREADS``, else ``torch.get_num_threads()`` where torch is loaded, else
        ``OMP_NUM_THREADS``, else the cores this process may use.

    Raises:
        OptionError: ``CERTVQ_NUM_THREADS`` is no positive integer.
    """
    return chosen_threads()[0]


def chosen_threads() -> tuple[int, str]:
    """Return how many threads to use, and who says so.

    Raises:
        OptionError: ``CERTVQ_NUM_THREADS`` is no positive integer.
    """
    own = _variable("CERTVQ_NUM_THREADS")
    if own and not (own.isdecimal() and int(own) > 0):
        text = f"CERTVQ_NUM_THREADS must be a positive integer, got {own!r}"
        raise OptionError(text)
    if own:
        return min(int(own), MOST_THREADS), "CERTVQ_NUM_THREADS"
    of_torch = getattr(
        sys.modules.get("torch"), "get_num_threads", None
    )  # torch is not loaded here
    if of_torch is not None:
        return min(of_torch(), MOST_THREADS), "torch.get_num_threads()"
    openmp = _variable("OMP_NUM_THREADS").split(",")[0]  # one number for each nesting
    if openmp.isdecimal() and int(openmp) > 0:
        return min(int(openmp), MOST_THREADS), "OMP_NUM_THREADS"
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)), "the cores of this process"
    return os.cpu_count() or 1, "the cores of this machine"


def squared_row_norms(rows: Float64Array) -> Float64Array:
    """Sum the squares of each row.

    Args:
        rows: float64 (N, D), any strides.

    Returns:
        float64 (N,).

    Guarantee: ``dot_rounding_error_le``: relative error at most ``gamma(D)``, besides underflow.

    Example:
        >>> import numpy as np
        >>> squared_row_norms(np.array([[3.0, 4.0], [0.0, 2.0]]))
        array([25.,  4.])
    """
    if _kernel is None:
        return np.einsum("nd,nd->n", rows, rows)
    return _kernel.squared_row_norms(rows)


def isas() -> list[str]:
    """Name the instruction sets of the kernel that run on this processor, the best first.

    Example:
        >>> isas()[-1:] in (["portable"], [])
        True
    """
    return [] if _kernel is None else _kernel.isas()


def forced_isa() -> str:
    """Return the instruction set that the environment forces, ``""`` for the best."""
    return _variable(ISA_VARIABLE)


def _variable(name: str) -> str:
    """Read an environment variable; `os.environ` takes a microsecond, which small calls feel."""
    return os.environ.get(name, "") if _kernel is None else _kernel.variable(name)


def pack(codebook: np.ndarray, number: str) -> "Packed":
    """Pack a codebook for the chosen instruction set.

    Args:
        codebook: (K, D), K from 1 to 2**31 - 1: float64, float32, or uint16 for the bits of the
            16-bit types; native byte order, any strides in whole entries.
        number: name of the type that the entries stand for.

    Returns:
        The packed codebook; ``usable`` where vectors are finite, shorter than 2**398 and equal, or
        two of them 2**-399 or more apart, and D is at most 2**20.

    Raises:
        ValueError: too many codes, or `forced_isa` is unknown or not supported here.
    """
    assert _kernel is not None
    if codebook.dtype == np.uint16:
        return _kernel.pack(codebook, forced_isa(), number == "bfloat16")
    return _kernel.pack(codebook, forced_isa())


def assign(
    packed: "Packed", latents: np.ndarray, number: str, threads: int
) -> tuple[Int64Array, UInt8Array, Float64Array] | None:
    """Find the nearest codes by filter, certify and refine.

    Args:
        packed: a usable codebook.
        latents: (N, D), as for `pack`.
        number: name of the type that the entries stand for.
        threads: at least 1.

    Returns:
        Codes, ways of decision and squared distances, each (N,), or None, and nothing was decided:
        never where latents are finite and shorter than 2**399.

    Raises:
        KeyboardInterrupt: or whatever a signal handler raises, within a fraction of a second.
    """
    assert _kernel is not None
    if latents.dtype == np.uint16:
        found = _kernel.assign(packed, latents, threads, number == "bfloat16")
    else:
        found = _kernel.assign(packed, latents, threads)
    if found is None:
        return None
    codes, decided_by, sqdist = found
    return codes.view(np.int64), decided_by, sqdist  # C has two types of 64 bits, NumPy prints one


def stability(
    packed: "Packed", latents: np.ndarray, number: str, codes: Int64Array, threads: int
) -> Float64Array | None:
    """Bound from below how far each latent may move before its code can change.

    Args:
        packed: a usable codebook.
        latents: (N, D), as for `pack`.
        number: name of the type that the entries stand for.
        codes: int64 (N,), contiguous, codes of the user's codebook, in range.
        threads: at least 1.

    Returns:
        Radii (N,), or None: never where latents are finite and shorter than 2**399.

    Raises:
        KeyboardInterrupt: or whatever a signal handler raises, within a fraction of a second.
    """
    assert _kernel is not None
    if latents.dtype == np.uint16:
        return _kernel.stability(packed, latents, codes, threads, number == "bfloat16")
    return _kernel.stability(packed, latents, codes, threads)


def second(
    packed: "Packed", latents: np.ndarray, number: str, codes: Int64Array, threads: int
) -> Int64Array | None:
    """Find the nearest code of each latent among the distinct vectors besides that of its code.

    Args:
        packed: a usable codebook.
        latents: (N, D), as for `pack`.
        number: name of the type that the entries stand for.
        codes: int64 (N,), contiguous, each the lowest of the user's codes with its vector.
        threads: at least 1.

    Returns:
        Codes (N,), each the lowest with its vector, -1 where there is one distinct vector only; or
        None: never where latents are finite and shorter than 2**399.

    Raises:
        KeyboardInterrupt: or whatever a signal handler raises, within a fraction of a second.
    """
    assert _kernel is not None
    found = _kernel.second(packed, latents, number == "bfloat16", codes, threads)
    return None if found is None else found.view(np.int64)


@dataclass(frozen=True)
class Kept:
    """What passes of k-means keep, all contiguous and changed in place.

    Attributes:
        codes: int64 (N,), -1 where there is none yet.
        leads: float32 (N,); a row whose code has drifted less keeps its code and is not read.
        lowers: float32 (N,); less what others moved, at least the distance to every other code.
        digits: int64 (P, K, D), sums of cells in digits of 32 bits, as in `certvq.cluster._sums`.
        counts: int64 (K,), rows of cells.
    """

    codes: Int64Array
    leads: Float32Array
    lowers: Float32Array
    digits: Int64Array
    counts: Int64Array


@dataclass(frozen=True)
class Movers:
    """Codes that moved farther in the last pass than all others, which rest.

    Attributes:
        packed: these codes, usable.
        places: int64 (M,), their numbers among all codes.
        rest: float64 (K,), as `Moved.others`, but that in the last pass movers did not move.
    """

    packed: "Packed"
    places: Int64Array
    rest: Float64Array


@dataclass(frozen=True)
class Moved:
    """How far codes moved since the first pass.

    Attributes:
        both: float64 (K,), at least how far each code and any other one moved together.
        others: float64 (K,), at least how far any other code moved.
        movers: those of the last pass, None where rows in doubt are compared with all codes.
    """

    both: Float64Array
    others: Float64Array
    movers: Movers | None


LOOKED: Final = ("done", "refused", "too great", "too fine")
"""How `look` ends: refused rows are for another backend; the others lie off the grid. After all but
the first what was kept is lost."""


def look(
    packed: "Packed", rows: tuple[np.ndarray, str], kept: Kept, moved: Moved, grid: Grid
) -> tuple[str, int]:
    """Find the codes of rows that are in doubt, and move these rows from cell to cell.

    Args:
        packed: a usable codebook.
        rows: (N, D), as for `pack`, and the name of the type that the entries stand for.
        kept: from the passes before.
        moved: how far codes moved since.
        grid: exponent of the grid within -1000 .. 1000, its bits, at most 88, and whether to sum
            squares: of at most 56 bits.

    Returns:
        One of `LOOKED`, and the sum of squares of rows that had no code, modulo 2**128, in units
        of the grid's square; 0 if it was not asked for.

    Raises:
        KeyboardInterrupt: or whatever a signal handler raises, within a fraction of a second.
    """
    assert _kernel is not None
    looked, low, high = _kernel.look(
        packed,
        rows[0],
        rows[1] == "bfloat16",
        kept.codes,
        kept.leads,
        kept.lowers,
        moved.both,
        moved.others,
        None if moved.movers is None else moved.movers.packed,
        np.empty(0, np.int64) if moved.movers is None else moved.movers.places,
        np.empty(0) if moved.movers is None else moved.movers.rest,
        kept.digits,
        kept.counts,
        *grid,
        thread_count(),
    )
    return LOOKED[looked], low | high << 64


def rank(
    packed: "Packed", latents: np.ndarray, number: str, count: int, threads: int
) -> tuple[Int64Array, Float64Array, UInt8Array] | None:
    """Find the nearest distinct code vectors of each latent in order, as far as float64 can.

    Args:
        packed: a usable codebook.
        latents: (N, D), as for `pack`.
        number: name of the type that the entries stand for.
        count: how many, at most `MOST_RANKED` and the number of distinct vectors.
        threads: at least 1.

    Returns:
        Codes (N, count), each the lowest with its vector, their squared distances, and how the
        nearest one was decided (N,): 0 where float64 cannot tell the order, and the row is open.
        Or None: never where latents are finite and shorter than 2**399.

    Raises:
        KeyboardInterrupt: or whatever a signal handler raises, within a fraction of a second.
    """
    assert _kernel is not None
    found = _kernel.rank(packed, latents, number == "bfloat16", count, threads)
    if found is None:
        return None
    codes, sqdist, decided_by = found
    return codes.view(np.int64).reshape(-1, count), sqdist.reshape(-1, count), decided_by


MOST_PLACES: Final = 4
"""Digits of sums that `float32_means` and `moments` take."""


def float32_means(
    digits: Int64Array, counts: Int64Array, lowest: int, before: Float32Array
) -> Float32Array:
    """Divide exact sums by the counts of their cells.

    Args:
        digits: int64 (P, K, D), P at most `MOST_PLACES`, as in `certvq.cluster._sums`.
        counts: int64 (K,).
        lowest: sums are in units of ``2**lowest``; within -900 .. 200.
        before: float32 (K, D), which cells without rows keep.

    Returns:
        float32 (K, D), each the number nearest to the mean, ties to even.
    """
    assert _kernel is not None
    means = before.copy()
    _kernel.float32_means(digits, counts, lowest, means)
    return means


def moments(
    digits: Int64Array, vectors: Float64Array, lowest: int, bits: int
) -> tuple[list[int], list[int]]:
    """Multiply code vectors by exact sums, and by themselves.

    Args:
        digits: int64 (P, K, D), P at most `MOST_PLACES`.
        vectors: float64 (K, D), contiguous, whole multiples of ``2**lowest``.
        lowest: exponent, within -1000 .. 1000.
        bits: magnitudes are below ``2**(lowest + bits)``, at most 60; ``bits + 32``, and twice the
            bits, are at most 126 less the bits of K D.

    Returns:
        For each place the dot product of all vectors and that digit, in units of ``2**lowest``, and
        the squared length of each vector, in units of ``4**lowest``.
    """
    assert _kernel is not None
    dots, squares = _kernel.moments(digits, vectors, lowest, bits)
    return [high << 64 | low for low, high in dots], [high << 64 | low for low, high in squares]


class Nearest(NamedTuple):
    """To which of the vectors so far rows are nearest; all arrays are contiguous.

    Attributes:
        sqdist: float64 (N,), squared distances to these, rounded once.
        owner: int32 (N,), their places among the vectors; -1 where nothing is known.
        owners: float64 (K, D), the vectors.
    """

    sqdist: Float64Array
    owner: NDArray[np.int32]
    owners: Float64Array


def approaches(
    rows: tuple[np.ndarray, str], nearest: Nearest, vectors: Float64Array, threads: int
) -> list[tuple[Int64Array, Float64Array]]:
    """Find the rows that are nearer to a vector than their squared distances say.

    Args:
        rows: (N, D), as for `pack`, and the name of the type that the entries stand for.
        nearest: what is known of them.
        vectors: float64 (T, D), finite as the rows are.
        threads: at least 1.

    Returns:
        For each vector the rows, int64 in ascending order, and their squared distances to it, each
        rounded once.

    Raises:
        KeyboardInterrupt: or whatever a signal handler raises, within a fraction of a second.
    """
    assert _kernel is not None
    bits, number = rows
    brain = number == "bfloat16"
    return _kernel.approaches(bits, brain, *nearest, vectors, threads, forced_isa())


def rounded_sqdist(
    latents: tuple[np.ndarray, str],
    codebook: tuple[np.ndarray, str],
    codes: Int64Array,
    threads: int,
) -> Float64Array:
    """Round the squared distance of each latent to the code vector of its code, once.

    Args:
        latents: (N, D), as for `pack`, and the name of the type that the entries stand for.
        codebook: (K, D), likewise.
        codes: int64 (N,), contiguous, in ``range(K)``.
        threads: at least 1.

    Returns:
        float64 (N,): to nearest even, infinite where float64 ends; of finite numbers of any
        magnitude.

    Raises:
        KeyboardInterrupt: or whatever a signal handler raises, within a fraction of a second.
    """
    assert _kernel is not None
    return _kernel.rounded_sqdist(
        latents[0],
        latents[1] == "bfloat16",
        codebook[0],
        codebook[1] == "bfloat16",
        codes,
        threads,
        forced_isa(),
    )


def round_to_grid(
    latents: np.ndarray,
    limits: np.ndarray,
    entries: np.ndarray,
    levels: tuple[int, ...],
    out: tuple[np.ndarray, Int64Array],
    threads: int,
) -> int:
    """Find for every feature of every latent how many of its limits are less than it: its digit.

    Args:
        latents: (N, D), float64 or float32, native byte order, any strides in whole entries.
        limits: (D, M) of the same type, contiguous, increasing; +inf fills the end of short rows.
        entries: (D, M + 1), contiguous, of any type of 2, 4 or 8 bytes: what a digit stands for.
        levels: number of values of each digit, at least 1; their product is at most 2^63.
        out: vectors (N, D) of the type of the entries and codes (N,), contiguous; written are the
            entries of the digits and the digits as one integer, ``i_1 + L_1 (i_2 + L_2 (...))``.
        threads: at least 1.

    Returns:
        How many digits are 0.

    Raises:
        KeyboardInterrupt: or whatever a signal handler raises, within a fraction of a second.
    """
    assert _kernel is not None
    return _kernel.round_to_grid(latents, limits, entries, levels, *out, threads)


def add_batch(tokens: np.ndarray, codes: Int64Array, counts: np.ndarray, sums: np.ndarray) -> None:
    """Add the tokens of each code to its count and its sum, in place.

    Args:
        tokens: (N, D), float64 or float32, native byte order, any strides in whole entries.
        codes: int64 (N,), contiguous, in ``range(K)``.
        counts: (K,), float64 or float32, contiguous.
        sums: (K, D) of the same type, contiguous. What is added to a row is the float64 sum of its
            tokens in their order; the result is rounded once.
    """
    assert _kernel is not None
    _kernel.add_batch(tokens, codes, counts, sums)


def take_in(
    counts: Sequence[np.ndarray],
    tables: Sequence[np.ndarray],
    step: tuple[float, float, float, float],
) -> None:
    """Take the statistics of a batch into moving averages, and write the vectors that they imply.

    Mathematics: ``sums <- decay sums + fresh pending``, each operation rounded to the type of the
    tables; then, in float64 and rounded once, ``sums / ((counts + extra) scale)`` for each code
    whose pending count is above 0.

    Args:
        counts: those of the averages (K,), which have been moved, and the pending ones, which
            become 0; float64 or float32, contiguous.
        tables: the sums, the pending ones, which become 0, and two tables that get the vectors;
            each (K, D), of the type of the counts, contiguous.
        step: decay, fresh, extra and scale.
    """
    assert _kernel is not None
    _kernel.take_in(counts, tables, *step)


def ieee754() -> bool | None:
    """Say whether this thread rounds to nearest and keeps subnormals; None without the kernel."""
    return None if _kernel is None else _kernel.ieee754()
