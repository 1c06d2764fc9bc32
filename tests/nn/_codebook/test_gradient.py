"""The codebook of `Gradient` is a parameter and nothing else learns it."""

import torch

from certvq.nn import EMA, Gradient, Uniform, VectorQuantize


def test_the_codebook_is_a_parameter_with_gradient_only():
    by_gradient = VectorQuantize(2, 3, update=Gradient())
    assert [name for name, _ in by_gradient.named_parameters()] == ["codebook"]
    assert not list(VectorQuantize(2, 3, update=EMA()).parameters())


def test_training_leaves_the_codebook_to_the_optimiser(seeded):
    layer = VectorQuantize(2, 3, update=Gradient(), start=Uniform(), revive=None)
    before = layer.codebook.detach().clone()
    for _ in range(3):
        layer(torch.randn(1, 20, 2, generator=seeded()))
    assert torch.equal(layer.codebook, before)


def test_an_optimiser_lowers_the_codebook_loss(seeded):
    latents = torch.randn(1, 64, 2, generator=seeded())
    layer = VectorQuantize(2, 4, update=Gradient(), start=Uniform(), revive=None)
    optimiser = torch.optim.SGD(layer.parameters(), lr=1.0)
    losses = []
    for _ in range(20):
        optimiser.zero_grad()
        layer(latents).loss.backward()
        optimiser.step()
        losses.append(layer.metrics()["codebook_loss"])
    assert losses[-1] < 0.6 * losses[0]
