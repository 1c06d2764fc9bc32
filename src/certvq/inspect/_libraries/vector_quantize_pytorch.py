"""Codebooks of vector-quantize-pytorch, which all its quantizers with a codebook are made of.

In: nothing. Out: `ADAPTERS`. Must not import vector_quantize_pytorch.
"""

from typing import Any

import torch
from torch import nn

from certvq.inspect._argmin.products import as_heads
from certvq.inspect._libraries.adapter import Adapter, Comparison, Index, Seen


def _values(seen: Seen) -> Comparison | None:
    """``LatentQuantize.quantize(z)``: one coordinate after another, and the values it may take."""
    module: Any = seen.module
    if seen.ordinal >= len(module.values_per_latent):
        return None
    values = module.values_per_latent[seen.ordinal]
    return as_heads(seen.first[..., seen.ordinal].reshape(-1, 1), values.reshape(-1, 1))


def _join(module: nn.Module, places: torch.Tensor) -> torch.Tensor:
    """Return ``codes_to_indices`` of the values at these places."""
    layer: Any = module
    return (places * layer._basis).sum(-1)  # noqa: SLF001 (the layer has no other)


def _split(module: nn.Module, indices: torch.Tensor) -> torch.Tensor:
    layer: Any = module
    return indices[..., None] // layer._basis % layer._levels  # noqa: SLF001


def _samples(seen: Seen) -> bool:
    """Say whether Gumbel noise decides: in training, with ``stochastic_sample_codes=True``."""
    module: Any = seen.module
    given = seen.kwargs.get("sample_codebook_temp", (*seen.args, None, None)[1])
    temperature = module.sample_codebook_temp if given is None else given
    options = getattr(module.gumbel_sample, "keywords", {})
    return bool(module.training and options.get("stochastic", False) and temperature > 0)


_PACKAGE = "vector_quantize_pytorch."

ADAPTERS = (
    Adapter(
        "vector-quantize-pytorch",
        ("Codebook", "EuclideanCodebook", "CosineSimCodebook"),
        "forward",
        _PACKAGE,
        outside=("init_embed_",),
        samples=_samples,
        ranks=True,
    ),
    Adapter("vector-quantize-pytorch", ("SimVQ",), "forward", _PACKAGE),
    Adapter(
        "vector-quantize-pytorch",
        ("LatentQuantize",),
        "quantize",
        _PACKAGE,
        capture=_values,
        own_method=True,
        index=Index("codes_to_indices", _join, _split),
    ),
)
