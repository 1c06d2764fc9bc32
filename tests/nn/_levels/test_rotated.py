"""A rotated quantizer: orthogonal, the same for every batch, undone by decoding."""

import torch

from certvq.nn import FSQ, Rotated
from certvq.nn._levels.rotated import multiply


def test_the_rotation_is_orthogonal_and_of_the_generator(seeded):
    layers = [Rotated(FSQ((4,) * 6), generator=seeded(seed)) for seed in (0, 0, 1)]
    first, again, other = (layer.rotation for layer in layers)
    torch.testing.assert_close(first @ first.T, torch.eye(6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_codes_are_those_of_the_rotated_latents(seeded, same_bits):
    part = FSQ((4, 5, 3))
    layer = Rotated(part, generator=seeded())
    latents = torch.randn(1, 100, 3, generator=seeded(1))
    turned = layer.inward(latents[0])
    torch.testing.assert_close(turned, latents[0] @ layer.rotation)
    quantized, codes, _ = layer(latents)
    assert torch.equal(codes[0], part.encode(turned[None])[0])
    torch.testing.assert_close(quantized, part.decode(codes) @ layer.rotation.T)
    assert same_bits(quantized, layer.decode(codes))


def test_sums_have_one_order(seeded, same_bits):
    """Products of one row are those of many, to the bit."""
    tokens = torch.randn(64, 9, generator=seeded())
    matrix = torch.randn(9, 9, generator=seeded(1))
    whole = multiply(tokens, matrix)
    rows = torch.cat([multiply(row[None], matrix) for row in tokens])
    assert same_bits(whole, rows)


def test_gradients_turn_back(seeded):
    layer = Rotated(FSQ((5, 5), preserve_symmetry=True), generator=seeded())
    latents = torch.randn(1, 9, 2, generator=seeded(1), requires_grad=True)
    weights = torch.randn(1, 9, 2, generator=seeded(2))
    (layer(latents).quantized * weights).sum().backward()
    twin = latents.detach().requires_grad_()
    bounded = torch.tanh(twin @ layer.rotation) @ layer.rotation.T
    (bounded * weights).sum().backward()
    torch.testing.assert_close(latents.grad, twin.grad)
