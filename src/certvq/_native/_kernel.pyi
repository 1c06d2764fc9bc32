"""Compiled kernels of certvq."""

from collections.abc import Sequence
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

_Decided: TypeAlias = tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.float64]]

class Packed:
    """A codebook, packed for one instruction set."""

    widen: float
    """Factor of the reach: 1, but for tests of too short a one."""

    first_pass: int
    """Which first pass there is: 1, as a sample says; for tests 0, none, 2, bytes, and 3, axes."""

    @property
    def isa(self) -> str: ...
    @property
    def distinct(self) -> int: ...
    @property
    def sorted(self) -> bool: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def usable(self) -> bool: ...

def squared_row_norms(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum the squares of each row: float64 (N, D), any strides, to float64 (N,)."""

def ieee754() -> bool:
    """Say whether this thread rounds to nearest and keeps subnormal numbers."""

def variable(name: str) -> str:
    """Read an environment variable, '' if there is none."""

def isas() -> list[str]:
    """Name the instruction sets that run here, the best first."""

def bounds(dim: float, norm: float, residual: float, names: float) -> dict[str, float]:
    """Evaluate the generated bounds, for comparison with certvq.bounds; the scale is 4."""

def approaches(
    rows: NDArray[Any],
    brain: bool,
    sqdist: NDArray[np.float64],
    owner: NDArray[np.int32],
    owners: NDArray[np.float64],
    vectors: NDArray[np.float64],
    threads: int,
    isa: str,
) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """List for each vector the rows whose rounded squared distance is below sqdist."""

def rounded_sqdist(
    latents: NDArray[Any],
    brain_latents: bool,
    codebook: NDArray[Any],
    brain_codebook: bool,
    codes: NDArray[np.int64],
    threads: int,
    isa: str,
) -> NDArray[np.float64]:
    """Round the squared distance of each latent to the vector of its code once."""

def round_to_grid(
    latents: NDArray[Any],
    limits: NDArray[Any],
    entries: NDArray[Any],
    levels: Sequence[int],
    vectors: NDArray[Any],
    codes: NDArray[np.int64],
    threads: int,
) -> int:
    """Write the entries and the code of each latent's cells; count the digits that are 0."""

def add_batch(
    tokens: NDArray[Any], codes: NDArray[np.int64], counts: NDArray[Any], sums: NDArray[Any]
) -> None:
    """Add the tokens of each code to its count and its sum."""

def take_in(
    counts: Sequence[NDArray[Any]],
    tables: Sequence[NDArray[Any]],
    decay: float,
    fresh: float,
    extra: float,
    scale: float,
) -> None:
    """Take what a batch added into the averages, and make code vectors of those that moved."""

@overload
def pack(codebook: NDArray[Any], isa: str) -> Packed: ...
@overload
def pack(codebook: NDArray[np.uint16], isa: str, brain: bool) -> Packed:
    """Pack a codebook (K, D) for an instruction set, '' for the best."""

@overload
def assign(packed: Packed, latents: NDArray[Any], threads: int) -> _Decided | None: ...
@overload
def assign(
    packed: Packed, latents: NDArray[np.uint16], threads: int, brain: bool
) -> _Decided | None:
    """Return codes, ways of decision and squared distances, or None where the kernel refuses."""

@overload
def stability(
    packed: Packed, latents: NDArray[Any], codes: NDArray[np.int64], threads: int
) -> NDArray[np.float64] | None: ...
@overload
def stability(
    packed: Packed, latents: NDArray[np.uint16], codes: NDArray[np.int64], threads: int, brain: bool
) -> NDArray[np.float64] | None:
    """Bound how far each latent may move before its code can change, or None where it refuses."""

def look(
    packed: Packed,
    rows: NDArray[Any],
    brain: bool,
    codes: NDArray[np.int64],
    leads: NDArray[np.float32],
    lowers: NDArray[np.float32],
    drift: NDArray[np.float64],
    others: NDArray[np.float64],
    movers: Packed | None,
    places: NDArray[np.int64],
    rest: NDArray[np.float64],
    digits: NDArray[np.int64],
    counts: NDArray[np.int64],
    lowest: int,
    bits: int,
    squares: bool,
    threads: int,
) -> tuple[int, int, int]:
    """Find the codes of rows that are in doubt, and move these rows from cell to cell."""

def float32_means(
    digits: NDArray[np.int64],
    counts: NDArray[np.int64],
    lowest: int,
    means: NDArray[np.float32],
) -> None:
    """Divide the sums of cells by their counts, rounded once."""

def moments(
    digits: NDArray[np.int64], vectors: NDArray[np.float64], lowest: int, bits: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Sum vectors times digits for each place, and the squares of each vector."""

def second(
    packed: Packed, latents: NDArray[Any], brain: bool, codes: NDArray[np.int64], threads: int
) -> NDArray[np.int64] | None:
    """Find the nearest other code of each latent, or None where it refuses."""

def rank(
    packed: Packed, latents: NDArray[Any], brain: bool, count: int, threads: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.uint8]] | None:
    """Find the nearest codes of each latent in order; a row that is decided by 0 is open."""
