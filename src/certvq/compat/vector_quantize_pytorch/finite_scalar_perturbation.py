"""`FSP` and its activations, under the original's path.

In: nothing. Out: the same names. Must not define any.
"""

from certvq.compat.vector_quantize_pytorch._absent import absent
from certvq.compat.vector_quantize_pytorch._fsp import FSP
from certvq.compat.vector_quantize_pytorch._functions import build_cdf_act

__all__ = ["FSP", "build_cdf_act"]

__getattr__ = absent(
    __name__,
    "default",
    {
        "tanh_act": "use the first of build_cdf_act('tanh')",
        "tanh_inv_act": "use the second of build_cdf_act('tanh')",
        "sigmoid_act": "use the first of build_cdf_act('sigmoid')",
        "sigmoid_inv_act": "use the second of build_cdf_act('sigmoid')",
        "normal_act": "use the first of build_cdf_act('normal')",
        "normal_inv_act": "use the second of build_cdf_act('normal')",
        "laplace_act": "use the first of build_cdf_act('laplace')",
        "laplace_inv_act": "use the second of build_cdf_act('laplace')",
        "cauchy_act": "use the first of build_cdf_act('cauchy')",
        "cauchy_inv_act": "use the second of build_cdf_act('cauchy')",
        "batch_stats": "use norm_info of what FSP returns",
        "VectorNorm": "use certvq.nn.Moments",
    },
)
