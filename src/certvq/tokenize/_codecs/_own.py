"""certvq's own models, and bare codebooks.

In: a `VQVAE`, or a codebook. Out: its `Codec`.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from certvq.assign import Prepared, assign, prepare
from certvq.errors import FileFormatError
from certvq.models import VQVAE
from certvq.tokenize._codecs._codec import Codec, Encode


def own_codec(model: VQVAE, *, latents: bool = False) -> Codec:
    """Wrap a model of certvq, or its quantizer alone where the inputs are latents."""
    codebook = model.quantizer.codebook.detach()
    searched = prepare(codebook)
    if latents:
        return _of_latents(model, codebook, searched)

    def encode(images: torch.Tensor) -> torch.Tensor:
        found = model.latents(images)
        return assign(found.flatten(0, 2), searched).codes.view(found.shape[:3])

    def decode(codes: torch.Tensor) -> torch.Tensor:
        return model.decode(codes[..., 0])

    return Codec(
        module=model,
        modality="image",
        codebooks=[codebook],
        encode=encode,
        decode=decode,
        name="VQVAE",
        channels=model.config.channels,
    )


def codebook_codec(path: Path) -> Codec:
    """Open a codebook (K, D) in a `.npy` file.

    Raises:
        FileFormatError: it is damaged, or no codebook.
    """
    try:
        array = np.load(path, allow_pickle=False)
        codebook = torch.from_numpy(array)
        searched = prepare(codebook)
    except (OSError, ValueError, TypeError) as error:
        raise FileFormatError(f"{path}: must hold a codebook (K, D) of floats: {error}") from error
    module = nn.Module()
    module.register_buffer("codebook", codebook)
    return _of_latents(module, codebook, searched)


def _of_latents(module: nn.Module, codebook: torch.Tensor, searched: Prepared) -> Codec:
    return Codec(
        module=module,
        modality="latent",
        codebooks=[codebook],
        encode=_searching(searched),
        name=type(module).__name__ if isinstance(module, VQVAE) else "codebook",
    )


def _searching(codebook: Prepared) -> Encode:
    def encode(latents: torch.Tensor) -> torch.Tensor:
        return assign(latents.reshape(-1, latents.shape[-1]), codebook).codes.view(
            latents.shape[:-1]
        )

    return encode
