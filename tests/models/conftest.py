"""A small model, made once for each test."""

import pytest
import torch

from certvq.models import VQVAE, VQVAEConfig

TINY = VQVAEConfig(hidden=8, residual_blocks=1, residual_hidden=4, dim=4, codebook_size=16)


@pytest.fixture
def tiny():
    """Return the configuration of a model that costs nothing."""
    return TINY


@pytest.fixture
def model(tiny):
    """Return a tiny model after two training batches, in eval mode."""
    made = VQVAE(tiny, generator=torch.Generator().manual_seed(0))
    for seed in range(2):
        made(torch.rand(2, 3, 16, 20, generator=torch.Generator().manual_seed(seed)))
    return made.eval()


@pytest.fixture
def images():
    """Return images whose sides are no multiples of the stride."""
    return torch.rand(3, 3, 19, 14, generator=torch.Generator().manual_seed(9))


@pytest.fixture
def same_state():
    """Return a function that compares the states of two modules, types of number included."""

    def compare(left, right):
        one, two = left.state_dict(), right.state_dict()
        return one.keys() == two.keys() and all(
            one[name].dtype == two[name].dtype and torch.equal(one[name], two[name]) for name in one
        )

    return compare
