"""What the tokens of photographs cost and how they are spread.

In: token records. Out: bits per pixel and a histogram. Must not read files.
"""

import math
from collections.abc import Sequence

import numpy as np

from certvq._types import Int64Array
from certvq.tokens import TokenRecord


def bits_per_pixel(records: Sequence[TokenRecord], codebook_size: int) -> float:
    """Compute ``codes log2(K) / pixels`` over all records, at least one.

    Example:
        >>> record = TokenRecord("tom", (2, 2), (8, 8), np.zeros(4, np.int64))
        >>> bits_per_pixel([record], 512)
        0.5625
    """
    codes = sum(record.codes.size for record in records)
    pixels = sum(record.size[0] * record.size[1] for record in records)
    return codes * math.log2(codebook_size) / pixels


def code_counts(records: Sequence[TokenRecord], codebook_size: int) -> Int64Array:
    """Count how often each of the K codes occurs in all records, (K,)."""
    codes = np.concatenate([record.codes for record in records])
    return np.bincount(codes, minlength=codebook_size)
