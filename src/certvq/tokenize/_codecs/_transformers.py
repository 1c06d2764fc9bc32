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
from certvq.tokenize._codecs._codec import Codec, Decode, Encode


def encodec(model: Any, quantizers: int | None) -> Codec:
    """Wrap EnCodec; by default at its lowest bandwidth, as the model itself.

    If it normalises or cuts sounds into chunks, as at 48 kHz, its side numbers are two for each
    chunk: how many frames it has, and its loudness.
    """
    config = model.config
    bandwidth, count = _bandwidth(
        config.target_bandwidths,
        model.quantizer.get_num_quantizers_for_bandwidth,
        quantizers,
        config.target_bandwidths[0],
    )
    side = config.normalize or config.chunk_length is not None

    def encode(sounds: torch.Tensor) -> Any:
        missing = _missing(config, sounds.shape[-1])
        found = model.encode(nn.functional.pad(sounds, (0, missing)), bandwidth=bandwidth)
        chunks = list(found.audio_codes)
        if found.last_frame_pad_length:
            chunks[-1] = chunks[-1][..., : -found.last_frame_pad_length]
        codes = torch.cat(chunks, dim=-1).transpose(1, 2)
        if not side:
            return codes
        pairs = [
            torch.stack((torch.full_like(scale, chunk.shape[-1]), scale), dim=1)
            for chunk, scale in zip(chunks, _scales(found.audio_scales, sounds), strict=True)
        ]
        return codes, torch.cat(pairs, dim=1)

    def decode(codes: torch.Tensor, pairs: torch.Tensor | None = None) -> torch.Tensor:
        levels = codes.transpose(1, 2)
        if pairs is None:
            return model.decode(levels[None], [None]).audio_values
        frames, scales = pairs.view(-1, 2).T
        chunks = levels.split([int(count) for count in frames.tolist()], dim=-1)
        loud = [scale.to(model.dtype).view(1, 1) for scale in scales]
        return model.decode(chunks, loud if config.normalize else [None] * len(loud)).audio_values

    return _codec(
        model,
        "encodec",
        [layer.codebook.embed for layer in model.quantizer.layers[:count]],
        encode,
        decode,
        channels=config.audio_channels,
        side=side,
        options={"bandwidth": bandwidth},
        canonical=None if side else lambda: CanonicalEncoder(model, levels=count),
    )


def _scales(scales: list[torch.Tensor | None], sounds: torch.Tensor) -> list[torch.Tensor]:
    """Return the loudness (B,) of each chunk, float64; 1 where the model does not divide by it."""
    ones = torch.ones(len(sounds), dtype=torch.float64, device=sounds.device)
    return [ones if scale is None else scale.double().view(-1) for scale in scales]


def _missing(config: Any, samples: int) -> int:
    """Return how many samples of silence EnCodec needs after a sound that it cuts into chunks.

    Where what is left for the last chunk is shorter than the overlap, the chunk before it, too,
    ends with the sound. If it has fewer frames for that, the model fails, as it cannot stack them.
    """
    length, stride = config.chunk_length, config.chunk_stride
    if length is None or stride is None or samples <= 2 * stride or length > 2 * stride:
        return 0
    last = (samples - 1) % stride + 1
    enough = (-(-length // config.hop_length) - 1) * config.hop_length + 1
    return max(0, enough - stride - last)


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
    encode: Encode,
    decode: Decode,
    *,
    channels: int = 1,
    stride: int = 1,
    rate: int | None = None,
    side: bool = False,
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
        side=side,
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
