"""Names of the original's modules that are elsewhere here, or that certvq does not have.

In: a module with the path of one of the original's. Out: what it does when somebody asks for such a
name. Must not import any class before somebody asks for it.
"""

import importlib
from collections.abc import Callable
from typing import Any, Final

_HELPER: Final = "a helper of its own, which nothing here uses; write it where you need it"
"""Why most of them are absent."""

_HELPERS: Final = (
    "accum_grad_ all_gather_sizes all_gather_variably_sized append_dims_to at_most_one_of "
    "batch_select batched_bincount batched_sample_vectors cast_tuple cdist default "
    "efficient_rotation_trick_transform ema_inplace entropy exists first gumbel_noise identity "
    "is_empty laplace_smoothing log maybe noop pack_one pack_with_inverse pad_at_dim "
    "pad_shape safe_div sample_multinomial sample_vectors sample_vectors_distributed "
    "to_level_shape uniform_init unique unpack_one"
)

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
    "lookup_free_quantization": {"l2norm": _HELPER},
    "residual_vq": {
        "MLP": "the networks of implicit_neural_codebook are those of certvq.nn.Neural, in mlps"
    },
    "utils": {
        "QUANTIZE_KLASSES": "Sequential takes every quantizer of this package and of certvq.nn"
    },
    "vector_quantize_pytorch": {
        "Sequential": _HELPER,
        "Codebook": "codebooks are layers of certvq.nn, which VectorQuantize shows as _codebook",
        "gumbel_sample": "codes are drawn by certvq.nn.Gumbel, without a table of one-hot vectors",
        "kmeans": "codebooks are started by certvq.nn.KMeans, with certified codes",
    },
}


def names_of(module: str) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a module with the path of one of the original's.

    Returns:
        A function that returns the classes of this package and what `_functions` defines, and
        raises ImportError for names that are known to be absent, whose text ``from ... import``
        shows, and AttributeError for others.

    Example:
        >>> names_of("vector_quantize_pytorch.sim_vq")("exists")
        Traceback (most recent call last):
        ImportError: certvq has no exists of vector_quantize_pytorch.sim_vq: a helper of its own, \
which nothing here uses; write it where you need it; see docs/migration.md
    """
    known = dict.fromkeys(_HELPERS.split(), _HELPER) | _REASONS.get(module.rpartition(".")[2], {})

    def look(name: str) -> Any:
        if name in known:
            path = ".".join(module.split(".")[-2:])
            text = f"certvq has no {name} of {path}: {known[name]}; see docs/migration.md"
            raise ImportError(text, name=module)
        for place in ("", "._functions") if name[0] != "_" else ():
            found = vars(importlib.import_module(f"{_PACKAGE}{place}")).get(name)
            if getattr(found, "__module__", "").startswith(f"{_PACKAGE}{place}"):
                return found
        text = f"module {module!r} has no attribute {name!r}"
        raise AttributeError(text)

    return look


_PACKAGE: Final = __name__.rpartition(".")[0]
