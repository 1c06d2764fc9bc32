"""The `VQModel` of diffusers.

In: a patched model of diffusers. Out: its `Codec`. Must not import diffusers.
"""

from typing import Any

import torch

from certvq.tokenize._codecs._codec import Codec


def vq_model(model: Any) -> Codec:
    """Wrap a `VQModel`, whose pixels are -1 to 1."""
    table = model.quantize.embedding.weight

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
        stride=2 ** (len(model.config.block_out_channels) - 1),
    )
