"""The `VQModel` of diffusers.

In: a patched model of diffusers. Out: its `Codec`. Must not import diffusers.
"""

from typing import Any

import torch
from torch import nn

from certvq.network import CanonicalEncoder
from certvq.tokenize._codecs._codec import Codec


class _Latents(nn.Module):
    """The encoder of a `VQModel` behind its preprocessing, for numbers from 0 to 1."""

    def __init__(self, model: Any, stride: int) -> None:
        super().__init__()
        self.model, self.stride, self.training = model, stride, False

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[2:]
        pad = (0, -width % self.stride, 0, -height % self.stride)
        pixels = images * 2.0 - 1.0
        padded = nn.functional.pad(pixels, pad, mode="replicate") if any(pad) else pixels
        return self.model.encode(padded).latents


def vq_model(model: Any) -> Codec:
    """Wrap a `VQModel`, whose pixels are -1 to 1."""
    table = model.quantize.embedding.weight
    stride = 2 ** (len(model.config.block_out_channels) - 1)

    def encode(images: torch.Tensor) -> torch.Tensor:
        latents = model.encode(images).latents
        _, _, (_, _, codes) = model.quantize(latents)
        return codes.view(len(images), *latents.shape[2:])

    def decode(codes: torch.Tensor) -> torch.Tensor:
        places = codes[..., 0]
        vectors = model.quantize.get_codebook_entry(
            places.reshape(-1), (*places.shape, table.shape[1])
        )
        spatial = vectors if model.config.norm_type == "spatial" else None
        return model.decoder(model.post_quant_conv(vectors), spatial)

    return Codec(
        module=model,
        modality="image",
        codebooks=[table.detach()],
        encode=encode,
        decode=decode,
        name="VQModel",
        channels=model.config.in_channels,
        pixels=(-1.0, 1.0),
        stride=stride,
        canonical=lambda: CanonicalEncoder(_Latents(model, stride), codebook=table),
    )
