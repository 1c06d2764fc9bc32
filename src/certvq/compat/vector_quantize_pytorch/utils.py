"""`Sequential`, under the original's path.

In: nothing. Out: the same names. Must not define any.
"""

from certvq.compat.vector_quantize_pytorch._absent import absent
from certvq.compat.vector_quantize_pytorch._fsp import FSP
from certvq.compat.vector_quantize_pytorch._fsq import FSQ
from certvq.compat.vector_quantize_pytorch._grouped_residual_vq import GroupedResidualVQ
from certvq.compat.vector_quantize_pytorch._hierarchical_vq import HierarchicalVQ
from certvq.compat.vector_quantize_pytorch._latent_quantize import LatentQuantize
from certvq.compat.vector_quantize_pytorch._lfq import LFQ
from certvq.compat.vector_quantize_pytorch._random_projection_quantizer import (
    RandomProjectionQuantizer,
)
from certvq.compat.vector_quantize_pytorch._residual_fsq import GroupedResidualFSQ, ResidualFSQ
from certvq.compat.vector_quantize_pytorch._residual_lfq import GroupedResidualLFQ, ResidualLFQ
from certvq.compat.vector_quantize_pytorch._residual_sim_vq import ResidualSimVQ
from certvq.compat.vector_quantize_pytorch._residual_vq import ResidualVQ
from certvq.compat.vector_quantize_pytorch._sequential import Sequential
from certvq.compat.vector_quantize_pytorch._sim_vq import SimVQ
from certvq.compat.vector_quantize_pytorch._vector_quantize import VectorQuantize

__all__ = [
    "FSP",
    "FSQ",
    "LFQ",
    "GroupedResidualFSQ",
    "GroupedResidualLFQ",
    "GroupedResidualVQ",
    "HierarchicalVQ",
    "LatentQuantize",
    "RandomProjectionQuantizer",
    "ResidualFSQ",
    "ResidualLFQ",
    "ResidualSimVQ",
    "ResidualVQ",
    "Sequential",
    "SimVQ",
    "VectorQuantize",
]

__getattr__ = absent(
    __name__,
    "",
    {
        "QUANTIZE_KLASSES": "Sequential takes every quantizer of this package and of certvq.nn",
    },
)
