"""Launch the kernels on blocks of latents, in the memory that there is.

In: latents on a device and tables. Out: codes, ways and squared distances on that device; rows that
the kernels leave open have the way 0. Must not decide anything itself.
"""

from dataclasses import dataclass
from typing import Any, Final

import torch
import triton
from triton.runtime.errors import OutOfResources
from triton.runtime.jit import JITFunction

from certvq._triton._kernels import read_rows, scan_codes, settle_rows
from certvq._triton._plan import LISTED, SIZE_OF_ROW, Plan
from certvq._triton._tables import Tables
from certvq.errors import BackendUnavailableError, DeviceMemoryError

INTERPRETED: Final = not isinstance(scan_codes, JITFunction)
"""Whether ``TRITON_INTERPRET=1`` was set when the kernels were imported: they then run on CPUs."""

MOST_NUMBERS: Final = 1 << 28
"""float16 numbers of a block of latents: 512 MiB."""

FEWEST_ROWS: Final = 1024
"""Blocks are not halved below that many latents when the device has no memory left."""

_SETTLE_ROWS: Final = 32
_READ_ROWS: Final = 32
_READ_CHUNK: Final = 64


@dataclass(frozen=True)
class Found:
    """What the kernels found for all latents, on their device.

    Attributes:
        codes: int64 (N,), final where `ways` is not 0.
        ways: uint8 (N,): 0 open, 1 `FILTER`, 2 `REFINED`.
        sqdists: float64 (N,), final where `ways` is not 0.
    """

    codes: torch.Tensor
    ways: torch.Tensor
    sqdists: torch.Tensor


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
    found = _in_blocks(latents, tables, LISTED[0])
    left = torch.nonzero(found.ways == 0).squeeze(1)
    if len(left):
        again = _in_blocks(latents[left], tables, LISTED[1])
        found.codes[left] = again.codes
        found.ways[left] = again.ways
        found.sqdists[left] = again.sqdists
    return found


def _in_blocks(latents: torch.Tensor, tables: Tables, listed: int) -> Found:
    """Decide rows a block at a time, in smaller blocks where the memory is short."""
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
            _decide_block(latents[part], tables, _part(found, part), listed)
        except torch.OutOfMemoryError as error:
            if block <= FEWEST_ROWS:
                raise _too_large(rows, block, tables, str(error)) from error
            block = max(FEWEST_ROWS, block // 2)
            continue
        start = part.stop
    return found


def needed_bytes(rows: int, tables: Tables) -> int:
    """Return what a block of so many latents takes on the device, beside latents and tables."""
    return rows * (2 * tables.plan.padded + SIZE_OF_ROW)


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
    )


def _part(found: Found, part: slice) -> Found:
    return Found(found.codes[part], found.ways[part], found.sqdists[part])


def _decide_block(latents: torch.Tensor, tables: Tables, found: Found, listed: int) -> None:
    rows, device = int(latents.shape[0]), latents.device
    shapes, dim = tables.plan, tables.dim
    narrow = torch.empty((rows, shapes.padded), dtype=torch.float16, device=device)
    notes = [torch.empty(rows, dtype=torch.float64, device=device) for _ in range(5)]
    units, squares, moves, errors, reaches = notes
    groups = torch.empty((rows, listed), dtype=torch.int32, device=device)
    counts = torch.empty(rows, dtype=torch.int32, device=device)
    numbers = (latents, *latents.stride())
    row_notes = (units, squares, moves, errors)
    _start(
        read_rows,
        triton.cdiv(rows, _READ_ROWS),
        *numbers,
        tables.centre,
        tables.constants,
        narrow,
        *row_notes,
        rows,
        dim,
        PADDED=shapes.padded,
        BLOCK=_READ_ROWS,
        CHUNK=min(_READ_CHUNK, shapes.chunk),
    )
    _scan(
        shapes,
        (narrow, tables.narrow, tables.offsets, *row_notes, groups, counts, reaches, rows),
        listed,
    )
    _start(
        settle_rows,
        triton.cdiv(rows, _SETTLE_ROWS),
        *numbers,
        tables.vectors,
        tables.lowest,
        tables.constants,
        groups,
        counts,
        reaches,
        found.codes,
        found.ways,
        found.sqdists,
        rows,
        dim,
        tables.distinct,
        BLOCK=_SETTLE_ROWS,
        CHUNK=min(_READ_CHUNK, shapes.chunk),
        CODES=shapes.codes,
        TILES=shapes.tiles,
        LISTED=listed,
    )


def _start(kernel: Any, programs: int, *arguments: Any, **options: Any) -> None:
    """Launch a kernel; its parameters are not those of a Python function, so it is not typed.

    The bounds allow for fused multiply-add; said here, because Triton's default changes.
    """
    kernel[(programs,)](*arguments, **options, enable_fp_fusion=True)


def _scan(shapes: Plan, arguments: tuple[Any, ...], listed: int) -> None:
    """Launch the scan, with smaller blocks where the device has too little shared memory."""
    smaller: Plan | None = shapes
    while smaller is not None:
        shapes = smaller
        try:
            _start(
                scan_codes,
                triton.cdiv(arguments[-1], shapes.rows),
                *arguments,
                shapes.supers,
                PADDED=shapes.padded,
                BLOCK=shapes.rows,
                CHUNK=shapes.chunk,
                CODES=shapes.codes,
                TILES=shapes.tiles,
                NAME_BITS=shapes.name_bits,
                LISTED=listed,
                num_warps=shapes.warps,
                num_stages=shapes.stages,
            )
        except OutOfResources as error:
            smaller = shapes.smaller()
            if smaller is None:
                text = (
                    f"backend 'triton' needs a GPU with more {error.name}: {error.required} for a "
                    f"block of {shapes.rows} latents, got {error.limit}; use backend='torch'"
                )
                raise BackendUnavailableError(text) from error
        else:
            return
