"""Shapes of the blocks, from the dims and the number of codes; no code depends on them.

In: D and K. Out: `Plan`. Nothing is tuned at run time: the same call launches the same kernels.
Must not import torch or Triton.
"""

from dataclasses import dataclass, replace
from typing import Final

_CHUNKS: Final = (16, 32, 64, 128, 256)
_ROWS: Final = 128
_CODES: Final = 64
_MOST_TILES: Final = 16
_MOST_NAME_BITS: Final = 9
_SHARED_BYTES: Final = 160 << 10
"""What a program may take of the shared memory: 163 KiB on an A100, 227 on an H100."""

LISTED: Final = (2, 16)
"""Groups that are listed for a row; rows with more of them above the threshold stay open, and those
that the first number leaves open are scanned again with the second."""

SIZE_OF_ROW: Final = 5 * 8 + 4 * LISTED[1] + 4
"""Bytes of the notes of a row while its block is decided, beside its float16 numbers, at most."""


@dataclass(frozen=True)
class Plan:
    """How the scan is cut up.

    Attributes:
        padded: D with the zeros that fill it up to whole chunks.
        chunk: dims that are multiplied at a time, a power of two, at least 16.
        rows: latents of a program.
        codes: codes of a tile.
        tiles: tiles whose scores are merged by their maximum: a group has a code of each.
        supers: how many times so many tiles the codebook has.
        warps: of a program.
        stages: of the software pipeline.
    """

    padded: int
    chunk: int
    rows: int
    codes: int
    tiles: int
    supers: int
    warps: int
    stages: int

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
        return self.supers * self.tiles * self.codes

    def smaller(self) -> "Plan | None":
        """Return a plan that needs less shared memory and fewer registers, or None.

        The tables are laid out for `chunk`, `codes` and `tiles`, so those stay.
        """
        if self.stages > 1:
            return replace(self, stages=self.stages - 1)
        if self.rows > 16:
            return replace(self, rows=self.rows // 2, warps=max(4, self.warps // 2))
        return None


def pad(dim: int) -> tuple[int, int]:
    """Choose chunk and padded dims: the largest chunk that adds at most an eighth of zeros."""
    widths = {chunk: -(-dim // chunk) * chunk for chunk in _CHUNKS}
    least = min(widths.values())
    chunk = max(c for c, width in widths.items() if 8 * width <= 9 * least)
    return chunk, widths[chunk]


def plan(dim: int, codebook_size: int) -> Plan:
    """Choose the blocks for a codebook.

    Args:
        dim: D, at least 1.
        codebook_size: K, at least 1.

    Returns:
        A plan whose groups have 4 codes, less for 128 dims and more at a time, and up to 16 where
        the numbers of the super-tiles would take more than 9 bits of the scores.

    Example:
        >>> p = plan(64, 8192)
        >>> p.padded, p.codes * p.tiles * p.supers, p.name_bits
        (64, 8192, 5)
    """
    chunk, padded = pad(dim)
    tiles = max(1, 4 * 64 // max(chunk, 64))  # wide tiles have products enough beside the maxima
    while codebook_size > _CODES * tiles << _MOST_NAME_BITS and tiles < _MOST_TILES:
        tiles *= 2
    supers = max(1, -(-codebook_size // (_CODES * tiles)))
    held = tiles * _CODES if padded == chunk else _ROWS + _CODES
    kept = _ROWS if padded == chunk else 0
    fitting = (_SHARED_BYTES // (2 * chunk) - kept) // held
    stages = min(3, max(1, fitting))
    return Plan(padded, chunk, _ROWS, _CODES, tiles, supers, 8, stages)
