"""The loss of the entropies in one node is that of its steps, and so are its slopes."""

import pytest
import torch

from certvq.nn import LFQ
from certvq.nn._scalar import lfq
from certvq.nn._scalar.bit_entropy import batch_entropy, sample_entropy
from certvq.nn._scalar.entropy_loss import entropy_loss


def by_steps(latents, scale, weight, diversity):
    sample, batch = sample_entropy(latents * scale), batch_entropy(latents * scale)
    return weight * (sample - diversity * batch), sample, batch


@pytest.mark.parametrize("bits", [1, 2, 3, 6])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_numbers_and_slopes_are_those_of_the_steps(bits, kind, seeded):
    """Also slopes of slopes, and of logits so large that probabilities vanish."""
    size = torch.logspace(-3, 3, 12, dtype=kind)[:, None]
    start = torch.randn(12, bits, generator=seeded(), dtype=kind) * size
    found = []
    for function in (entropy_loss, by_steps):
        latents = start.clone().requires_grad_()
        loss, *entropies = function(latents, 3.0, 0.7, 1.3)
        (plain,) = torch.autograd.grad(loss, latents, retain_graph=True)
        (slope,) = torch.autograd.grad(loss, latents, create_graph=True)
        (again,) = torch.autograd.grad(slope.square().sum(), latents)
        found.append([loss, *entropies, plain, slope, again])
        assert plain.any()
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=2e-5, atol=8 * torch.finfo(kind).eps)


def test_logits_that_overflow_have_finite_slopes():
    latents = torch.tensor([[3e38, -1.0], [0.0, 1.0]], requires_grad=True)
    loss, sample, batch = entropy_loss(latents, 400.0, 1.0, 1.0)
    loss.backward()
    assert torch.isfinite(torch.stack([loss, sample, batch])).all()
    assert torch.isfinite(latents.grad).all()


@pytest.mark.parametrize("options", [{}, {"commitment_weight": 0.5}, {"spherical": True}])
def test_a_layer_trains_alike_with_both(options, seeded, monkeypatch):
    start = torch.randn(1, 30, 5, generator=seeded())
    found = []
    for alone in (True, False):
        monkeypatch.setattr(lfq, "backward_alone", lambda alone=alone: alone)
        layer, latents = LFQ(5, **options), start.clone().requires_grad_()
        result = layer(latents)
        result.loss.backward()
        found.append([result.loss, latents.grad, *layer.latest.values()])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=2e-5, atol=1e-6)
