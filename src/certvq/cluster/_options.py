"""What the caller of `kmeans` may ask for.

In: options. Out: nothing, or a named error with what came.
"""

import math
from collections.abc import Sequence
from operator import index
from typing import Final

import numpy as np

from certvq._types import Array
from certvq.assign._arrays import as_array, to_host
from certvq.assign._validate import require_finite, require_matrix
from certvq.cluster._rounding import FloatFormat, rounded_to
from certvq.errors import NonFiniteError, OptionError, ShapeError

STARTS: Final = ("k-means++", "random", "k-means||")
METRICS: Final = ("euclidean", "cosine")
EMPTY: Final = ("split", "keep", "raise")


def require_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Require one of some words.

    Raises:
        OptionError: another value.
    """
    if value not in choices:
        text = f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}"
        raise OptionError(text)


def require_count(name: str, value: int, least: int, bound: int = 1 << 62) -> int:
    """Require an integer from `least` on, below `bound`.

    Raises:
        OptionError: another value.
    """
    try:
        number = index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or not least <= number < bound:
        most = "" if bound == 1 << 62 else f" below 2**{bound.bit_length() - 1}"
        text = f"{name} must be an integer of at least {least}{most}, got {value!r}"
        raise OptionError(text)
    return number


def require_tolerance(value: float) -> float:
    """Require a finite number of at least 0.

    Raises:
        OptionError: another value.
    """
    if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        text = f"tolerance must be a finite number of at least 0, got {value!r}"
        raise OptionError(text)
    return float(value)


def read_start(start: Array, codebook_size: int, dim: int, form: FloatFormat) -> np.ndarray:
    """Read a codebook to start from, rounded to the type of the data.

    Args:
        start: (K, D) floats of any library.
        codebook_size: K.
        dim: D.
        form: the type of the data.

    Returns:
        (K, D) of ``form.host``.

    Raises:
        ShapeError: another shape.
        DTypeError: numbers that are not floats.
        NonFiniteError: NaN or infinity, or a number beyond the type of the data.
    """
    array = as_array(start)
    require_matrix(array, "start")
    if tuple(array.shape) != (codebook_size, dim):
        text = (
            f"start must have shape ({codebook_size}, {dim}), one row for each code, got "
            f"{tuple(array.shape)}"
        )
        raise ShapeError(text)
    host = to_host(array)
    require_finite(host, "start")
    with np.errstate(over="ignore"):
        rounded = rounded_to(host.astype(np.float64), form) + 0.0
    bad = np.argwhere(~np.isfinite(rounded))
    if len(bad):
        row, column = bad[0].tolist()
        text = (
            f"start must lie in the range of the data's type, got {float(host[row, column])} at "
            f"row {row}, column {column}; convert the data to a wider type"
        )
        raise NonFiniteError(text)
    return rounded.astype(form.host)
