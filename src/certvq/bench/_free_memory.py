"""Whether a contender fits into the memory that is free.

In: a contender and a cell. Out: a line that says why not, or nothing. Must not measure.
"""

import os
from pathlib import Path
from typing import Final

from certvq.bench._cells import Cell
from certvq.bench._contender import Contender

SHARE: Final = 0.5
"""Of the free memory, that a contender may be reckoned to take."""

_MEMINFO: Final = Path("/proc/meminfo")
_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")
_USED: Final = Path("/sys/fs/cgroup/memory.current")


def lacking(contender: Contender, cell: Cell) -> str:
    """Say why a contender is not measured on a cell; empty where it fits.

    It is reckoned to need ``4 N K`` bytes for each of its `Contender.matrices`.
    """
    need = 4 * contender.matrices * cell.rows * cell.codebook_size
    if need <= SHARE * free_bytes():
        return ""
    return f"skipped: needs about {need / 2**30:.3g} GiB"


def free_bytes() -> float:
    """Return what the machine has free and, in a container, what the container may still take.

    Returns:
        Bytes; infinity where the system does not tell.
    """
    return min(_available(), _left_to_the_container())


def _available() -> float:
    try:
        lines = _MEMINFO.read_text().splitlines()
        found = next(line for line in lines if line.startswith("MemAvailable:"))
        return 1024.0 * int(found.split()[1])
    except (OSError, StopIteration, ValueError, IndexError):
        return _physical()


def _physical() -> float:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (OSError, ValueError):
        return float("inf")


def _left_to_the_container() -> float:
    try:
        return float(int(_LIMIT.read_text()) - int(_USED.read_text()))
    except (OSError, ValueError):  # no such files, or "max"
        return float("inf")
