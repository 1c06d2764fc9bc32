"""certvq's own models, and bare codebooks.

In: a `VQVAE`, or a codebook. Out: its `Codec`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import nn

from certvq._files.npy import map_npy
from certvq.assign import assign, prepare
from certvq.errors import FileFormatError, OptionError
from certvq.models import VQVAE
from certvq.network import CanonicalEncoder
from certvq.nn import FSQ
from certvq.tokenize._codecs._codec import Codec

_Find: TypeAlias = Callable[[torch.Tensor], torch.Tensor]


def own_codec(model: VQVAE, *, latents: bool = False, quantizers: int | None = None) -> Codec:
    """Wrap a model of certvq, or its quantizer alone where the inputs are latents.

    Args:
        model: of any quantizer.
        latents: whether the inputs are latents.
        quantizers: how many of its codebooks to use, the first ones; None for all.

    Raises:
        OptionError: it has not so many codebooks.
    """
    books = model.codebooks
    if quantizers is not None and not 1 <= quantizers <= len(books):
        allowed = "1" if len(books) == 1 else f"from 1 to {len(books)}"
        raise OptionError(f"quantizers must be {allowed} for this model, got {quantizers}")
    books = books[:quantizers]
    quantizer = model.quantizer
    find = _of_grid(quantizer) if isinstance(quantizer, FSQ) else _of_levels(books)
    if latents:
        return _of_latents(model, books, find)

    def encode(images: torch.Tensor) -> torch.Tensor:
        return find(model.latents(images))

    def decode(codes: torch.Tensor) -> torch.Tensor:
        return model.decode(codes if quantizer.code_shape else codes[..., 0])

    return Codec(
        module=model,
        modality="image",
        codebooks=books,
        encode=encode,
        decode=decode,
        name="VQVAE",
        channels=model.config.channels,
        canonical=lambda: CanonicalEncoder(model),
    )


def codebook_codec(path: Path) -> Codec:
    """Open a codebook (K, D) in a `.npy` file.

    Raises:
        FileFormatError: it is damaged, or no codebook.
    """
    try:
        codebook = torch.from_numpy(np.array(map_npy(path)))
        find = _of_levels([codebook])
    except (OSError, ValueError, TypeError) as error:
        raise FileFormatError(f"{path}: must hold a codebook (K, D) of floats: {error}") from error
    module = nn.Module()
    module.register_buffer("codebook", codebook)
    return _of_latents(module, [codebook], find)


def _of_latents(module: nn.Module, codebooks: Sequence[torch.Tensor], find: _Find) -> Codec:
    return Codec(
        module=module,
        modality="latent",
        codebooks=codebooks,
        encode=find,
        name=type(module).__name__ if isinstance(module, VQVAE) else "codebook",
    )


def _of_levels(codebooks: Sequence[torch.Tensor]) -> _Find:
    """Search codebook after codebook, each for what is left over; as `certvq.nn.Residual` does."""
    prepared = [prepare(codebook) for codebook in codebooks]

    def encode(latents: torch.Tensor) -> torch.Tensor:
        rest = latents.reshape(-1, latents.shape[-1])
        # not torch.stack, whose first call in a thread was seen to take 15 MiB
        codes = torch.empty((len(rest), len(prepared)), dtype=torch.int64, device=rest.device)
        for level, searched in enumerate(prepared):
            if level:
                rest = rest - codebooks[level - 1][codes[:, level - 1]]
            codes[:, level] = assign(rest, searched).codes
        return codes.view(*latents.shape[:-1], len(prepared))

    return encode


def _of_grid(quantizer: FSQ) -> _Find:
    def encode(latents: torch.Tensor) -> torch.Tensor:
        codes = quantizer.encode_tokens(latents.reshape(-1, latents.shape[-1]))
        return codes.view(latents.shape[:-1])

    return encode
