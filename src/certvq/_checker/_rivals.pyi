"""Compiled filter of the independent checker."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

def levels() -> list[str]:
    """Name the instruction sets that run here, the best first."""

def rivals(
    latents: NDArray[Any],
    brain_latents: bool,
    codebook: NDArray[Any],
    brain_codebook: bool,
    codes: NDArray[np.int64],
    threads: int,
    level: str = "",
    widen: float = 1.0,
    besides: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]] | None:
    """Return rows, rivals, rows given up and squared distances, or None if nothing is decided."""
