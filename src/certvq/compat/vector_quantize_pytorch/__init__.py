"""The classes of vector-quantize-pytorch 1.32, by name, keyword and layout.

In: code written for that library. Out: certvq's codes. What deliberately differs is listed in
docs/migration.md. Must not import that library.
"""

from certvq.compat.vector_quantize_pytorch._binary_mapper import BinaryMapper as BinaryMapper
from certvq.compat.vector_quantize_pytorch._evo_lfq import EvoLFQ as EvoLFQ
from certvq.compat.vector_quantize_pytorch._fsp import FSP as FSP
from certvq.compat.vector_quantize_pytorch._fsq import FSQ as FSQ
from certvq.compat.vector_quantize_pytorch._grouped_residual_vq import (
    GroupedResidualVQ as GroupedResidualVQ,
)
from certvq.compat.vector_quantize_pytorch._hierarchical_vq import HierarchicalVQ as HierarchicalVQ
from certvq.compat.vector_quantize_pytorch._latent_quantize import LatentQuantize as LatentQuantize
from certvq.compat.vector_quantize_pytorch._lfq import LFQ as LFQ
from certvq.compat.vector_quantize_pytorch._losses import LossBreakdown as LossBreakdown
from certvq.compat.vector_quantize_pytorch._random_projection_quantizer import (
    RandomProjectionQuantizer as RandomProjectionQuantizer,
)
from certvq.compat.vector_quantize_pytorch._residual_fsq import (
    GroupedResidualFSQ as GroupedResidualFSQ,
)
from certvq.compat.vector_quantize_pytorch._residual_fsq import ResidualFSQ as ResidualFSQ
from certvq.compat.vector_quantize_pytorch._residual_lfq import (
    GroupedResidualLFQ as GroupedResidualLFQ,
)
from certvq.compat.vector_quantize_pytorch._residual_lfq import ResidualLFQ as ResidualLFQ
from certvq.compat.vector_quantize_pytorch._residual_sim_vq import ResidualSimVQ as ResidualSimVQ
from certvq.compat.vector_quantize_pytorch._residual_vq import ResidualVQ as ResidualVQ
from certvq.compat.vector_quantize_pytorch._sequential import Sequential as Sequential
from certvq.compat.vector_quantize_pytorch._sim_vq import SimVQ as SimVQ
from certvq.compat.vector_quantize_pytorch._vector_quantize import VectorQuantize as VectorQuantize
