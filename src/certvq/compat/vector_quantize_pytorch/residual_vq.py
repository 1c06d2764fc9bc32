"""`ResidualVQ` and `GroupedResidualVQ`, under the original's path.

In: nothing. Out: the same names. Must not define any.
"""

from certvq.compat.vector_quantize_pytorch._absent import absent
from certvq.compat.vector_quantize_pytorch._functions import (
    frac_gradient,
    get_maybe_sync_seed,
    is_distributed,
    round_up_multiple,
)
from certvq.compat.vector_quantize_pytorch._grouped_residual_vq import (
    GroupedResidualVQ,
)
from certvq.compat.vector_quantize_pytorch._residual_vq import ResidualVQ
from certvq.compat.vector_quantize_pytorch.vector_quantize_pytorch import (
    VectorQuantize,
)

__all__ = [
    "GroupedResidualVQ",
    "ResidualVQ",
    "VectorQuantize",
    "frac_gradient",
    "get_maybe_sync_seed",
    "is_distributed",
    "round_up_multiple",
]

__getattr__ = absent(
    __name__,
    "batch_select cast_tuple default exists first pack_one pad_at_dim unique",
    {
        "MLP": "the networks of implicit_neural_codebook are those of certvq.nn.Neural, in mlps",
    },
)
