"""Shapes of the blocks, from the dims and the number of codes; no code depends on them.

In: D and K, what a device has, how many latents there are. Out: `Plan`, how the codebook is laid
out, and `Blocks`, how a scan takes it. Nothing is tuned at run time: the same call launches the
same kernels. Must not import torch or Triton.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

COLUMNS: Final = 16
"""Columns that a tile of scores is folded to: what a thread keeps of them fits its registers."""

MOST: Final = 16
"""Candidates that are listed for a row; a row with more stays open. None of 1024 normal latents has
more (docs/engineering.md)."""

SIZE_OF_ROW: Final = 5 * 8 + 4 * 4 + 4 * MOST
"""Bytes of the notes of a row while its block is decided, beside its float16 numbers."""

_HELD: Final = (16, 32, 64, 128, 256)
_CHUNKS: Final = (16, 32, 64)
"""Dims that are held whole, or multiplied at a time; tensor cores multiply 16 at least."""

_ROWS: Final = 256
"""Latents of a program on a Hopper: every program reads all codes from the second-level cache, and
128 would read twice as much (docs/engineering.md). Elsewhere half as many."""

_CODES: Final = (64, 128)
"""Codes of a tile, and of a wide one, where registers hold it; see `scan_blocks`."""

_FEWEST_ROWS: Final = 16
"""Tensor cores multiply at least as many rows."""

_MEMBERS: Final = (4, 16, 32)
_MEMBERS_BY_DIMS: Final = 1024
_NAME_BITS: Final = 9
"""Codes of a group, at least, usually and at most, and when there are more: see `plan`."""

_STAGES: Final = 3
"""Of the pipeline at first; fewer where shared memory is short. Chosen, not measured on a GPU."""

_COLLECTED_ROWS: Final = 32
"""Latents of a program that collects; Triton 3.6 cannot compile it with more for Blackwell."""

_SCANNED_ROWS: Final = 64
"""Programs are not cut below this where latents are too few for all multiprocessors; chosen."""

_SCRATCH: Final = (2 << 10, 8 << 10)
"""Bytes of shared memory beside the pipeline, for what scan and collection exchange in it."""


@dataclass(frozen=True)
class Device:
    """What the choice of blocks asks of a device.

    Attributes:
        shared: bytes of shared memory that a program can have.
        processors: how many multiprocessors there are.
        warpgroups: whether it is a Hopper, where four warps multiply together and read both
            operands from the shared memory.
    """

    shared: int
    processors: int
    warpgroups: bool


HOPPER: Final = Device(227 << 10, 132, warpgroups=True)
AMPERE: Final = Device(163 << 10, 108, warpgroups=False)


@dataclass(frozen=True)
class Plan:
    """How a codebook is laid out.

    Attributes:
        padded: D with the zeros that fill it up to whole chunks.
        chunk: dims that are multiplied at a time, a power of two, at least 16.
        members: codes of a group, `COLUMNS` apart.
        supers: how many times `members * COLUMNS` codes the codebook has.
    """

    padded: int
    chunk: int
    members: int
    supers: int

    @property
    def name_bits(self) -> int:
        """Low bits of a score that hold the number of a super-tile."""
        return (self.supers - 1).bit_length()

    @property
    def names(self) -> float:
        """Greatest relative change of a score by that number: float32 has 24 significant bits."""
        return 2.0 ** (self.name_bits - 23)

    @property
    def codes_padded(self) -> int:
        """How many codes the tables hold, padding included."""
        return self.supers * self.members * COLUMNS


@dataclass(frozen=True)
class Blocks:
    """How a kernel takes latents and codes.

    Attributes:
        rows: latents of a program.
        codes: codes of a tile.
        warps: of a program.
        stages: of the software pipeline.
        scratch: bytes of shared memory beside the pipeline.
    """

    rows: int
    codes: int
    warps: int
    stages: int
    scratch: int = _SCRATCH[0]

    def shared(self, shapes: Plan, tiles: int) -> int:
        """Return the bytes of shared memory of a pipeline over `tiles` tiles a turn, at most."""
        tile = tiles * self.codes * self.stages
        kept = self.rows if shapes.padded == shapes.chunk else self.rows * self.stages
        return 2 * shapes.chunk * (tile + kept) + self.scratch


def pad(dim: int) -> tuple[int, int]:
    """Choose chunk and padded dims: all at a time if that adds at most a third of zeros.

    Otherwise the largest chunk of at most 64 dims that adds at most an eighth.
    """
    held = next((chunk for chunk in _HELD if chunk >= dim), None)
    if held is not None and (held == _HELD[0] or 3 * held <= 4 * dim):
        return held, held
    widths = {chunk: -(-dim // chunk) * chunk for chunk in _CHUNKS}
    least = min(widths.values())
    chunk = max(c for c, width in widths.items() if 8 * width <= 9 * least)
    return chunk, widths[chunk]


def plan(dim: int, codebook_size: int) -> Plan:
    """Choose the layout of a codebook.

    Args:
        dim: D, at least 1.
        codebook_size: K, at least 1.

    Returns:
        A plan whose groups have about ``sqrt(K / 4 D)`` codes, from 4 to 16: large ones take fewer
        comparisons a score, small ones fewer distances a latent. They have at most ``1024 / D``, so
        that a few tiles of them fit the shared memory, but 4. Where the numbers of the super-tiles
        would take more than 9 bits of the scores (and from 256 dims more than the sums of products
        lose anyway), they have up to 32.

    Example:
        >>> p = plan(64, 8192)
        >>> p.padded, p.members, p.codes_padded, p.name_bits
        (64, 8, 8192, 6)
    """
    chunk, padded = pad(dim)
    members, usual, most = _MEMBERS
    usual = min(usual, _MEMBERS_BY_DIMS // padded)
    while members < usual and 8 * dim * members**2 <= codebook_size:
        members *= 2
    bits = max(_NAME_BITS, padded.bit_length() + 1)
    while codebook_size > members * COLUMNS << bits and members < most:
        members *= 2
    supers = max(1, -(-codebook_size // (members * COLUMNS)))
    return Plan(padded, chunk, members, supers)


def scan_blocks(shapes: Plan, device: Device, latents: int) -> Iterator[Blocks]:
    """Propose blocks of the scan, those that should be fastest first.

    Many latents a program, for all programs read all codes, from the second-level cache; fewer
    where there are not enough for all multiprocessors. Then as many stages as memory allows.

    Args:
        shapes: the layout.
        device: what there is.
        latents: N.

    Yields:
        Blocks whose pipeline fits the shared memory; at last the smallest, whether it fits or not.
    """
    held = shapes.padded == shapes.chunk <= _CODES[1]
    wide = device.warpgroups and held and shapes.members <= _MEMBERS[1]  # more, and registers spill
    codes = min(_CODES[wide], shapes.members * COLUMNS)
    tiles = shapes.members * COLUMNS // codes
    most = _ROWS if device.warpgroups else _ROWS // 2
    while most > _SCANNED_ROWS and -(-latents // most) < device.processors:
        most //= 2
    yield from _fitting(shapes, device, tiles, Blocks(most, codes, max(4, most // 16), _STAGES))


def collect_blocks(shapes: Plan, device: Device) -> Iterator[Blocks]:
    """Propose blocks for the collection of candidates, as `scan_blocks` does."""
    largest = Blocks(_COLLECTED_ROWS, _CODES[0], 4, _STAGES, _SCRATCH[1])
    yield from _fitting(shapes, device, 1, largest)


def _fitting(shapes: Plan, device: Device, tiles: int, largest: Blocks) -> Iterator[Blocks]:
    blocks: Blocks | None = largest
    while blocks is not None:
        smaller = _smaller(blocks)
        if smaller is None or blocks.shared(shapes, tiles) <= device.shared:
            yield blocks
        blocks = smaller


def _smaller(blocks: Blocks) -> Blocks | None:
    """Return blocks that need less shared memory or fewer registers, or None."""
    if blocks.stages > 2 or (blocks.stages > 1 and blocks.rows <= _SCANNED_ROWS):
        return replace(blocks, stages=blocks.stages - 1)
    if blocks.rows > _FEWEST_ROWS:
        rows = blocks.rows // 2
        return replace(blocks, rows=rows, warps=max(4, blocks.warps // 2))
    return None
