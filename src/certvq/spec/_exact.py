"""Floats read as the rational numbers that they stand for.

In: finite floats, nested to any depth. Out: the same nesting of `fractions.Fraction`, on which
the specification computes without rounding. Must not import anything but the standard library
and the private modules of the specification.
"""

from fractions import Fraction
from numbers import Rational

from certvq.errors import DTypeError, NonFiniteError
from certvq.spec._tensor import Scalar, Tensor, is_nested


def exact(tensor: Tensor) -> Tensor:
    """Read a tensor of finite numbers as the exact fractions that they represent.

    A finite float is a dyadic rational m * 2**e; `exact` returns that number, not a decimal near
    to it.

    Args:
        tensor: a number with `as_integer_ratio` (`float`, NumPy's floating scalars), a rational
            number, or nested tuples or lists of them.

    Returns:
        `Fraction`s, nested as tuples in the same shape.

    Raises:
        NonFiniteError: an entry is NaN or infinite; the text names the first one by its indices.
        DTypeError: an entry is no number of these kinds (`bool`, a string, an array, a symbol).

    Guarantee: injective on the values of a float type, except that -0.0 is 0.

    Cost: O(entries).

    Example:
        >>> from certvq.spec import exact
        >>> exact(0.1) == 0.1, exact((0.5, [-3.0]))
        (True, (Fraction(1, 2), (Fraction(-3, 1),)))
        >>> exact(0.1)
        Fraction(3602879701896397, 36028797018963968)
    """
    return _exact_at(tensor, ())


def _exact_at(tensor: Tensor, path: tuple[int, ...]) -> Tensor:
    if is_nested(tensor):
        return tuple(_exact_at(part, (*path, place)) for place, part in enumerate(tensor))
    return _fraction(tensor, path)


def _fraction(number: Scalar, path: tuple[int, ...]) -> Fraction:
    readable = isinstance(number, Rational) or hasattr(number, "as_integer_ratio")
    if isinstance(number, bool) or not readable:
        raise DTypeError(
            f"{_where(path)} must be a float or a rational number, came {number!r} of type "
            f"{type(number).__name__}; convert it to float first"
        )
    # NumPy's integers are rationals of fixed width; as Python's own they cannot overflow later.
    if isinstance(number, Rational):
        return Fraction(int(number.numerator), int(number.denominator))
    try:
        numerator, denominator = number.as_integer_ratio()
    except (ValueError, OverflowError) as error:
        raise NonFiniteError(
            f"{_where(path)} must be finite, came {number!r}; remove NaN and infinity first"
        ) from error
    return Fraction(int(numerator), int(denominator))


def _where(path: tuple[int, ...]) -> str:
    return "entry " + "".join(f"[{place}]" for place in path) if path else "the number"
