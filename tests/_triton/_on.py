"""Where the tests of the Triton kernels run, and what an exact answer to them is."""

from fractions import Fraction

import numpy as np
import torch

from certvq._triton import INTERPRETED

DEVICE = torch.device("cpu" if INTERPRETED else "cuda")


def fractions(array):
    """Read an array of floats as exact fractions, row by row."""
    rows = np.asarray(array, dtype=np.float64).tolist()
    return [[Fraction(value) for value in row] for row in rows]


def to_device(array):
    return torch.from_numpy(np.ascontiguousarray(array)).to(DEVICE)
