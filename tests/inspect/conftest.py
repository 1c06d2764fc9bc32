"""What the tests of adapters share: peers that may be missing, and the questions put to each."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
import torch

import certvq


@pytest.fixture(scope="session")
def layers():
    """Give the module of small layers beside this file."""
    path = Path(__file__).with_name("layers.py")
    spec = importlib.util.spec_from_file_location("certvq_test_layers", path)
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def peer():
    """Import a library whose quantizers are tested; it may be missing only outside CI."""

    def load(name):
        old = sys.version_info < (3, 11)  # diffusers and transformers need 3.11
        if os.environ.get("CI") and not old:
            __import__(name)
        return pytest.importorskip(name)

    return load


@pytest.fixture
def offset():
    """Give vectors of unit variance around a mean."""

    def draw(*shape, mean=1000.0):
        return torch.randn(*shape) + mean

    return draw


@pytest.fixture
def repaired():
    """Require wrong codes before `patch_module`, none after it, and the same again undone."""

    def check(model, data, call=None):
        before = certvq.audit_module(model, data, call=call)
        assert before.wrong > 0
        assert certvq.patch_module(model)
        after = certvq.audit_module(model, data, call=call)
        assert after.ok
        assert after.wrong == 0
        return before

    return check


@pytest.fixture
def unchanged():
    """Require that a patch changes nothing where the model's own codes are right."""

    def check(model, run):
        names = set(model.state_dict())
        assert certvq.audit_module(model, [0], call=lambda each, _: run(each)).ok
        torch.manual_seed(1)
        own = run(model)
        assert certvq.patch_module(model)
        assert set(model.state_dict()) == names
        torch.manual_seed(1)
        _require_equal(own, run(model))
        certvq.unpatch_module(model)

    return check


def _require_equal(left, right):
    assert type(left) is type(right)
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            _require_equal(left[key], right[key])
    elif isinstance(left, tuple | list):
        assert len(left) == len(right)
        for each, other in zip(left, right, strict=True):
            _require_equal(each, other)
    else:
        assert left == right
