"""`ResidualSimVQ`, under the original's path.

In: nothing. Out: the same names. Must not define any.
"""

from certvq.compat.vector_quantize_pytorch._absent import absent
from certvq.compat.vector_quantize_pytorch._functions import (
    get_maybe_sync_seed,
    is_distributed,
    round_up_multiple,
)
from certvq.compat.vector_quantize_pytorch._residual_sim_vq import ResidualSimVQ
from certvq.compat.vector_quantize_pytorch._sim_vq import SimVQ

__all__ = ["ResidualSimVQ", "SimVQ", "get_maybe_sync_seed", "is_distributed", "round_up_multiple"]

__getattr__ = absent(
    __name__,
    "default exists first",
)
