"""The start of the paper."""

import torch

from certvq.nn import Uniform, VectorQuantize
from certvq.nn._codebook.uniform import uniform_codebook


def test_numbers_are_uniform_of_one_over_k(seeded):
    codebook = uniform_codebook(50, 40, seeded())
    assert codebook.shape == (50, 40)
    assert codebook.dtype == torch.float32
    assert codebook.abs().max() <= 1 / 50
    assert codebook.min() < -0.99 / 50
    assert codebook.max() > 0.99 / 50


def test_training_keeps_it_for_the_first_batch(seeded):
    layer = VectorQuantize(3, 5, start=Uniform(), generator=seeded())
    before = layer.codebook.clone()
    layer(torch.randn(1, 40, 3))
    assert torch.equal(layer.codebook, before)
    assert bool(layer.started)
