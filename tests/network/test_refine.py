"""Only the receptive field of an open token is computed, and precision grows as far as it must."""

import numpy as np
import pytest
import torch
from torch import nn

from certvq.network import _refine as refinement
from certvq.network import capture
from certvq.network._decide import CodeVectors
from certvq.network._exact import needed_entries
from certvq.network._levels import Level, Levels
from certvq.network._numbers import Balls, Rationals
from certvq.network._source import source_of


def needed_of(module, shape, token):
    network = capture(module.eval(), torch.zeros(shape))
    mask = np.zeros(network.output.shape, bool)
    mask[token] = True
    return needed_entries(network, mask)[network.source.name]


def test_a_receptive_field_is_the_true_one():
    """Entries that change the token, by its gradient, are those that are needed."""
    module = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2),
        nn.AvgPool2d(2, stride=1),
        nn.Conv2d(4, 3, 3, padding=2, dilation=2),
        nn.ReflectionPad2d(1),
    )
    x = torch.randn(2, 2, 12, 10, generator=torch.Generator().manual_seed(0), requires_grad=True)
    module(x)[1, :, 1, 2].sum().backward()
    needed = needed_of(module, x.shape, (1, slice(None), 1, 2))
    assert needed.any(axis=1).tolist() == (x.grad != 0).any(1).tolist()


def test_a_norm_needs_its_sample():
    needed = needed_of(nn.GroupNorm(1, 2), (3, 2, 4), (1, slice(None), 0))
    assert needed.tolist() == [[[i == 1] * 4] * 2 for i in range(3)]


@pytest.mark.rows(("layer", "expected"), [(nn.ReLU(), [Rationals]), (nn.Tanh(), [Balls] * 5)])
def test_kinds_of_numbers(layer, expected):
    network = capture(layer.eval(), torch.zeros(1, 2))
    levels = Levels([(slice(None), [])])
    kinds = list(refinement._arithmetics(network, levels, 2048))
    assert [type(each) for each in kinds] == expected
    bits = [each.precision for each in kinds if isinstance(each, Balls)]
    assert bits == [128, 256, 512, 1024, 2048][: len(bits)]


def test_many_tokens_are_computed_in_parts(monkeypatch):
    monkeypatch.setattr(refinement, "_AT_ONCE", 3)
    network = capture(nn.ReLU().eval(), torch.zeros(2, 1, 5))
    batch = torch.linspace(-1, 1, 10).reshape(2, 1, 5)
    rows = Levels([(slice(0, 1), [Level(CodeVectors(np.array([[0.0], [0.5], [1.0]])))])])
    found = refinement.refine(network, source_of(batch), rows, np.array([9, 1, 0, 5, 7]), 2048)
    assert found.codes.tolist() == [[2], [0], [0], [0], [1]]
