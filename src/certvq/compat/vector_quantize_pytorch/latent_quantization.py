"""`LatentQuantize`, under the original's path.

In: nothing. Out: the same names. Must not define any.
"""

from certvq.compat.vector_quantize_pytorch._absent import absent
from certvq.compat.vector_quantize_pytorch._latent_quantize import LatentQuantize

__all__ = ["LatentQuantize"]

__getattr__ = absent(
    __name__,
    "pack_one unpack_one",
)
