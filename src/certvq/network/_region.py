"""Boxes of places of a tensor.

In: shapes. Out: `Region`, and a tensor of which a region is meant. Must not know operators.
"""

from dataclasses import dataclass

from certvq.network._graph import Ref

Region = tuple[tuple[int, int], ...]
"""Along each axis, the first place and the one after the last; never empty."""


@dataclass(frozen=True)
class Part:
    """A region of a tensor of the graph."""

    ref: Ref
    region: Region


def whole(shape: tuple[int, ...]) -> Region:
    """Return the region of all places."""
    return tuple((0, size) for size in shape)


def hull(first: Region | None, second: Region) -> Region:
    """Return the least region that holds both."""
    if first is None:
        return second
    pairs = zip(first, second, strict=True)
    return tuple((min(a, c), max(b, d)) for (a, b), (c, d) in pairs)


def shape_of(region: Region) -> tuple[int, ...]:
    """Return the size of each axis."""
    return tuple(end - start for start, end in region)


def slices(region: Region) -> tuple[slice, ...]:
    """Return what indexes a tensor by a region."""
    return tuple(slice(*each) for each in region)


def narrowed_region(region: Region, shape: tuple[int, ...]) -> Region:
    """Return which part of a tensor is needed, if it is broadcast to a region."""
    last = region[len(region) - len(shape) :]
    return tuple((0, 1) if size == 1 else each for each, size in zip(last, shape, strict=True))


def with_axes(region: Region, shape: tuple[int, ...], count: int) -> Region:
    """Return the region of a tensor that has all of its axes but those first ones of a region."""
    return (*region[:count], *whole(shape)[count:])
