"""Figures last as long as they are numbers."""

import copy
import pickle

import pytest
import torch
from torch import func

from certvq.nn._core.quantizer import Passing, as_floats, lasting

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's


def test_ordinary_figures_stay():
    figures = {"loss": torch.tensor(2.0)}
    assert lasting(figures) is figures
    assert as_floats(figures) == {"loss": 2.0}


def test_numbers_of_derivatives_are_kept_as_ordinary_tensors():
    kept = []

    def value(x):
        kept.append(lasting({"loss": x.detach().sum()}))
        return x.sum()

    func.grad(value)(torch.ones(3))
    func.jvp(value, (torch.ones(3),), (torch.ones(3),))
    assert [as_floats(copy.deepcopy(figures)) for figures in kept] == [{"loss": 3.0}] * 2


def test_those_of_samples_end():
    kept = []

    def value(x):
        kept.append(lasting({"loss": x.sum(), "depth": torch.tensor(1.0)}))
        return kept[-1]["loss"]

    assert func.vmap(value)(torch.ones(2, 3)).tolist() == [3.0, 3.0]
    (figures,) = kept
    assert isinstance(figures, Passing)
    assert as_floats(figures) == {}
    assert copy.deepcopy(figures) == copy.copy(figures) == {}
    assert pickle.loads(pickle.dumps(figures)) == {}  # noqa: S301 (our own bytes)
