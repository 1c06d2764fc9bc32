"""Peak signal-to-noise ratio of 8-bit pictures.

In: pairs of pictures. Out: decibels. Must not import torch.
"""

import math
from collections.abc import Iterable

import numpy as np

from certvq._types import UInt8, UInt8Array
from certvq.errors import DTypeError, ShapeError


def psnr(
    original: UInt8[UInt8Array, "*shape"], reconstruction: UInt8[UInt8Array, "*shape"]
) -> float:
    """Measure how close two pictures are.

    Mathematics: ``10 log10(255^2 / MSE)``, MSE over all pixels and channels.

    Args:
        original: uint8, any shape but empty.
        reconstruction: uint8 of the same shape.

    Returns:
        Decibels, at least 0; infinite for equal pictures. The sum of squared errors is exact.

    Raises:
        DTypeError: an array is not uint8.
        ShapeError: the shapes differ, or there is no pixel.

    Example:
        >>> black, grey = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 1, np.uint8)
        >>> round(psnr(black, grey), 2)
        48.13
    """
    return mean_psnr([(original, reconstruction)])


def mean_psnr(pairs: Iterable[tuple[UInt8Array, UInt8Array]]) -> float:
    """Measure how close pictures are to their originals, all together.

    This is the PSNR of the mean squared error over all samples of all pairs, not the mean of the
    PSNRs: each pixel counts alike, whatever the size of its picture, and one flat picture that is
    nearly perfect does not hide what the others lose.

    Args:
        pairs: original and reconstruction, uint8 of equal shapes; at least one pixel in all.

    Returns:
        Decibels, at least 0; infinite if all pairs are equal.

    Raises:
        DTypeError: an array is not uint8.
        ShapeError: the shapes of a pair differ, or there is no pixel.

    Example:
        >>> black, white = np.zeros((1, 1), np.uint8), np.full((1, 1), 255, np.uint8)
        >>> round(mean_psnr([(black, black), (black, white)]), 2)  # half of the pixels are wrong
        3.01
    """
    total, samples = 0, 0
    for original, reconstruction in pairs:
        total += _squared_error(original, reconstruction)
        samples += original.size
    if samples == 0:
        raise ShapeError("PSNR needs at least one pixel, got none")
    return 10 * math.log10(255**2 * samples / total) if total else math.inf


def _squared_error(original: UInt8Array, reconstruction: UInt8Array) -> int:
    for name, array in (("original", original), ("reconstruction", reconstruction)):
        if array.dtype != np.uint8:
            raise DTypeError(f"PSNR is of uint8 pictures, got {array.dtype} as the {name}")
    if original.shape != reconstruction.shape:
        raise ShapeError(
            f"original and reconstruction must have the same shape, got {original.shape} and "
            f"{reconstruction.shape}"
        )
    error = original.astype(np.int32) - reconstruction
    return int(np.square(error).sum(dtype=np.int64))
