"""Nested tuples of numbers: the tensors of the specification.

In: a scalar, or tuples and lists of scalars nested to any depth. Out: its shape, its entries in
row-major order, or a tensor of the same shape with other entries. A scalar is anything that adds,
subtracts and multiplies: `int`, `float`, `fractions.Fraction`, a solver's real term. Must not
import anything but the standard library and `certvq.errors`.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import reduce
from operator import add
from typing import Any, TypeAlias, TypeGuard

from certvq.errors import DTypeError, ShapeError

Scalar: TypeAlias = Any
"""A number or a symbolic real; computed with by `+`, `-`, `*` and `/` by a count alone."""

Tensor: TypeAlias = Any
"""A scalar (rank 0), or a tuple or list of tensors of one shape."""


def is_nested(tensor: Tensor) -> TypeGuard[Sequence[Tensor]]:
    """Tell a tuple or list from a scalar.

    Args:
        tensor: a scalar, or a tuple or list.

    Returns:
        True for a tuple or list, False for a scalar.

    Raises:
        DTypeError: `tensor` is another kind of container (an array, a string, a set).

    Example:
        >>> is_nested((1, 2)), is_nested(1)
        (True, False)
    """
    if isinstance(tensor, (tuple, list)):
        return True
    # An array adds and multiplies too: taken for a scalar, it would give an answer, and no error.
    if hasattr(tensor, "__iter__"):
        raise DTypeError(
            "a tensor of the specification must be a scalar or nested tuples or lists of scalars, "
            f"came {type(tensor).__name__}; give an array as array.tolist()"
        )
    return False


def shape(tensor: Tensor) -> tuple[int, ...]:
    """Return the length of each axis, outermost first.

    Args:
        tensor: a scalar, or nested tuples or lists.

    Returns:
        The lengths; `()` for a scalar. Below an axis of length 0 no further axis is seen.

    Raises:
        ShapeError: two parts of one axis differ in shape; the text names both.
        DTypeError: an entry is a container other than a tuple or list.

    Example:
        >>> shape(((1, 2, 3), (4, 5, 6)))
        (2, 3)
        >>> shape(7)
        ()
    """
    if not is_nested(tensor):
        return ()
    inner = [shape(part) for part in tensor]
    for place, found in enumerate(inner):
        if found != inner[0]:
            raise ShapeError(
                f"the parts of a tensor must have one shape, part 0 has shape {inner[0]} and "
                f"part {place} has shape {found}; make them equal"
            )
    return (len(inner), *inner[0]) if inner else (0,)


def entries(tensor: Tensor) -> tuple[Scalar, ...]:
    """Return the scalars of a tensor in row-major order.

    Args:
        tensor: a scalar, or nested tuples or lists.

    Returns:
        All entries, the last axis running fastest.

    Raises:
        DTypeError: an entry is a container other than a tuple or list.

    Example:
        >>> entries(((1, 2), (3, 4)))
        (1, 2, 3, 4)
    """
    if not is_nested(tensor):
        return (tensor,)
    return tuple(entry for part in tensor for entry in entries(part))


def frozen(tensor: Tensor) -> Tensor:
    """Return a tensor as nested tuples, which nobody can change afterwards.

    Args:
        tensor: a scalar, or nested tuples or lists.

    Returns:
        The same entries in the same nesting.

    Raises:
        DTypeError: an entry is a container other than a tuple or list.

    Example:
        >>> frozen([[1, 2], [3, 4]])
        ((1, 2), (3, 4))
    """
    return tuple(frozen(part) for part in tensor) if is_nested(tensor) else tensor


def map_entries(function: Callable[..., Scalar], first: Tensor, *others: Tensor) -> Tensor:
    """Apply a function entry by entry.

    Args:
        function: takes one scalar of each tensor.
        first: the tensor whose shape the result has.
        others: tensors of that same shape, already checked.

    Returns:
        Nested tuples of the function's values.

    Raises:
        DTypeError: an entry is a container other than a tuple or list.

    Example:
        >>> map_entries(lambda a, b: a - b, [5, (4, 3)], [1, [1, 1]])
        (4, (3, 2))
    """
    if not is_nested(first):
        return function(first, *others)
    return tuple(map_entries(function, *parts) for parts in zip(first, *others, strict=True))


def require_same_shape(
    x: Tensor, y: Tensor, *, names: tuple[str, str] = ("x", "y")
) -> tuple[int, ...]:
    """Return the common shape of two tensors.

    Args:
        x: a tensor.
        y: a tensor.
        names: what the error text shall call them.

    Returns:
        The shape that both have.

    Raises:
        ShapeError: the shapes differ, or one of the tensors is ragged; the text names both shapes.
        DTypeError: an entry is a container other than a tuple or list.

    Example:
        >>> require_same_shape((1, 2), [3, 4])
        (2,)
    """
    left, right = shape(x), shape(y)
    if left != right:
        raise ShapeError(
            f"{names[0]} and {names[1]} must have the same shape, {names[0]} has shape {left} and "
            f"{names[1]} has shape {right}; give them equally many entries on every axis"
        )
    return left


def total(terms: Sequence[Scalar]) -> Scalar:
    """Add up scalars from left to right.

    Args:
        terms: any number of scalars.

    Returns:
        Their sum, the integer 0 when there is none.

    Example:
        >>> total((1, 2, 3)), total(())
        (6, 0)
    """
    # Not `sum`: since Python 3.12 it compensates floats, so that two versions would differ.
    return reduce(add, terms) if terms else 0


def divided(value: Scalar, count: int) -> Scalar:
    """Divide a scalar by a positive count, exactly wherever the scalar allows it.

    Args:
        value: the dividend.
        count: a positive integer.

    Returns:
        `value / count`; a `Fraction` where `value` is an `int`, whose own `/` would round.

    Example:
        >>> divided(10, 4), divided(10.0, 4)
        (Fraction(5, 2), 2.5)
    """
    return Fraction(value, count) if isinstance(value, int) else value / count
