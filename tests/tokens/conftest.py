"""A small model, small photographs and a small token file."""

import numpy as np
import pytest
import torch

from certvq.data import from_arrays
from certvq.models import VQVAE, VQVAEConfig
from certvq.tokens import TokenHeader, TokenRecord


@pytest.fixture
def make_model():
    """Build a small model whose codebook lies among the latents of noise."""

    def make(seed=0, **options):
        config = {
            "hidden": 8,
            "residual_hidden": 4,
            "residual_blocks": 1,
            "dim": 4,
            "codebook_size": 16,
            "downsampling": 4,
            **options,
        }
        generator = torch.Generator().manual_seed(seed)
        model = VQVAE(VQVAEConfig(**config), generator=generator)
        channels = model.config.channels
        model(torch.rand(2, channels, 32, 32, generator=generator))
        return model.eval()

    return make


@pytest.fixture
def model(make_model):
    return make_model()


@pytest.fixture
def photographs(rng):
    shapes = {"a": (16, 20, 3), "sub/b": (17, 23, 3), "c": (4, 4, 3)}
    return from_arrays({k: rng.integers(0, 256, s, dtype=np.uint8) for k, s in shapes.items()})


@pytest.fixture
def header():
    """Build a header for records of 16 + 4 codes."""

    def make(**options):
        fields = {
            "codebook_size": 300,
            "codebook_sha256": "c0" * 32,
            "model_sha256": "0d" * 32,
            "decided_by": {"filter": 17, "refined": 2, "exact": 1},
            "certvq_version": "0.1.0",
            "channels": 3,
            **options,
        }
        return TokenHeader(**fields)

    return make


@pytest.fixture
def records():
    codes = np.arange(20) * 15
    return [
        TokenRecord("cats/tom", (2, 8), (8, 31), codes[:16]),
        TokenRecord("Küche", (4, 1), (14, 2), codes[16:]),
    ]
