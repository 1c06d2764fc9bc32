"""Names of the original's modules that are elsewhere here, or that certvq does not have.

In: a module with the path of one of the original's. Out: what it does when somebody asks for such a
name. Must not import any class before somebody asks for it.
"""

import importlib
from collections.abc import Callable
from typing import Any, Final

_DEPTH: Final = "get_maybe_sync_seed is_distributed round_up_multiple"

_ELSEWHERE: Final = {
    "evo_lookup_free_quantization": "LFQ",
    "finite_scalar_perturbation": "build_cdf_act",
    "finite_scalar_quantization": "floor_ste round_ste",
    "hierarchical_vq": "VectorQuantize",
    "lookup_free_quantization": "is_distributed maybe_distributed_mean",
    "random_projection_quantizer": "VectorQuantize",
    "residual_fsq": f"FSQ {_DEPTH}",
    "residual_lfq": f"LFQ {_DEPTH}",
    "residual_sim_vq": f"SimVQ {_DEPTH}",
    "residual_vq": f"VectorQuantize frac_gradient {_DEPTH}",
    "sim_vq": "rotate_to",
    "utils": (
        "FSP FSQ GroupedResidualFSQ GroupedResidualLFQ GroupedResidualVQ HierarchicalVQ LFQ "
        "LatentQuantize RandomProjectionQuantizer ResidualFSQ ResidualLFQ ResidualSimVQ ResidualVQ "
        "SimVQ VectorQuantize"
    ),
    "vector_quantize_pytorch": (
        "directional_reparam is_distributed l2norm lens_to_mask orthogonal_loss_fn rotate_to "
        "straight_through"
    ),
}
"""Names that are those of this package, or of `_functions`."""

_HELPER: Final = "a helper of its own, which nothing here uses; write it where you need it"
"""Why most of them are absent."""

_HELPERS: Final = {
    "binary_mapper": "default exists pack_with_inverse",
    "evo_lookup_free_quantization": "default exists",
    "finite_scalar_perturbation": "default",
    "finite_scalar_quantization": "default exists identity maybe pack_one unpack_one",
    "hierarchical_vq": "to_level_shape",
    "latent_quantization": "pack_one unpack_one",
    "lookup_free_quantization": "default entropy exists identity l2norm log pack_one unpack_one",
    "random_projection_quantizer": "exists",
    "residual_fsq": "default exists first",
    "residual_lfq": "default exists",
    "residual_sim_vq": "default exists first",
    "residual_vq": "batch_select cast_tuple default exists first pack_one pad_at_dim unique",
    "sim_vq": "default exists identity pack_one",
    "vector_quantize_pytorch": (
        "Sequential accum_grad_ all_gather_sizes all_gather_variably_sized append_dims_to "
        "at_most_one_of batched_bincount batched_sample_vectors cdist default "
        "efficient_rotation_trick_transform ema_inplace entropy exists gumbel_noise identity "
        "is_empty laplace_smoothing log noop pack_one pad_shape safe_div sample_multinomial "
        "sample_vectors sample_vectors_distributed uniform_init"
    ),
}

_ACTIVATIONS: Final = ("tanh", "sigmoid", "normal", "laplace", "cauchy")

_REASONS: Final = {
    "finite_scalar_perturbation": {
        "batch_stats": "use norm_info of what FSP returns",
        "VectorNorm": "use certvq.nn.Moments",
        **{f"{each}_act": f"use the first of build_cdf_act({each!r})" for each in _ACTIVATIONS},
        **{
            f"{each}_inv_act": f"use the second of build_cdf_act({each!r})" for each in _ACTIVATIONS
        },
    },
    "hierarchical_vq": {"_Phi": "the convolutions of scales are in refinement"},
    "residual_vq": {
        "MLP": "the networks of implicit_neural_codebook are those of certvq.nn.Neural, in mlps"
    },
    "utils": {
        "QUANTIZE_KLASSES": "Sequential takes every quantizer of this package and of certvq.nn"
    },
    "vector_quantize_pytorch": {
        "Codebook": "codebooks are layers of certvq.nn, which VectorQuantize shows as _codebook",
        "gumbel_sample": "codes are drawn by certvq.nn.Gumbel, without a table of one-hot vectors",
        "kmeans": "codebooks are started by certvq.nn.KMeans, with certified codes",
    },
}


def names_of(module: str) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a module with the path of one of the original's.

    Returns:
        A function that returns what is elsewhere, and raises ImportError for names that are known
        to be absent, whose text ``from ... import`` shows, and AttributeError for others.

    Example:
        >>> names_of("vector_quantize_pytorch.sim_vq")("exists")
        Traceback (most recent call last):
        ImportError: certvq has no exists of vector_quantize_pytorch.sim_vq: a helper of its own, \
which nothing here uses; write it where you need it; see docs/migration.md
    """
    short = module.rpartition(".")[2]
    elsewhere = _ELSEWHERE.get(short, "").split()
    known = dict.fromkeys(_HELPERS.get(short, "").split(), _HELPER) | _REASONS.get(short, {})

    def look(name: str) -> Any:
        if name in elsewhere:
            package = importlib.import_module(_PACKAGE)
            functions = importlib.import_module(f"{_PACKAGE}._functions")
            return vars(package).get(name) or vars(functions)[name]
        if name in known:
            path = ".".join(module.split(".")[-2:])
            text = f"certvq has no {name} of {path}: {known[name]}; see docs/migration.md"
            raise ImportError(text, name=module)
        text = f"module {module!r} has no attribute {name!r}"
        raise AttributeError(text)

    return look


_PACKAGE: Final = __name__.rpartition(".")[0]
