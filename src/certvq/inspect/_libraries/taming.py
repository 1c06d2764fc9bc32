"""Layers that people copy into their own code: those of taming, LlamaGen, DAC, EnCodec, RQ-VAE.

In: nothing. Out: `ADAPTERS`. Must not ask for a module path; names and attributes decide, and the
scores must be explained by what was captured.
"""

from certvq.inspect._libraries.adapter import Adapter
from certvq.inspect._libraries.transformers import embedded, normalised

ADAPTERS = (
    Adapter(
        "taming-transformers, LlamaGen and their kin",
        ("VectorQuantizer", "VectorQuantizer2", "EMAVectorQuantizer", "NormEMAVectorQuantizer"),
        "forward",
        has=("embedding.weight",),
    ),
    Adapter(
        "descript-audio-codec, MOSS audio tokenizer",
        ("VectorQuantize", "MossAudioTokenizerLFQ"),
        "decode_latents",
        has=("codebook.weight", "in_proj", "out_proj", "decode_latents"),
        capture=normalised,
        own_method=True,
    ),
    Adapter(
        "MOSS audio tokenizer",
        ("MossAudioTokenizerVectorQuantize",),
        "forward",
        has=("codebook.weight", "in_proj", "out_proj"),
    ),
    Adapter(
        "encodec, audiocraft and their kin",
        ("EuclideanCodebook",),
        "quantize",
        has=("embed", "quantize"),
        capture=embedded,
        own_method=True,
    ),
    Adapter(
        "RQ-VAE",
        ("VQEmbedding",),
        "find_nearest_embedding",
        has=("weight", "find_nearest_embedding"),
    ),
)
