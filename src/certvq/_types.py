"""Names for the arrays and callables that cross module borders.

In: nothing. Out: type aliases. Must not import anything of certvq, nor torch.

Axes stand in annotations as jaxtyping writes them: `Float[Array, "N D"]` is an array of floats with
N rows and D columns, ``...`` any axes, ``{self.dim}`` a value. Here they are comments that tools
can read; tests compare them with the arrays (`tests/shapes.py`).
"""

from collections.abc import Callable, Sequence
from typing import Annotated as Bool
from typing import Annotated as Float
from typing import Annotated as Float32
from typing import Annotated as Float64
from typing import Annotated as Int
from typing import Annotated as Int64
from typing import Annotated as Integer
from typing import Annotated as Shaped
from typing import Annotated as UInt8
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = Any
"""A NumPy, torch, JAX or CuPy array: what `certvq.assign` takes and gives back."""

Lists: TypeAlias = Sequence[Any]
"""Numbers in lists, one within the other, which NumPy reads."""

Float32Array: TypeAlias = NDArray[np.float32]
Float64Array: TypeAlias = NDArray[np.float64]
Int64Array: TypeAlias = NDArray[np.int64]
UInt8Array: TypeAlias = NDArray[np.uint8]
BoolArray: TypeAlias = NDArray[np.bool_]

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called as `progress(stage, done, total)`; `total` may be 0 where it is unknown."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Ignore progress; the default where a `Progress` is asked for."""
    del stage, done, total
