"""Random crops to learn from.

In: photographs, a seed and the number of a step. Out: one batch of pixels. Nothing is remembered
between calls, so that a resumed run sees the crops that the whole run would have seen. Must not
import torch.
"""

from collections.abc import Sequence

import numpy as np

from certvq._types import UInt8, UInt8Array
from certvq.data._photograph import Photograph, files_of, require_usable
from certvq.errors import DataError, OptionError


def crops(
    photographs: Sequence[Photograph], *, size: int, count: int, seed: int, step: int
) -> UInt8[UInt8Array, "{count} {size} {size} C"]:
    """Cut a batch of square crops out of photographs.

    Each crop takes one photograph, all with equal chance whatever their size, then a place, all
    with equal chance, and is mirrored left to right with probability one half.

    Args:
        photographs: at least one, all of one number of channels C, no side below `size`.
        size: side of a crop in pixels, at least 1.
        count: number of crops, at least 1.
        seed: of the run, at least 0.
        step: of the run, at least 0; each step has other crops.

    Returns:
        uint8 (count, size, size, C), C-contiguous and writeable.

    Raises:
        OptionError: a number is below its range.
        DataError: no photograph, mixed channels, a key that occurs twice, or a photograph that is
            smaller than a crop; it is named.

    Guarantee: a function of the arguments alone (of one version of NumPy): the same photographs,
    seed and step give the same crops, in any process and any order of calls.
    Cost: O(count * size^2) time and memory, and one look at each photograph's size.

    Example:
        >>> from certvq.data import from_arrays
        >>> photographs = from_arrays(np.arange(3 * 48, dtype=np.uint8).reshape(3, 6, 8))
        >>> batch = crops(photographs, size=4, count=5, seed=0, step=7)
        >>> batch.shape, np.array_equal(batch, crops(photographs, size=4, count=5, seed=0, step=7))
        ((5, 4, 4, 1), True)
    """
    for name, value, least in (
        ("size", size, 1),
        ("count", count, 1),
        ("seed", seed, 0),
        ("step", step, 0),
    ):
        if value < least:
            raise OptionError(f"{name} must be at least {least}, got {value}")
    _require_large(photographs, size)
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, step])))
    batch = np.empty((count, size, size, photographs[0].channels), dtype=np.uint8)
    for crop in batch:
        crop[:] = _crop(photographs[int(random.integers(len(photographs)))], size, random)
    return batch


def _crop(
    photograph: Photograph, size: int, random: np.random.Generator
) -> UInt8[UInt8Array, "{size} {size} C"]:
    top = int(random.integers(photograph.height - size + 1))
    left = int(random.integers(photograph.width - size + 1))
    crop = photograph.pixels[top : top + size, left : left + size]
    return crop[:, ::-1] if random.integers(2) else crop


def _require_large(photographs: Sequence[Photograph], size: int) -> None:
    require_usable(photographs, stride=1)
    for photograph in photographs:
        if min(photograph.height, photograph.width) < size:
            raise DataError(
                f"{files_of(photograph)}photograph {photograph.key!r} is {photograph.height} x "
                f"{photograph.width} pixels, smaller than the crops of {size} x {size}; "
                "use smaller crops, or leave it out"
            )
