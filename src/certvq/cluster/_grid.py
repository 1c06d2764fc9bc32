"""Floats as integers on a common grid, cut into slices that 64-bit sums can hold.

In: exact float64 numbers. Out: the extent of their bits, and int64 slices whose weighted sum is the
number itself. Must not know of cells or codes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from certvq._types import Float64Array, Int64Array


class OffGrid(ValueError):  # noqa: N818
    """A number that the grid does not hold: it is not one of those that were measured."""


_SAFE = 1000
"""Powers of two up to this exponent are normal float64, so that a product replaces `ldexp`, which
takes ten times as long."""


@dataclass(frozen=True)
class Extent:
    """Where the bits of some numbers lie: each is an integer times ``2**lowest`` below ``2**top``.

    Attributes:
        lowest: exponent of the grid.
        top: every magnitude is below ``2**top``; `lowest` if all numbers are 0.
    """

    lowest: int
    top: int

    @property
    def bits(self) -> int:
        """Bits of the greatest magnitude on the grid."""
        return max(1, self.top - self.lowest)

    def union(self, other: "Extent") -> "Extent":
        """Return an extent that holds the numbers of both."""
        if self.top == self.lowest:
            return other
        if other.top == other.lowest:
            return self
        return Extent(min(self.lowest, other.lowest), max(self.top, other.top))


NOTHING = Extent(0, 0)
"""The extent of no number, or of zeros."""


def extent_of(values: np.ndarray, mantissa: int = 53) -> Extent:
    """Measure finite numbers by the least and the greatest magnitude besides 0.

    Args:
        values: finite floats of any shape.
        mantissa: bits of the mantissa of their type.

    Returns:
        The grid that the least magnitude needs, whatever its own low bits are: this takes two
        passes over memory, while to look at each number's lowest bit takes ten times as long.
    """
    magnitudes = np.abs(values)
    greatest = float(magnitudes.max(initial=0.0))
    if greatest == 0.0:
        return NOTHING
    least = float(magnitudes.min(where=magnitudes > 0, initial=np.inf))
    top = int(np.frexp(greatest)[1])
    return Extent(max(-1074, int(np.frexp(least)[1]) - mantissa), top)


def tight_extent_of(values: Float64Array) -> Extent:
    """Measure numbers by their lowest set bits, so that whole numbers get the grid 1."""
    values = values[values != 0.0]
    if not values.size:
        return NOTHING
    mantissas, exponents = np.frexp(values)
    integers = np.ldexp(mantissas, 53).astype(np.int64)
    trailing = np.frexp((integers & -integers).astype(np.float64))[1] - 1
    return Extent(int((exponents - 53 + trailing).min()), int(exponents.max()))


def slices(values: Float64Array, extent: Extent, width: int) -> Iterator[tuple[int, Int64Array]]:
    """Cut numbers into slices of `width` bits, the highest first.

    Args:
        values: finite, of any shape, within `extent`.
        extent: their grid.
        width: bits of a slice, at most 52.

    Yields:
        Pairs ``(offset, slice)`` with ``values == sum(slice * 2.0**(lowest + offset))``; entries of
        a slice lie within ``-2**width .. 2**width`` and have the sign of their number.

    Raises:
        OffGrid: a number does not lie on the grid, or is too large for it.
    """
    count = -(-extent.bits // width)
    rest = values
    for place in reversed(range(count)):
        exponent = extent.lowest + width * place
        part = _times_power(rest, -exponent)
        if place:
            np.trunc(part, out=part)
            rest = rest - _times_power(part, exponent)
        if place == count - 1 and not _within(part, width):
            raise OffGrid("there is a number greater than any")
        whole = part.astype(np.int64)
        if not place and not np.array_equal(whole, part):
            raise OffGrid("there is a number of finer steps than any")
        yield width * place, whole


def _within(part: Float64Array, width: int) -> bool:
    return max(part.max(initial=0.0), -part.min(initial=0.0)) < 2.0**width


def _times_power(values: Float64Array, exponent: int) -> Float64Array:
    """Multiply by ``2**exponent``; what is not exact lies below 1 and is cut off by the caller."""
    if abs(exponent) <= _SAFE:
        return values * 2.0**exponent
    return np.ldexp(values, exponent)
