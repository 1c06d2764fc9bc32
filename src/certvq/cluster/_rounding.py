"""The floats of the contract as sets of numbers, and rounding to them from exact fractions.

In: integers. Out: floats, rounded once, to nearest even. This is the obvious reference of all
faster rounding. Must not know of cells.
"""

from dataclasses import dataclass

import numpy as np

from certvq._types import Float64Array


@dataclass(frozen=True)
class FloatFormat:
    """A binary float type.

    Attributes:
        precision: bits of the mantissa, the hidden one included.
        lowest: exponent of the least positive number.
        host: NumPy's type that holds the numbers exactly.
    """

    precision: int
    lowest: int
    host: type[np.floating]


FORMATS = {
    "float64": FloatFormat(53, -1074, np.float64),
    "float32": FloatFormat(24, -149, np.float32),
    "bfloat16": FloatFormat(8, -133, np.float32),
    "float16": FloatFormat(11, -24, np.float16),
}
"""Types of numbers by name. NumPy has no bfloat16: float32 holds its numbers."""


def rounded_ratio(top: int, bottom: int, exponent: int, form: FloatFormat) -> float:
    """Round ``top / bottom * 2**exponent`` to the nearest number of a type, ties to even.

    Args:
        top: any integer.
        bottom: a positive integer.
        exponent: any integer.
        form: the type; the magnitude must not exceed its greatest number.

    Example:
        >>> rounded_ratio(1, 3, 0, FORMATS["float64"]) == 1 / 3
        True
        >>> rounded_ratio(257, 1, 0, FORMATS["bfloat16"])
        256.0
    """
    size = abs(top)
    if size == 0:
        return 0.0
    # 2**(scale - 1) < size / bottom < 2**(scale + 1); the last bit is one of the type's, or lower
    scale = size.bit_length() - bottom.bit_length()
    unit = max(scale + exponent - form.precision, form.lowest)
    while True:
        shift = exponent - unit
        above, below = (size << shift, bottom) if shift >= 0 else (size, bottom << -shift)
        whole, rest = divmod(above, below)
        if whole.bit_length() <= form.precision:
            break
        unit += 1
    double = 2 * rest
    whole += double > below or (double == below and whole & 1)
    value = float(np.ldexp(float(whole), unit))
    return value if top > 0 else -value


def rounded_to(values: Float64Array, form: FloatFormat) -> Float64Array:
    """Round float64 numbers to a type, to nearest even; the result stays float64.

    Example:
        >>> rounded_to(np.array([257.0, 259.0]), FORMATS["bfloat16"])
        array([256., 260.])
    """
    if form.precision != FORMATS["bfloat16"].precision:
        return values.astype(form.host).astype(np.float64)
    dropped = 53 - form.precision
    bits = values.view(np.int64)
    odd = (bits >> dropped) & 1
    even = (bits + ((1 << (dropped - 1)) - 1) + odd) & ~((1 << dropped) - 1)
    normal = np.abs(values) >= 2.0 ** (form.lowest + form.precision - 1)
    return np.where(
        normal, even.view(np.float64), np.rint(values * 2.0**-form.lowest) * 2.0**form.lowest
    )
