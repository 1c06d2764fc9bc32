"""Compiled kernels of certvq."""

import numpy as np
from numpy.typing import NDArray

def squared_row_norms(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum the squares of each row: float64 (N, D), any strides, to float64 (N,)."""
