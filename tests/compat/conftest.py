"""The helpers that the tests of layers have."""

import importlib.util
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[1] / "nn" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("fixtures_of_layers", _PATH)
_FIXTURES = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_FIXTURES)

seeded, same_bits = _FIXTURES.seeded, _FIXTURES.same_bits


def _tensors(module):
    """Copy all tensors as they are; a state dict would take in what waits of the latest batch."""
    every = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in every}


@pytest.fixture
def snapshot():
    """Return a function that copies a module's tensors."""
    return _tensors


@pytest.fixture
def unchanged(same_bits):
    """Return a function that compares a module's tensors with a snapshot."""

    def compare(module, before):
        after = _tensors(module)
        return before.keys() == after.keys() and all(
            same_bits(before[name], after[name]) for name in before
        )

    return compare
