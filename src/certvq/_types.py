"""Names for the arrays and callables that cross module borders.

In: nothing. Out: type aliases. Must not import anything of certvq, nor torch.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = Any
"""A NumPy, torch, JAX or CuPy array: what `certvq.assign` takes and gives back."""

Float64Array: TypeAlias = NDArray[np.float64]
Int64Array: TypeAlias = NDArray[np.int64]
UInt8Array: TypeAlias = NDArray[np.uint8]
BoolArray: TypeAlias = NDArray[np.bool_]

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called as `progress(stage, done, total)`; `total` may be 0 where it is unknown."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Ignore progress; the default where a `Progress` is asked for."""
    del stage, done, total
