"""Helpers for layers: seeded generators, bitwise comparison, snapshots of state."""

import copy

import pytest
import torch
from torch.utils._pytree import tree_flatten


@pytest.fixture
def seeded():
    """Return a function that makes a generator of a seed."""

    def make(seed=0):
        return torch.Generator().manual_seed(seed)

    return make


@pytest.fixture
def same_bits():
    """Return a function that compares two tensors bit for bit, signs of zero included."""

    def compare(left, right):
        return (
            isinstance(right, torch.Tensor)
            and left.dtype == right.dtype
            and left.shape == right.shape
            and torch.equal(
                left.detach().contiguous().reshape(-1).view(torch.uint8),
                right.detach().contiguous().reshape(-1).view(torch.uint8),
            )
        )

    return compare


@pytest.fixture
def snapshot():
    """Return a function that copies a module's state."""
    return lambda module: copy.deepcopy(module.state_dict())


@pytest.fixture
def unchanged(same_bits):
    """Return a function that compares a module's state with a snapshot."""

    def compare(module, before):
        old, new = (tree_flatten(state) for state in (before, module.state_dict()))
        return old[1] == new[1] and all(
            same_bits(a, b) if isinstance(a, torch.Tensor) else a == b
            for a, b in zip(old[0], new[0], strict=True)
        )

    return compare
