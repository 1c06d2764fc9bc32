"""The input of a network as exact numbers.

In: a batch of floats, or of bytes. Out: `Source`. Bytes stand for ``byte / 255`` over the rational
numbers, floats for themselves. Must not know networks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from certvq.errors import DTypeError, NonFiniteError
from certvq.network._bounded import Bounded, exact, magnitude, widened
from certvq.network._bounds import enlargement
from certvq.network._numbers import Numbers
from certvq.network._region import Region, slices
from certvq.network._wide import rounding

_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_LEVELS = 255
_COLOURS = 4
"""Channels of an image; a bound for each pixel is then as good as one for each number. Chosen."""


@dataclass(frozen=True)
class Source:
    """Exact numbers, ``numerators / denominator``.

    Attributes:
        numerators: float64, on the CPU.
        denominator: 1 for floats, 255 for bytes.
    """

    numerators: torch.Tensor
    denominator: int

    def bounded(self, *, pairs: bool = False) -> Bounded:
        """Return the numbers in float64 or pairs, quotients with the bound of their rounding."""
        found = exact(self.numerators)
        found = widened(found) if pairs else found
        if self.denominator == 1:
            return found
        value = found.value / float(self.denominator)
        axis = 1 if value.ndim > 2 and value.shape[1] <= _COLOURS else None
        error = magnitude(value, axis) * (rounding(value) * enlargement(2))
        return Bounded(value, error, axis)

    def part(self, region: Region) -> "Source":
        """Return the numbers of a region."""
        return Source(self.numerators[slices(region)], self.denominator)

    def objects(self, numbers: Numbers, mask: np.ndarray) -> np.ndarray:
        """Return the numbers of a mask in an exact arithmetic."""
        result = numbers.array(self.numerators.numpy(), mask)
        if self.denominator != 1:
            divisor: Any = numbers.number(float(self.denominator))
            result[mask] = result[mask] / divisor
        return result


def source_of(batch: torch.Tensor) -> Source:
    """Read a batch.

    Args:
        batch: finite floats, or uint8.

    Returns:
        Its numbers.

    Raises:
        DTypeError: other numbers, or a tensor that holds none.
        NonFiniteError: NaN or infinity.
    """
    if not isinstance(batch, torch.Tensor) or batch.layout != torch.strided or batch.is_meta:
        text = f"batch must be a dense torch tensor with numbers, got {_described(batch)}"
        raise DTypeError(text)
    if batch.dtype not in {*_FLOATS, torch.uint8}:
        text = (
            f"batch must be of float64, float32, bfloat16, float16 or uint8, got {batch.dtype}; "
            "convert it"
        )
        raise DTypeError(text)
    numbers = batch.detach().to("cpu", torch.float64).contiguous()
    bad = (~torch.isfinite(numbers)).nonzero()
    if len(bad):
        index = tuple(bad[0].tolist())
        text = f"batch must be finite, got {float(numbers[index])} at index {index}; remove it"
        raise NonFiniteError(text)
    return Source(numbers, _LEVELS if batch.dtype == torch.uint8 else 1)


def _described(batch: object) -> str:
    if not isinstance(batch, torch.Tensor):
        return type(batch).__name__
    return "one without numbers (meta)" if batch.is_meta else str(batch.layout)
