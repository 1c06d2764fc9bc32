"""The classes of vector-quantize-pytorch 1.32, by name, keyword and layout.

In: code written for that library. Out: certvq's codes. What deliberately differs is listed in
docs/migration.md. Must not import that library.
"""

from certvq.compat.vector_quantize_pytorch.binary_mapper import BinaryMapper as BinaryMapper
from certvq.compat.vector_quantize_pytorch.evo_lookup_free_quantization import EvoLFQ as EvoLFQ
from certvq.compat.vector_quantize_pytorch.finite_scalar_perturbation import FSP as FSP
from certvq.compat.vector_quantize_pytorch.finite_scalar_quantization import FSQ as FSQ
from certvq.compat.vector_quantize_pytorch.hierarchical_vq import HierarchicalVQ as HierarchicalVQ
from certvq.compat.vector_quantize_pytorch.latent_quantization import (
    LatentQuantize as LatentQuantize,
)
from certvq.compat.vector_quantize_pytorch.lookup_free_quantization import LFQ as LFQ
from certvq.compat.vector_quantize_pytorch.random_projection_quantizer import (
    RandomProjectionQuantizer as RandomProjectionQuantizer,
)
from certvq.compat.vector_quantize_pytorch.residual_fsq import (
    GroupedResidualFSQ as GroupedResidualFSQ,
)
from certvq.compat.vector_quantize_pytorch.residual_fsq import ResidualFSQ as ResidualFSQ
from certvq.compat.vector_quantize_pytorch.residual_lfq import (
    GroupedResidualLFQ as GroupedResidualLFQ,
)
from certvq.compat.vector_quantize_pytorch.residual_lfq import ResidualLFQ as ResidualLFQ
from certvq.compat.vector_quantize_pytorch.residual_sim_vq import ResidualSimVQ as ResidualSimVQ
from certvq.compat.vector_quantize_pytorch.residual_vq import GroupedResidualVQ as GroupedResidualVQ
from certvq.compat.vector_quantize_pytorch.residual_vq import ResidualVQ as ResidualVQ
from certvq.compat.vector_quantize_pytorch.sim_vq import SimVQ as SimVQ
from certvq.compat.vector_quantize_pytorch.utils import Sequential as Sequential
from certvq.compat.vector_quantize_pytorch.vector_quantize_pytorch import (
    LossBreakdown as LossBreakdown,
)
from certvq.compat.vector_quantize_pytorch.vector_quantize_pytorch import (
    VectorQuantize as VectorQuantize,
)
