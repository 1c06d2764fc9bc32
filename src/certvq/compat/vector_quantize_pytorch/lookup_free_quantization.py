"""`LFQ`, under the original's path.

In: nothing. Out: the same names. Must not define any.
"""

from certvq.compat.vector_quantize_pytorch._absent import absent
from certvq.compat.vector_quantize_pytorch._functions import (
    is_distributed,
    maybe_distributed_mean,
)
from certvq.compat.vector_quantize_pytorch._lfq import LFQ, CosineSimLinear, LossBreakdown, Return

__all__ = [
    "LFQ",
    "CosineSimLinear",
    "LossBreakdown",
    "Return",
    "is_distributed",
    "maybe_distributed_mean",
]


__getattr__ = absent(
    __name__,
    "default entropy exists identity l2norm log pack_one unpack_one",
)
