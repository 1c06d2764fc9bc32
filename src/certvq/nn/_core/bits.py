"""Floats that a module keeps as the integers of their bits.

In: integers. Out: the floats. `half()` and `double()` convert the floats of a module, and leave
integers as they are. Must not know what the numbers are for.
"""

import functools

import torch

from certvq.nn._core.apart import apart
from certvq.nn._core.eager import transforming


def floats_of(bits: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Read integers as the floats whose bits they are.

    Args:
        bits: (N, ...), integers.
        dtype: floats of the same width.

    Returns:
        The floats, of the same shape: a view, or a copy under `torch.func`.

    Example:
        >>> bits = torch.tensor([1.0, -0.5]).view(torch.int32)
        >>> floats_of(bits, torch.float32)
        tensor([ 1.0000, -0.5000])
    """
    if transforming():  # torch 2.6 has no view of another type under `torch.func.vmap`
        return apart(functools.partial(_copied, dtype), [bits], [])[0]
    return bits.view(dtype)


def _copied(dtype: torch.dtype, bits: torch.Tensor) -> tuple[torch.Tensor]:
    return (bits.clone().view(dtype),)
