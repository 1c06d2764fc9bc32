"""Models for tests that open them by name, in this process or in another."""

import torch
from torch import nn

import certvq
from certvq.tokenize import Codec


class Own(nn.Module):
    """An encoder whose codes are those of `certvq.assign`."""

    def __init__(self, codes=None):
        super().__init__()
        torch.manual_seed(5)
        self.encoder = nn.Conv2d(3, 4, 4, stride=4)
        self.register_buffer("codebook", torch.randn(16, 4))
        self.codes = codes

    def encode(self, images):
        latents = self.encoder(images).movedim(1, -1)
        codes = certvq.assign(latents.reshape(-1, 4), self.codebook).codes
        codes = codes if self.codes is None else self.codes(codes)
        return codes.view(latents.shape[:-1])


def codec(codes=None, **options):
    """Return a codec of one's own, whose codes are changed by a function."""
    model = Own(codes)
    fields = {"modality": "image", "codebooks": [model.codebook], "stride": 4, "channels": 3}
    return Codec(module=model, encode=model.encode, **fields | options)


def untrue():
    """Return a codec whose codes are not the nearest ones."""
    return codec(lambda codes: (codes + 1) % 16)


def no_model():
    """Return what is no model."""
    return 7
