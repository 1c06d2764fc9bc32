"""`EvoLFQ`, under the original's path.

In: nothing. Out: the same names. Must not define any.
"""

from certvq.compat.vector_quantize_pytorch._absent import absent
from certvq.compat.vector_quantize_pytorch._evo_lfq import EvoLFQ, Result, Return
from certvq.compat.vector_quantize_pytorch._lfq import LFQ

__all__ = ["LFQ", "EvoLFQ", "Result", "Return"]

__getattr__ = absent(
    __name__,
    "default exists",
)
