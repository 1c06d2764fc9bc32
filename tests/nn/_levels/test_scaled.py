"""A quantizer for latents of another size is one for the quotients."""

import math

import pytest
import torch

from certvq.errors import NonFiniteError, OptionError
from certvq.nn import FSQ, KMeans, Scaled, Uniform, VectorQuantize


def test_powers_of_two_change_no_code(seeded, same_bits):
    part = VectorQuantize(3, 8, start=Uniform(), generator=seeded()).eval()
    layer = Scaled(part, 0.25).eval()
    latents = torch.randn(1, 50, 3, generator=seeded(1)) * 0.1
    expected = part(latents * 4)
    result = layer(latents)
    assert torch.equal(result.codes, expected.codes)
    assert same_bits(result.quantized, expected.quantized / 4)
    assert torch.equal(result.loss, expected.loss)


def test_the_part_learns(seeded):
    layer = Scaled(VectorQuantize(2, 4, start=KMeans(), generator=seeded()), (0.1, 10.0))
    latents = torch.randn(1, 200, 2, generator=seeded(1)) * torch.tensor([0.1, 10.0])
    for _ in range(5):
        quantized = layer(latents).quantized
    error = ((latents - quantized) / layer.scale).square().mean()
    assert error < 0.6


def test_gradients_are_those_of_the_whole(seeded):
    layer = Scaled(FSQ((5, 5), preserve_symmetry=True), (0.5, 2.0))
    latents = torch.randn(1, 9, 2, generator=seeded(), requires_grad=True)
    layer(latents).quantized.sum().backward()
    twin = latents.detach().requires_grad_()
    (torch.tanh(twin / layer.scale) * layer.scale).sum().backward()
    torch.testing.assert_close(latents.grad, twin.grad)


@pytest.mark.parametrize(
    ("scale", "text"),
    [
        (0.0, "above 0 in float32, got 0.0 at place 0"),
        ((1.0, math.inf), "got inf at place 1"),
        ((1.0, 1e-60), "got 1e-60 at place 1"),
        ((1.0,), "one for each of 2 features, got"),
    ],
)
def test_wrong_scales_are_named(scale, text):
    with pytest.raises(OptionError, match=text):
        Scaled(FSQ((5, 5)), scale)


def test_quotients_that_overflow_are_named():
    layer = Scaled(FSQ((5, 5)), 1e-30).eval()
    with pytest.raises(NonFiniteError, match="latents must be finite, got inf"):
        layer(torch.full((1, 1, 2), 1e20))
