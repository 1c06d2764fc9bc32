"""Photographs from arrays that are in memory already.

In: uint8 arrays. Out: photographs. Must not import torch.
"""

from collections.abc import Iterable, Mapping
from typing import cast

import numpy as np

from certvq._types import UInt8Array
from certvq.data._photograph import Photograph


def from_arrays(arrays: Mapping[str, UInt8Array] | Iterable[UInt8Array]) -> list[Photograph]:
    """Make photographs of arrays.

    Args:
        arrays: uint8 arrays of shape (H, W), (H, W, 1) or (H, W, 3), by key; or without keys, such
            as a list or one array (N, H, W, C), which are then named by their number, padded with
            zeros to equal length.

    Returns:
        One photograph per array, in the order given.

    Raises:
        DataError, DTypeError, ShapeError: as `Photograph`, naming the key.

    Example:
        >>> [p.key for p in from_arrays(np.zeros((11, 4, 4, 3), np.uint8))][::10]
        ['00', '10']
        >>> from_arrays({"grey": np.zeros((4, 6), np.uint8)})[0].pixels.shape
        (4, 6, 1)
    """
    if isinstance(arrays, Mapping):
        named = cast("Mapping[str, UInt8Array]", arrays)
    else:
        named = _numbered(list(arrays))
    return [Photograph(key, _with_channels(array)) for key, array in named.items()]


def _numbered(arrays: list[UInt8Array]) -> dict[str, UInt8Array]:
    digits = len(str(len(arrays) - 1))
    return {f"{number:0{digits}d}": array for number, array in enumerate(arrays)}


def _with_channels(array: UInt8Array) -> UInt8Array:
    return array[:, :, np.newaxis] if np.ndim(array) == 2 else array
