"""Image tokenizers of transformers: those of Chameleon, Janus and Emu3.

In: a patched model of transformers. Out: its `Codec`. Must not import transformers: a model brings
it along. That of GLM-Image is not here: it encodes features of another network, not images.
"""

from collections.abc import Callable
from typing import Any, Final

import torch
from torch.nn import functional

from certvq.tokenize._codecs._codec import Codec, Decode

_CHAMELEON_WHITE: Final = 0.0078 * 255 - 1
"""What its image processor makes of 255; the others' give 1."""


def chameleon(model: Any) -> Codec:
    """Wrap the tokenizer of Chameleon, which has no way back."""
    return _codec(model, "chameleon", None, pixels=(-1.0, _CHAMELEON_WHITE))


def janus(model: Any) -> Codec:
    """Wrap the tokenizer of Janus; its own `decode` takes images of one size, this one any."""

    def decode(codes: torch.Tensor) -> torch.Tensor:
        vectors = functional.normalize(model.quantize.embedding(codes[..., 0]), dim=-1)
        return model.decoder(model.post_quant_conv(vectors.movedim(-1, 1).contiguous()))

    return _codec(model, "janus", decode)


def emu3(model: Any) -> Codec:
    """Wrap the tokenizer of Emu3, for images; not for video."""

    def encode(images: torch.Tensor) -> torch.Tensor:
        sizes = torch.tensor([images.shape[2:]] * len(images))
        return torch.stack(list(model.encode(images, sizes).image_tokens))

    def decode(codes: torch.Tensor) -> torch.Tensor:
        return model.decode(codes[..., 0])

    return _codec(model, "emu3", decode, encode=encode)


IMAGE_CODECS: Final[dict[str, tuple[str, Callable[[Any], Codec]]]] = {
    "chameleon_vqgan": ("ChameleonVQVAE", chameleon),
    "janus_vqgan": ("JanusVQVAE", janus),
    "emu3_vqgan": ("Emu3VQVAE", emu3),
}
"""By `model_type` of config.json: the class of transformers, and what wraps it."""


def _codec(
    model: Any,
    name: str,
    decode: Decode | None,
    *,
    encode: Callable[[torch.Tensor], torch.Tensor] | None = None,
    pixels: tuple[float, float] = (-1.0, 1.0),
) -> Codec:
    stride = 2 ** (len(model.config.channel_multiplier) - 1)

    def plain(images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[2:]
        codes = model.encode(images).image_tokens
        return codes.view(len(images), height // stride, width // stride)

    return Codec(
        module=model,
        modality="image",
        codebooks=[model.quantize.embedding.weight.detach()],
        encode=encode or plain,
        decode=decode,
        name=name,
        channels=model.config.in_channels,
        pixels=pixels,
        stride=stride,
    )
