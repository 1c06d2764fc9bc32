"""`RandomProjectionQuantizer`, under the original's path.

In: nothing. Out: the same names. Must not define any.
"""

from certvq.compat.vector_quantize_pytorch._absent import absent
from certvq.compat.vector_quantize_pytorch._random_projection_quantizer import (
    RandomProjectionQuantizer,
)
from certvq.compat.vector_quantize_pytorch._vector_quantize import VectorQuantize

__all__ = ["RandomProjectionQuantizer", "VectorQuantize"]

__getattr__ = absent(
    __name__,
    "exists",
)
