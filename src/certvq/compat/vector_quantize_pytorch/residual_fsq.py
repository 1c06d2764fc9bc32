"""`ResidualFSQ` and `GroupedResidualFSQ`, under the original's path.

In: nothing. Out: the same names. Must not define any.
"""

from certvq.compat.vector_quantize_pytorch._absent import absent
from certvq.compat.vector_quantize_pytorch._fsq import FSQ
from certvq.compat.vector_quantize_pytorch._functions import (
    get_maybe_sync_seed,
    is_distributed,
    round_up_multiple,
)
from certvq.compat.vector_quantize_pytorch._residual_fsq import (
    GroupedResidualFSQ,
    ResidualFSQ,
)

__all__ = [
    "FSQ",
    "GroupedResidualFSQ",
    "ResidualFSQ",
    "get_maybe_sync_seed",
    "is_distributed",
    "round_up_multiple",
]

__getattr__ = absent(
    __name__,
    "default exists first",
)
