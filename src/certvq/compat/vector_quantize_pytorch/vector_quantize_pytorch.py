"""`VectorQuantize`, under the original's path.

In: nothing. Out: the same names. Must not define any.
"""

from certvq.compat.vector_quantize_pytorch._absent import absent
from certvq.compat.vector_quantize_pytorch._functions import (
    directional_reparam,
    is_distributed,
    l2norm,
    lens_to_mask,
    orthogonal_loss_fn,
    rotate_to,
    straight_through,
)
from certvq.compat.vector_quantize_pytorch._losses import LossBreakdown
from certvq.compat.vector_quantize_pytorch._vector_quantize import VectorQuantize

__all__ = [
    "LossBreakdown",
    "VectorQuantize",
    "directional_reparam",
    "is_distributed",
    "l2norm",
    "lens_to_mask",
    "orthogonal_loss_fn",
    "rotate_to",
    "straight_through",
]

__getattr__ = absent(
    __name__,
    (
        "Sequential accum_grad_ all_gather_sizes all_gather_variably_sized append_dims_to "
        "at_most_one_of batched_bincount batched_sample_vectors cdist default "
        "efficient_rotation_trick_transform ema_inplace entropy exists gumbel_noise identity "
        "is_empty laplace_smoothing log noop pack_one pad_shape safe_div sample_multinomial "
        "sample_vectors sample_vectors_distributed uniform_init"
    ),
    {
        "Codebook": "codebooks are layers of certvq.nn, which VectorQuantize shows as _codebook",
        "gumbel_sample": "codes are drawn by certvq.nn.Gumbel, without a table of one-hot vectors",
        "kmeans": "codebooks are started by certvq.nn.KMeans, with certified codes",
    },
)
