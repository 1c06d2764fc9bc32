"""Quantizers of transformers: EnCodec, X-Codec, Higgs Audio, Mimi, DAC, Chameleon and its kin.

In: nothing. Out: `ADAPTERS`. Must not import transformers.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.functional import normalize

from certvq.inspect._argmin.products import as_heads
from certvq.inspect._libraries.adapter import Adapter, Comparison, Seen


def embedded(seen: Seen) -> Comparison | None:
    """``quantize(hidden_states)``, whose product is of twice the latents: (N, D) and ``embed``."""
    module: Any = seen.module
    return as_heads(seen.first, module.embed)


def as_floats(seen: Seen) -> Comparison | None:
    """``quantize(hidden_states)`` of Mimi, which compares both in float32."""
    module: Any = seen.module
    return as_heads(seen.first.float(), module.embed.float())


def normalised(seen: Seen) -> Comparison | None:
    """``decode_latents(hidden_states)`` of DAC: (B, D, T), divided by their norms; and the rows."""
    latents = seen.first.permute(0, 2, 1).reshape(-1, seen.first.shape[1])
    module: Any = seen.module
    found = as_heads(normalize(latents), normalize(module.codebook.weight))
    return None if found is None else replace(found, unit=True)


def _mean(total: torch.Tensor, usage: torch.Tensor, least: float) -> torch.Tensor:
    """Return code vectors as Mimi makes them of its sums."""
    return total / usage.clamp(min=least)[:, None]


def keeps_others(module: nn.Module, kept: torch.Tensor | None, total: torch.Tensor) -> bool:
    """Say whether a codebook keeps other code vectors than those of its sums and usage."""
    own: Any = module
    return kept is not None and not torch.equal(_mean(total, own.cluster_usage, own.epsilon), kept)


def _mimi_keeps_others(module: nn.Module) -> bool:
    """Say whether Mimi's codebook keeps another ``embed`` than that of ``embed_sum``."""
    own: Any = module
    return keeps_others(module, vars(module).get("_embed"), own.embed_sum)


_MODELS = "transformers.models."

ADAPTERS = (
    Adapter(
        "transformers",
        (
            "EncodecEuclideanCodebook",
            "XcodecEuclideanCodebook",
            "HiggsAudioV2TokenizerEuclideanCodebook",
        ),
        "quantize",
        _MODELS,
        capture=embedded,
        own_method=True,
        answer=embedded,
    ),
    Adapter(
        "transformers",
        ("MimiEuclideanCodebook",),
        "quantize",
        _MODELS,
        stale=_mimi_keeps_others,
        kept="_embed",
        answer=as_floats,
    ),
    Adapter(
        "transformers",
        ("DacVectorQuantize",),
        "decode_latents",
        _MODELS,
        capture=normalised,
        own_method=True,
    ),
    Adapter(
        "transformers",
        (
            "ChameleonVQVAEVectorQuantizer",
            "Emu3VQVAEVectorQuantizer",
            "GlmImageVQVAEVectorQuantizer",
            "JanusVQVAEVectorQuantizer",
        ),
        "forward",
        _MODELS,
    ),
)
