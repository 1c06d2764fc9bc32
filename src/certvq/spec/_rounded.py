"""Exact numbers as floats and as text, whatever their magnitude.

In: `fractions.Fraction`. Out: `float`, `str`. Must not import anything but the standard library.
"""

import math
import sys
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from fractions import Fraction


def to_float(value: Fraction) -> float:
    """Round to the nearest float that is finite, and 0 only for 0.

    Example:
        >>> from fractions import Fraction
        >>> to_float(Fraction(10) ** 400), to_float(Fraction(1, 10**400)), to_float(Fraction(0))
        (1.7976931348623157e+308, 5e-324, 0.0)
    """
    try:
        near = float(value)
    except OverflowError:
        near = math.inf
    if value and (near == 0.0 or math.isinf(near)):
        near = 5e-324 if near == 0.0 else sys.float_info.max
        return near if value > 0 else -near
    return near


def to_text(value: Fraction, digits: int = 6) -> str:
    """Write a number with some significant digits, as ``format(value, "g")`` does.

    Example:
        >>> from fractions import Fraction
        >>> to_text(Fraction(4, 5)), to_text(4 * Fraction(10) ** 320), to_text(Fraction(1, 10**400))
        ('0.8', '4e+320', '1e-400')
    """
    near = to_float(value)
    if value == 0 or sys.float_info.min < abs(near) < sys.float_info.max:
        return f"{near:.{digits}g}"
    context = Context(prec=digits, Emin=MIN_EMIN, Emax=MAX_EMAX)
    quotient = context.divide(Decimal(value.numerator), Decimal(value.denominator))
    return str(quotient.normalize(context)).lower()
