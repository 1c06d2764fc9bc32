"""Inner product, squared Euclidean distance and mean squared error.

In: two tensors of one shape and any rank, read entry by entry. Out: one scalar. Must not import
anything but the standard library and the private modules of the specification.
"""

from certvq.errors import ShapeError
from certvq.spec._tensor import Scalar, Tensor, divided, entries, require_same_shape, total


def dot(x: Tensor, y: Tensor) -> Scalar:
    """Return the inner product of two tensors.

    dot(x, y) = sum_k x_k * y_k over all entries, added from left to right.

    Args:
        x: a tensor of any shape.
        y: a tensor of that shape.

    Returns:
        The inner product; 0 for tensors without entries.

    Raises:
        ShapeError: the shapes differ, or a tensor is ragged.
        DTypeError: an entry is a container other than a tuple or list.

    Example:
        >>> from certvq.spec import dot
        >>> dot((1, 2, 3), (4, 5, -6))
        -4
    """
    require_same_shape(x, y)
    return total([a * b for a, b in zip(entries(x), entries(y), strict=True)])


def squared_l2(x: Tensor, y: Tensor) -> Scalar:
    """Return the squared Euclidean distance between two tensors.

    squared_l2(x, y) = sum_k (x_k - y_k)**2 over all entries, added from left to right.

    Args:
        x: a tensor of any shape.
        y: a tensor of that shape.

    Returns:
        The squared distance; 0 for tensors without entries.

    Raises:
        ShapeError: the shapes differ, or a tensor is ragged.
        DTypeError: an entry is a container other than a tuple or list.

    Guarantee: over an ordered field it is never negative (squaredL2_nonneg), and 0 between a
    tensor and itself (squaredL2_self).

    Example:
        >>> from certvq.spec import squared_l2
        >>> squared_l2((1.0, -0.5), (0.0, 0.0))
        1.25
        >>> squared_l2(((1, 2), (3, 4)), ((0, 0), (0, 0)))
        30
    """
    require_same_shape(x, y)
    gaps = [a - b for a, b in zip(entries(x), entries(y), strict=True)]
    return total([gap * gap for gap in gaps])


def mse(x: Tensor, y: Tensor) -> Scalar:
    """Return the mean squared error between two tensors.

    mse(x, y) = squared_l2(x, y) / n, where n is the number of entries of x.

    Args:
        x: a tensor of any shape with at least one entry.
        y: a tensor of that shape.

    Returns:
        The mean; a `Fraction` where all entries are integers.

    Raises:
        ShapeError: the shapes differ, a tensor is ragged, or there is no entry to take a mean of.
        DTypeError: an entry is a container other than a tuple or list.

    Guarantee: it chooses the same codes as `squared_l2` (isNearestCode_iff_mse).

    Example:
        >>> from certvq.spec import mse
        >>> z = (1.0, -0.5)
        >>> [mse(z, code) for code in ((0.0, 0.0), (1.0, 1.0), (-1.0, 0.5))]
        [0.625, 1.125, 2.5]
        >>> mse((1, 2), (0, 0))
        Fraction(5, 2)
    """
    return divided(squared_l2(x, y), require_entries(x))


def require_entries(x: Tensor) -> int:
    """Return the number of entries of a tensor over which a mean is taken.

    Args:
        x: a tensor, already known not to be ragged.

    Returns:
        The number n of entries, at least 1.

    Raises:
        ShapeError: there is none.

    Example:
        >>> require_entries(((1, 2, 3), (4, 5, 6)))
        6
    """
    count = len(entries(x))
    if count == 0:
        raise ShapeError(
            "a mean needs at least one entry, x and y have 0 entries; give tensors whose axes all "
            "have positive length"
        )
    return count
