"""The sizes that are measured.

In: text such as ``16384x8192x32``. Out: `Cell`. Must not import anything heavy.
"""

import re
from dataclasses import dataclass
from typing import Final

from certvq.errors import OptionError


@dataclass(frozen=True)
class Cell:
    """N latents, K code vectors, dimension D; `str` writes it as ``NxKxD``."""

    rows: int
    codebook_size: int
    dim: int

    def __str__(self) -> str:
        return f"{self.rows}x{self.codebook_size}x{self.dim}"


def parse_cell(text: str) -> Cell:
    """Read ``NxKxD``.

    Raises:
        OptionError: not three positive integers with x between them.

    Example:
        >>> parse_cell("16384x8192x32")
        Cell(rows=16384, codebook_size=8192, dim=32)
    """
    found = re.fullmatch(r"([1-9]\d{0,8})x([1-9]\d{0,8})x([1-9]\d{0,8})", text)
    if found is None:
        raise OptionError(f"a cell is NxKxD, such as 16384x8192x32; got {text!r}")
    rows, codebook_size, dim = (int(part) for part in found.groups())
    return Cell(rows, codebook_size, dim)


CELLS: Final = (
    Cell(65536, 512, 64),
    Cell(16384, 8192, 8),
    Cell(16384, 16384, 8),
    Cell(16384, 1024, 256),
    Cell(16384, 8192, 32),
    Cell(65536, 1024, 4),
    Cell(4096, 65536, 64),
    Cell(16384, 16384, 16),
    Cell(1024, 512, 64),
    Cell(64, 8192, 32),
)
"""Published sizes of codebooks, a few tokens and many, small and large dimensions."""

EXTRA_CELL: Final = Cell(8192, 8192, 32)
"""Measured only where it is asked for; no mean of the ten contains it."""
