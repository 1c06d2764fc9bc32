"""Levels of residual quantizers are found by the names of their classes."""

import pytest
from torch import nn

from certvq.inspect._own import own_layers
from certvq.inspect._stability.levels import Level, levels_of
from certvq.nn import GroupedResidualVQ, ResidualVQ, VectorQuantize


def found(model):
    return levels_of(model, own_layers(model))


def test_a_layer_alone_has_no_level():
    assert found(nn.Sequential(VectorQuantize(2, 3))) == {}
    assert found(VectorQuantize(2, 3)) == {}


def test_levels_are_numbered():
    assert found(ResidualVQ(2, 3, num_quantizers=2)) == {
        "parts.0": Level("", 0),
        "parts.1": Level("", 1),
    }


def test_each_group_has_its_own_levels():
    model = nn.Sequential(GroupedResidualVQ(4, 3, groups=2, num_quantizers=2))
    assert found(model) == {
        f"0.parts.{group}.parts.{level}": Level(f"0.parts.{group}", level)
        for group in range(2)
        for level in range(2)
    }


def test_the_number_behind_the_owner_counts():
    class ResidualPair(nn.Module):
        def __init__(self):
            super().__init__()
            self.coarse = VectorQuantize(2, 3)
            self.fine3 = nn.ModuleList([nn.ModuleList([nn.Identity(), VectorQuantize(2, 3)])])

    model = nn.ModuleDict({"a1": ResidualPair(), "a": VectorQuantize(2, 3)})
    assert found(model) == {"a1.coarse": Level("a1", -1), "a1.fine3.0.1": Level("a1", 0)}


@pytest.mark.parametrize("options", [{}, {"shared_codebook": True}])
def test_those_of_another_library(options):
    vq = pytest.importorskip("vector_quantize_pytorch")
    model = nn.Sequential(vq.ResidualVQ(dim=4, codebook_size=8, num_quantizers=2, **options))
    layers = ["0.layers.0._codebook", "0.layers.1._codebook"]
    levels = {name: Level("0", level) for level, name in enumerate(layers)}
    assert levels_of(model, layers) == levels
