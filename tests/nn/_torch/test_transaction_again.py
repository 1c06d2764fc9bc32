"""A forward pass that comes again under gradient checkpointing draws the same numbers."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from certvq.nn import (
    FSP,
    BinaryMapper,
    Gradient,
    Gumbel,
    LevelDropout,
    Reparam,
    ResidualVQ,
    Revive,
    VectorQuantize,
)

LEARNS = {"revive": Revive(0.9), "update": Gradient()}
LAYERS = {
    "fsp": lambda **own: FSP((5, 5), **own),
    "mapper": lambda **own: BinaryMapper(2, **own),
    "gumbel": lambda **own: VectorQuantize(2, 4, estimator=Gumbel(), **LEARNS, **own),
    "reparam": lambda **own: VectorQuantize(2, 4, estimator=Reparam(), **LEARNS, **own),
    # Its start draws, and the steps after it do not: they are not to be taken for the start.
    "started": lambda **own: VectorQuantize(2, 4, estimator=Reparam(), revive=None, **own),
    "residual": lambda **own: ResidualVQ(
        2, 4, num_quantizers=3, dropout=LevelDropout(), estimator=Reparam(), **LEARNS, **own
    ),
}


def gradients(make, own, forward, outstanding):
    """Train a layer between a map and a dropout, with several forward passes for a step."""
    torch.manual_seed(0)
    layer = make(generator=torch.Generator().manual_seed(1) if own else None)
    first, last = nn.Linear(2, 2), nn.Dropout(0.5)

    def cost(x):
        return last(layer(first(x)).quantized).square().sum()

    for _ in range(3):
        batches = torch.randn(outstanding, 2, 20, 2)
        costs = [forward(cost, each.requires_grad_()) for each in batches.unbind()]
        first.zero_grad()  # of two terms the order of addition plays no role
        torch.autograd.backward(costs)
    return [*costs, first.weight.grad, torch.rand(1), torch.rand(1, generator=layer.generator)]


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("own", [True, False], ids=["own generator", "default generator"])
@pytest.mark.parametrize("name", LAYERS)
def test_checkpointing_changes_no_gradient(name, own, reentrant):
    """Neither draws that precede others in learning, which does not happen again, nor later ones.

    What learns has one forward pass for each backward pass: later ones have other codebooks.
    """

    def again(cost, x):
        return checkpoint(cost, x, use_reentrant=reentrant)

    outstanding = 2 if name in {"fsp", "mapper"} else 1
    expected = gradients(LAYERS[name], own, lambda cost, x: cost(x), outstanding)
    found = gradients(LAYERS[name], own, again, outstanding)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
