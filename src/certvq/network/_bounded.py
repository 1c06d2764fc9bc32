"""Values of a network in float64, each beside a bound on its error.

In: tensors. Out: `Bounded`, and what operators ask of it. Must not know operators.
"""

from dataclasses import dataclass, field
from typing import Any

import torch

from certvq.network._bounds import enlargement, norm_upper
from certvq.network._wide import nearest, rest, sizes, wide


@dataclass(frozen=True)
class Bounded:
    """What was computed, and how far from it the value over the real numbers can be.

    Attributes:
        value: float64, or pairs of it (`Wide`).
        error: float64, as many axes as `value`. Along `axis` it has size 1 and bounds the Euclidean
            norm of the vector of errors there; without one it has the shape of `value` and bounds
            the error of each entry.
        axis: that of the channels, counted from the front, or None.
        whole: float64, (B,) for B entries of the first axis: bounds on the Euclidean norms of all
            errors of each; None where nobody keeps count (`tracked`).
        memory: what operators found out about these numbers, by a key of their own, so that it is
            found out once for a parameter that many batches use; `widened` shares it.
    """

    value: torch.Tensor
    error: torch.Tensor
    axis: int | None
    whole: torch.Tensor | None = None
    memory: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)


def exact(value: torch.Tensor) -> Bounded:
    """Return numbers without error.

    Args:
        value: any type of number that float64 holds exactly.

    Returns:
        The numbers in float64 on the CPU.
    """
    copy = value.detach().to("cpu", torch.float64)
    return Bounded(copy, copy.new_zeros(()).expand(copy.shape), None)


def widened(bounded: Bounded) -> Bounded:
    """Return the same number in pairs; what operators find out about exact numbers is shared."""
    return Bounded(wide(bounded.value), bounded.error, bounded.axis, memory=bounded.memory)


def narrowed(bounded: Bounded) -> Bounded:
    """Return the nearest float64 numbers, with what is left of the pairs in the bound."""
    low = magnitude(rest(bounded.value), bounded.axis)
    return Bounded(nearest(bounded.value), (bounded.error + low) * enlargement(2), bounded.axis)


def entry_errors(bounded: Bounded) -> torch.Tensor:
    """Bound the error of each entry: the norm of a vector bounds each of its entries."""
    return bounded.error.expand(bounded.value.shape)


def along(bounded: Bounded, axis: int) -> Bounded:
    """Return the same value with the bounds of vectors along an axis."""
    if bounded.axis == axis:
        return bounded
    error = norm_upper(entry_errors(bounded), (axis,))
    return Bounded(bounded.value, error, axis, bounded.whole)


def whole_norm(error: torch.Tensor, axis: int | None, shape: tuple[int, ...]) -> torch.Tensor:
    """Bound the norms (B,) of all errors of each entry of the first axis.

    Args:
        error: bounds that can be broadcast to `shape`, of size 1 along `axis`.
        axis: of the vectors that they bound, or None for entries.
        shape: of the value, or of part of it: all axes but the first may be missing.
    """
    sizes = tuple(1 if place == axis else size for place, size in enumerate(shape))
    rows = error.expand(sizes).reshape(sizes[0], -1)
    return norm_upper(rows, (1,)).flatten().expand(shape[0])


def whole_error(bounded: Bounded, shape: tuple[int, ...]) -> torch.Tensor:
    """Bound the norms (B,) of all errors of a value that is broadcast to a shape."""
    if bounded.whole is not None and tuple(bounded.value.shape) == shape:
        return bounded.whole
    return whole_norm(broadcast_error(bounded, shape, None), None, shape)


def tracked(bounded: Bounded) -> Bounded:
    """Return the same value with the lesser of both kinds of bounds.

    The norm of all errors bounds each of them, and the errors of all places bound it. A number
    without axes has no samples.
    """
    if not bounded.value.ndim:
        return bounded
    whole = whole_norm(bounded.error, bounded.axis, tuple(bounded.value.shape))
    if bounded.whole is not None:
        whole = torch.minimum(whole, bounded.whole)
    most = norm_upper(whole, (0,)) if bounded.axis == 0 else whole
    most = most.reshape(-1, *(1,) * (bounded.error.ndim - 1))
    error = torch.minimum(bounded.error, most)
    return Bounded(bounded.value, error, bounded.axis, whole)


def magnitude(value: torch.Tensor, axis: int | None) -> torch.Tensor:
    """Bound the norms of vectors along an axis; without one, return the size of each entry."""
    return sizes(value) if axis is None else norm_upper(value, (axis,))


def broadcast_error(bounded: Bounded, shape: tuple[int, ...], axis: int | None) -> torch.Tensor:
    """Bound the error of a value that is broadcast to a shape.

    Args:
        bounded: of a shape that can be broadcast.
        shape: of the result.
        axis: of the result's vectors, or None for entries.

    Returns:
        Bounds that can be broadcast to `shape`, of size 1 along `axis`.
    """
    added = len(shape) - bounded.value.ndim
    error = bounded.error.reshape((1,) * added + tuple(bounded.error.shape))
    own = None if bounded.axis is None else bounded.axis + added
    if axis is None:
        return error
    same_size = own is not None and bounded.value.shape[own - added] == shape[axis]
    if own == axis and same_size:
        return error
    return norm_upper(error.expand(shape), (axis,))


def common_axis(operands: list[Bounded], shape: tuple[int, ...]) -> int | None:
    """Return the axis of the channels of a result, that of an operand of its shape."""
    axes = [each.axis for each in operands if tuple(each.value.shape) == shape]
    return next((axis for axis in axes if axis is not None), None)
