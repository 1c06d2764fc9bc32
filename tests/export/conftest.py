"""A small model with a codebook that its latents use."""

import pytest
import torch

from certvq.models import VQVAE, VQVAEConfig


@pytest.fixture(scope="session")
def model():
    model = VQVAE(VQVAEConfig.small(), generator=torch.Generator().manual_seed(0))
    for seed in range(2):
        model(pictures(seed))
    return model.eval()


def pictures(seed=0, *, shape=(3, 3, 32, 24)):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="session")
def images():
    return pictures(7)
