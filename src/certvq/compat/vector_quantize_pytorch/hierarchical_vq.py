"""`HierarchicalVQ`, under the original's path.

In: nothing. Out: the same names. Must not define any.
"""

from certvq.compat.vector_quantize_pytorch._absent import absent
from certvq.compat.vector_quantize_pytorch._hierarchical_vq import HierarchicalVQ
from certvq.compat.vector_quantize_pytorch._vector_quantize import VectorQuantize

__all__ = ["HierarchicalVQ", "VectorQuantize"]


__getattr__ = absent(
    __name__,
    "to_level_shape",
    {
        "_Phi": "the convolutions of scales are in refinement",
    },
)
