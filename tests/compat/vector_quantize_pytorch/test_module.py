"""Figures of codes, and freezing: of every class, as the layers of `certvq.nn` have them."""

import pytest
import torch
from torch import nn

from certvq.compat import vector_quantize_pytorch as vq

from ._classes import batch, build, cases

EXTRA = {
    "heads": ("VectorQuantize", {"heads": 2, "codebook_dim": 3}, {"head0/", "head1/"}),
    "levels": ("ResidualVQ", {}, {"level0/", "level1/", "level2/"}),
    "groups": ("GroupedResidualVQ", {"groups": 2}, {"group0/level0/", "group1/level2/"}),
    "scales": ("HierarchicalVQ", {}, {"scale0/", "scale2/"}),
    "codebooks": ("LFQ", {"dim": 6, "codebook_size": 8, "num_codebooks": 2}, {"codebook1/"}),
    "grids": (
        "ResidualFSQ",
        {"levels": [5] * 6, "num_quantizers": 2, "is_channel_first": True},
        {"level0/", "level1/"},
    ),
}


def latents(name, options, seed=0):
    x = batch(name, seed)
    return x.movedim(-1, 1) if options.get("is_channel_first") else x


@pytest.mark.parametrize(("name", "options"), cases())
def test_every_class_counts_its_codes(name, options):
    torch.manual_seed(0)
    layer = build(vq, name, options)
    assert layer.metrics() == {}
    layer(batch(name, 0))
    figures = layer.metrics()
    assert {"perplexity", "codebook_usage", "dead_codes"} <= figures.keys()
    assert 0.0 < figures["codebook_usage"] <= 1.0 <= figures["perplexity"]


def test_autoencoders_of_bits_count_theirs():
    layer = vq.EvoLFQ(nn.Identity(), nn.Identity(), dim=6)
    layer(batch("EvoLFQ", 0))
    assert layer.metrics()["perplexity"] > 1.0


@pytest.mark.parametrize(("name", "options", "places"), EXTRA.values(), ids=EXTRA)
def test_places_have_figures_of_their_own(name, options, places):
    torch.manual_seed(0)
    layer = build(vq, name, options)
    layer(latents(name, options))
    assert {f"{place}dead_codes" for place in places} <= layer.metrics().keys()


def test_figures_are_those_of_the_codes():
    layer = vq.VectorQuantize(1, 8).eval()
    layer.codebook = torch.arange(8.0)[:, None]
    layer(torch.tensor([[[0.0], [2.0], [2.0], [0.0]]]))
    assert layer.metrics() == {"perplexity": 2.0, "codebook_usage": 0.25, "dead_codes": 6.0}
    layer(torch.zeros(1, 4, 1), mask=torch.tensor([[True, False, False, False]]))
    assert layer.metrics()["perplexity"] == 1.0
    breakdown = layer(torch.tensor([[[1.0], [5.0]]]), return_loss_breakdown=True)[-1]
    assert layer.metrics()["perplexity"] == 2.0
    assert breakdown.commitment == 0.0


LEARNING = {
    "averages": ("VectorQuantize", {"threshold_ema_dead_code": 2}),
    "k-means": ("VectorQuantize", {"kmeans_init": True}),
    "levels": ("ResidualVQ", {"quantize_dropout": True}),
    "networks": ("ResidualVQ", {"implicit_neural_codebook": True, "threshold_ema_dead_code": 2}),
    "groups": ("GroupedResidualVQ", {"groups": 2}),
    "scales": ("HierarchicalVQ", {}),
    "values": (
        "LatentQuantize",
        {
            "levels": [5, 4, 3],
            "dim": 6,
            "in_place_codebook_optimizer": lambda values: torch.optim.SGD(values, lr=0.5),
        },
    ),
}


@pytest.mark.parametrize(("name", "options"), LEARNING.values(), ids=LEARNING)
def test_frozen_layers_learn_nothing_in_train_mode(name, options, snapshot, unchanged):
    torch.manual_seed(0)
    layer = build(vq, name, options)
    before = snapshot(layer)
    assert layer.freeze() is layer
    for step in range(2):
        layer(batch(name, step))
    layer.eval().train()
    assert unchanged(layer, before)
    assert not any(parameter.requires_grad for parameter in layer.parameters())
    assert layer.unfreeze() is layer
    for step in range(2):
        layer(batch(name, step))
    layer.eval()
    assert not unchanged(layer, before)
