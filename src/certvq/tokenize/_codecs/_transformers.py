"""Audio codecs of transformers: EnCodec, DAC, Mimi, X-Codec, Higgs Audio.

In: a patched model of transformers. Out: its `Codec`. Must not import transformers: a model brings
it along.
"""

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import nn

from certvq.errors import OptionError
from certvq.network import CanonicalEncoder
from certvq.tokenize._codecs._codec import Codec


def encodec(model: Any, quantizers: int | None) -> Codec:
    """Wrap EnCodec; by default at its lowest bandwidth, as the model itself."""
    config = model.config
    bandwidth, count = _bandwidth(
        config.target_bandwidths,
        model.quantizer.get_num_quantizers_for_bandwidth,
        quantizers,
        config.target_bandwidths[0],
    )

    def encode(sounds: torch.Tensor) -> torch.Tensor:
        found = model.encode(sounds, bandwidth=bandwidth)
        frames = list(found.audio_codes)
        if found.last_frame_pad_length:
            frames[-1] = frames[-1][..., : -found.last_frame_pad_length]
        return torch.cat(frames, dim=-1).transpose(1, 2)

    def decode(codes: torch.Tensor) -> torch.Tensor:
        if config.normalize or config.chunk_length is not None:
            raise OptionError(
                "EnCodec that divides chunks by their loudness, as at 48 kHz, cannot decode codes "
                "alone: it needs the scale of each chunk, which a token data set does not keep"
            )
        return model.decode(codes.transpose(1, 2)[None], [None]).audio_values

    return _codec(
        model,
        "encodec",
        [layer.codebook.embed for layer in model.quantizer.layers[:count]],
        encode,
        decode,
        channels=config.audio_channels,
        options={"bandwidth": bandwidth},
        canonical=lambda: CanonicalEncoder(model, levels=count),
    )


def dac(model: Any, quantizers: int | None) -> Codec:
    """Wrap DAC."""
    count = _count(quantizers, model.config.n_codebooks)

    def encode(sounds: torch.Tensor) -> torch.Tensor:
        return model.encode(sounds, n_quantizers=count).audio_codes.transpose(1, 2)

    def decode(codes: torch.Tensor) -> torch.Tensor:
        return model.decode(audio_codes=codes.transpose(1, 2)).audio_values[:, None]

    books = [each.codebook.weight for each in model.quantizer.quantizers[:count]]
    stride = model.config.hop_length
    return _codec(
        *(model, "dac", books, encode, decode),
        stride=stride,
        canonical=lambda: CanonicalEncoder(model, levels=count),
    )


def mimi(model: Any, quantizers: int | None) -> Codec:
    """Wrap Mimi."""
    count = _count(quantizers, model.config.num_quantizers)
    halves = (
        model.quantizer.semantic_residual_vector_quantizer,
        model.quantizer.acoustic_residual_vector_quantizer,
    )
    layers = [layer for half in halves for layer in half.layers]
    least = model.config.num_semantic_quantizers
    if count < least:
        raise OptionError(f"quantizers must be at least {least} for this model, got {count}")

    def encode(sounds: torch.Tensor) -> torch.Tensor:
        return model.encode(sounds, num_quantizers=count).audio_codes.transpose(1, 2)

    def decode(codes: torch.Tensor) -> torch.Tensor:
        return model.decode(codes.transpose(1, 2)).audio_values

    books = [layer.codebook.embed.detach().clone() for layer in layers[:count]]
    return _codec(
        *(model, "mimi", books, encode, decode),
        channels=model.config.audio_channels,
        canonical=lambda: CanonicalEncoder(model, levels=count),
    )


def xcodec(model: Any, quantizers: int | None) -> Codec:
    """Wrap X-Codec or Higgs Audio; by default at its highest bandwidth, as the model itself."""
    config = model.config
    bandwidth, count = _bandwidth(
        config.target_bandwidths,
        model.quantizer.get_num_quantizers_for_bandwidth,
        quantizers,
        config.target_bandwidths[-1],
    )

    def encode(sounds: torch.Tensor) -> torch.Tensor:
        return model.encode(sounds, bandwidth=bandwidth).audio_codes.transpose(1, 2)

    def decode(codes: torch.Tensor) -> torch.Tensor:
        return model.decode(codes.transpose(1, 2)).audio_values

    books = [each.codebook.embed for each in model.quantizer.quantizers[:count]]
    return _codec(
        model,
        config.model_type,
        books,
        encode,
        decode,
        stride=config.hop_length,
        rate=config.sample_rate,
        options={"bandwidth": bandwidth},
    )


SOUND_CODECS: Final[dict[str, tuple[str, Callable[[Any, int | None], Codec]]]] = {
    "encodec": ("EncodecModel", encodec),
    "dac": ("DacModel", dac),
    "mimi": ("MimiModel", mimi),
    "xcodec": ("XcodecModel", xcodec),
    "higgs_audio_v2_tokenizer": ("HiggsAudioV2TokenizerModel", xcodec),
}
"""By `model_type` of config.json: the class of transformers, and what wraps it."""


def _codec(  # noqa: PLR0913 (what a codec is made of)
    model: Any,
    name: str,
    codebooks: list[torch.Tensor],
    encode: Callable[[torch.Tensor], torch.Tensor],
    decode: Callable[[torch.Tensor], torch.Tensor],
    *,
    channels: int = 1,
    stride: int = 1,
    rate: int | None = None,
    options: dict[str, Any] | None = None,
    canonical: Callable[[], CanonicalEncoder] | None = None,
) -> Codec:
    module: nn.Module = model
    return Codec(
        module=module,
        modality="audio",
        codebooks=[book.detach() for book in codebooks],
        encode=encode,
        decode=decode,
        name=name,
        channels=channels,
        stride=stride,
        rate=rate or model.config.sampling_rate,
        options=options or {},
        canonical=canonical,
    )


def _count(quantizers: int | None, most: int) -> int:
    if quantizers is not None and not 1 <= quantizers <= most:
        raise OptionError(f"quantizers must be from 1 to {most} for this model, got {quantizers}")
    return quantizers or most


def _bandwidth(
    known: list[float], count_of: Callable[[float], int], quantizers: int | None, usual: float
) -> tuple[float, int]:
    """Find the bandwidth that gives a number of codebooks."""
    counts = {count_of(bandwidth): bandwidth for bandwidth in known}
    if quantizers is None:
        return usual, count_of(usual)
    if quantizers not in counts:
        raise OptionError(
            f"quantizers must be one of {', '.join(map(str, counts))} for this model, got "
            f"{quantizers}"
        )
    return counts[quantizers], quantizers
