"""`FSQ`, under the original's path.

In: nothing. Out: the same names. Must not define any.
"""

from certvq.compat.vector_quantize_pytorch._absent import absent
from certvq.compat.vector_quantize_pytorch._fsq import FSQ
from certvq.compat.vector_quantize_pytorch._functions import floor_ste, round_ste

__all__ = ["FSQ", "floor_ste", "round_ste"]

__getattr__ = absent(
    __name__,
    "default exists identity maybe pack_one unpack_one",
)
