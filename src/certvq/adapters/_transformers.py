"""Quantizers of transformers: EnCodec, X-Codec, Higgs Audio, Mimi, DAC, Chameleon and its kin.

In: nothing. Out: `ADAPTERS`. Must not import transformers.
"""

from typing import Any

from torch.nn.functional import normalize

from certvq.adapters._adapter import Adapter, Comparison, Seen
from certvq.adapters._products import as_heads


def embedded(seen: Seen) -> Comparison | None:
    """``quantize(hidden_states)``, whose product is of twice the latents: (N, D) and ``embed``."""
    module: Any = seen.module
    return as_heads(seen.first, module.embed)


def normalised(seen: Seen) -> Comparison | None:
    """``decode_latents(hidden_states)`` of DAC: (B, D, T), divided by their norms; and the rows."""
    latents = seen.first.permute(0, 2, 1).reshape(-1, seen.first.shape[1])
    module: Any = seen.module
    return as_heads(normalize(latents), normalize(module.codebook.weight))


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
    ),
    Adapter("transformers", ("MimiEuclideanCodebook",), "quantize", _MODELS),
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
