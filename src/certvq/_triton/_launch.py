"""Launch the kernels on blocks of latents, in the memory that there is.

In: latents on a device and tables. Out: codes, ways and squared distances on that device; rows that
the kernels leave open have the way 0. Must not decide anything itself.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import torch
import triton
from triton.runtime.errors import OutOfResources, TritonError
from triton.runtime.jit import JITFunction

from certvq._triton._device import describe
from certvq._triton._kernels import collect_codes, read_rows, scan_codes, settle_rows
from certvq._triton._plan import (
    COLUMNS,
    MOST,
    SIZE_OF_ROW,
    Blocks,
    Device,
    Plan,
    collect_blocks,
    scan_blocks,
)
from certvq._triton._tables import Tables
from certvq.errors import BackendUnavailableError, DeviceMemoryError

INTERPRETED: Final = not isinstance(scan_codes, JITFunction)
"""Whether ``TRITON_INTERPRET=1`` was set when the kernels were imported: they then run on CPUs."""

MOST_NUMBERS: Final = 1 << 28
"""float16 numbers of a block of latents: 512 MiB."""

FEWEST_ROWS: Final = 1024
"""Blocks are not halved below that many latents when the device has no memory left."""

_ALIGNED: Final = 16
"""Numbers that the notes of a block are made up to a multiple of, so that all are aligned alike."""

_COMPILER: Final = ("PassManager::run failed", "ptxas", "PTXAS")
"""What Triton's errors say where it could not compile a kernel; their classes differ by version."""

_SETTLE_ROWS: Final = 32
_READ_ROWS: Final = 32
_READ_CHUNK: Final = 64
"""Latents and dims that a program settles or reads at a time; chosen, not measured on a GPU."""

_MOST_SLICES: Final = 64
"""Pieces of the codebook that are searched at a time for the candidates of some pending rows."""


class _NotCompiledError(BackendUnavailableError):
    """A kernel that Triton cannot compile for the device."""


@dataclass(frozen=True)
class Found:
    """What the kernels found for all latents, on their device.

    Attributes:
        codes: int64 (N,), final where `ways` is not 0.
        ways: uint8 (N,): 0 open, 1 `FILTER`, 2 `REFINED`.
        sqdists: float64 (N,), final where `ways` is not 0, and not below `SMALLEST_SQDIST`.
        counters: int32 (2,); the second is how many rows are not final.
    """

    codes: torch.Tensor
    ways: torch.Tensor
    sqdists: torch.Tensor
    counters: torch.Tensor

    def left(self) -> int:
        """Return how many rows are not final; waits for the device."""
        return int(self.counters[1])


def decide(latents: torch.Tensor, tables: Tables) -> Found:
    """Find nearest codes by filter, certify and refine, on the device of the latents.

    Args:
        latents: (N, D) floats of the contract, any strides, on the device of `tables`; they need
            not be finite: rows with NaN or infinity stay open.
        tables: the codebook.

    Returns:
        Codes of the user's codebook and how they were decided.

    Raises:
        DeviceMemoryError: not even a block of `FEWEST_ROWS` latents fits the memory.

    Guarantee: where `ways` is not 0, the code is the only nearest one: by
    ``quantized_score_gap_le`` all nearest codes are among the candidates, by ``refine_sound`` the
    nearest of those is nearest. No code depends on the blocks or their order.
    """
    rows = int(latents.shape[0])
    block = min(max(rows, 1), max(FEWEST_ROWS, MOST_NUMBERS // tables.plan.padded))
    try:
        found = _results(rows, latents.device)
    except torch.OutOfMemoryError as error:
        raise _too_large(rows, block, tables, str(error)) from error
    start = 0
    while start < rows:
        part = slice(start, min(start + block, rows))
        try:
            _decide_block(latents[part], tables, _part(found, part))
        except torch.OutOfMemoryError as error:
            if block <= FEWEST_ROWS:
                raise _too_large(rows, block, tables, str(error)) from error
            block = max(FEWEST_ROWS, block // 2)
            continue
        start = part.stop
    return found


def needed_bytes(rows: int, tables: Tables) -> int:
    """Return what a block of so many latents takes on the device, beside latents and tables."""
    aligned = triton.cdiv(rows, _ALIGNED) * _ALIGNED
    return rows * 2 * tables.plan.padded + aligned * SIZE_OF_ROW


def _too_large(rows: int, block: int, tables: Tables, reason: str) -> DeviceMemoryError:
    results, work = rows * 17, needed_bytes(block, tables)
    return DeviceMemoryError(
        f"backend 'triton' needs {results + work} free bytes of device memory for {rows} latents "
        f"of dim {tables.dim} ({work} of them for a block of {block}), beside {tables.nbytes()} "
        f"for the codebook; free some, or assign fewer latents at a time ({reason})"
    )


def _results(rows: int, device: torch.device) -> Found:
    return Found(
        torch.empty(rows, dtype=torch.int64, device=device),
        torch.empty(rows, dtype=torch.uint8, device=device),
        torch.empty(rows, dtype=torch.float64, device=device),
        torch.zeros(2, dtype=torch.int32, device=device),
    )


def _part(found: Found, part: slice) -> Found:
    return Found(found.codes[part], found.ways[part], found.sqdists[part], found.counters)


def _decide_block(latents: torch.Tensor, tables: Tables, found: Found) -> None:
    rows, device = int(latents.shape[0]), describe(latents.device)
    shapes, dim = tables.plan, tables.dim
    aligned = triton.cdiv(rows, _ALIGNED) * _ALIGNED

    def empty(dtype: torch.dtype, *sizes: int) -> torch.Tensor:
        return torch.empty(sizes, dtype=dtype, device=latents.device)

    narrow = empty(torch.float16, rows, shapes.padded)
    notes = units, squares, moves, errors, reaches = empty(torch.float64, 5, aligned).unbind()
    groups, counts, pending = empty(torch.int32, 3, aligned).unbind()
    thresholds, candidates = empty(torch.float32, aligned), empty(torch.int32, aligned, MOST)
    numbers, counters = (latents, *latents.stride()), found.counters
    chunk = min(_READ_CHUNK, shapes.chunk)
    sizes = {"PADDED": shapes.padded, "CHUNK": shapes.chunk}
    codes = (narrow, tables.narrow, tables.offsets)
    _start(
        read_rows,
        triton.cdiv(rows, _READ_ROWS),
        *numbers,
        tables.centre,
        tables.constants,
        narrow,
        units,
        squares,
        moves,
        errors,
        counters,
        rows,
        dim,
        PADDED=shapes.padded,
        BLOCK=_READ_ROWS,
        CHUNK=chunk,
    )

    def scan(blocks: Blocks) -> None:
        _start(
            scan_codes,
            triton.cdiv(rows, blocks.rows),
            *codes,
            *notes[:4],
            groups,
            reaches,
            thresholds,
            counts,
            pending,
            counters,
            rows,
            shapes.supers,
            **sizes,
            BLOCK=blocks.rows,
            CODES=blocks.codes,
            TILES=shapes.members * COLUMNS // blocks.codes,
            COLUMNS=COLUMNS,
            NAME_BITS=shapes.name_bits,
            num_warps=blocks.warps,
            num_stages=blocks.stages,
        )

    def collect(blocks: Blocks) -> None:
        tiles = shapes.codes_padded // blocks.codes
        _start(
            collect_codes,
            4 * device.processors,
            *codes,
            units,
            thresholds,
            counts,
            candidates,
            pending,
            counters,
            min(tiles, _MOST_SLICES),
            tiles,
            **sizes,
            BLOCK=blocks.rows,
            CODES=blocks.codes,
            MOST=MOST,
            num_warps=blocks.warps,
            num_stages=blocks.stages,
        )

    _first_that_fits(scan, _scan_proposals(shapes, device, rows))
    _first_that_fits(collect, _collect_proposals(shapes, device))
    singles = triton.cdiv(rows, _SETTLE_ROWS)
    _start(
        settle_rows,
        singles + 2 * device.processors,
        *numbers,
        tables.vectors,
        tables.lowest,
        tables.constants,
        groups,
        reaches,
        counts,
        candidates,
        pending,
        counters,
        found.codes,
        found.ways,
        found.sqdists,
        rows,
        dim,
        tables.distinct,
        singles,
        BLOCK=_SETTLE_ROWS,
        CHUNK=chunk,
        COLUMNS=COLUMNS,
        MEMBERS=shapes.members,
        MOST=MOST,
    )


def _start(kernel: Any, programs: int, *arguments: Any, **options: Any) -> None:
    """Launch a kernel; its parameters are not those of a Python function, so it is not typed.

    The bounds allow for fused multiply-add; said here, because Triton's default changes.
    """
    try:
        kernel[(programs,)](*arguments, **options, enable_fp_fusion=True)
    except OutOfResources:
        raise
    except (TritonError, RuntimeError) as error:
        if not any(word in str(error) for word in _COMPILER):
            raise
        text = (
            f"backend 'triton' needs a Triton that compiles its kernels for this GPU, got "
            f"{triton.__version__} ({error}); install another, or use backend='torch'"
        )
        raise _NotCompiledError(text) from error


@lru_cache(maxsize=256)
def _scan_proposals(shapes: Plan, device: Device, latents: int) -> list[Blocks]:
    return list(scan_blocks(shapes, device, latents))


@lru_cache(maxsize=256)
def _collect_proposals(shapes: Plan, device: Device) -> list[Blocks]:
    return list(collect_blocks(shapes, device))


def _first_that_fits(launch: Callable[[Blocks], None], proposals: list[Blocks]) -> None:
    """Launch with the first blocks that the device has resources for; strike out those before."""
    while True:
        blocks = proposals[0]
        try:
            return launch(blocks)
        except OutOfResources as error:
            if len(proposals) == 1:
                text = (
                    f"backend 'triton' needs a GPU with more {error.name}: {error.required} for a "
                    f"block of {blocks.rows} latents, got {error.limit}; use backend='torch'"
                )
                raise BackendUnavailableError(text) from error
        except _NotCompiledError:
            if len(proposals) == 1:
                raise
        with suppress(ValueError):  # another thread has struck it out
            proposals.remove(blocks)
