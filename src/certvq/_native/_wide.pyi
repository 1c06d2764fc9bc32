"""Compiled arithmetic on pairs of float64 numbers, `native/wide`."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

_Array: TypeAlias = NDArray[np.float64]

PLACES: int
"""Places of a product come in multiples of this."""

def levels() -> list[str]:
    """Name the instruction sets that run on this processor, the best first."""

def unary(
    operation: int,
    high: _Array,
    low: _Array,
    out_high: _Array,
    out_low: _Array,
    threads: int,
    level: str = "",
) -> None:
    """Apply a function to each entry."""

def binary(
    operation: int,
    high: _Array,
    low: _Array,
    right_high: _Array,
    right_low: _Array,
    out_high: _Array,
    out_low: _Array,
    inner: int,
    threads: int,
    level: str = "",
) -> None:
    """Combine entry i with entry ``i // inner % len(right)``."""

def sums(
    high: _Array,
    low: _Array | None,
    out_high: _Array,
    out_low: _Array,
    threads: int,
    level: str = "",
) -> None:
    """Add up rows, of which there are as many as results; low parts may be None for zeros."""

def product(
    weight: _Array,
    weight_low: _Array | None,
    high: _Array,
    low: _Array | None,
    offsets: NDArray[np.int64],
    anchors: _Array,
    out_high: _Array,
    out_low: _Array,
    threads: int,
    level: str = "",
) -> None:
    """Multiply matrices (G, O, T) with terms that begin at offsets of operands (N, S).

    Args:
        weight: high parts.
        weight_low: low parts, None for zeros.
        high: of the operands; operand n belongs to matrix ``n % G``.
        low: of the operands, None for zeros of both.
        offsets: (T,).
        anchors: (N, O), each 1.5 times a power of two, of which half bounds the sum of the sizes of
            the products.
        out_high: (N, O, places), a multiple of `PLACES` that fits behind each offset.
        out_low: the same shape.
        threads: at least 1.
        level: one of `levels`, or "" for the best.
    """
