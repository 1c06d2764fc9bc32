"""Helpers for the interfaces of other libraries: seeded generators."""

import pytest
import torch


@pytest.fixture
def seeded():
    """Return a function that makes a generator of a seed."""

    def make(seed=0):
        return torch.Generator().manual_seed(seed)

    return make
