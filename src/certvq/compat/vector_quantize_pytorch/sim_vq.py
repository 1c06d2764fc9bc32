"""`SimVQ`, under the original's path.

In: nothing. Out: the same names. Must not define any.
"""

from certvq.compat.vector_quantize_pytorch._absent import absent
from certvq.compat.vector_quantize_pytorch._functions import rotate_to
from certvq.compat.vector_quantize_pytorch._sim_vq import SimVQ

__all__ = ["SimVQ", "rotate_to"]


__getattr__ = absent(
    __name__,
    "default exists identity pack_one",
)
