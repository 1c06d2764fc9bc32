"""`BinaryMapper`, under the original's path.

In: nothing. Out: the same names. Must not define any.
"""

from certvq.compat.vector_quantize_pytorch._absent import absent
from certvq.compat.vector_quantize_pytorch._binary_mapper import BinaryMapper
from certvq.compat.vector_quantize_pytorch._functions import NAT, binary_entropy

__all__ = ["NAT", "BinaryMapper", "binary_entropy"]

__getattr__ = absent(
    __name__,
    "default exists pack_with_inverse",
)
