"""Slices of the features: nearest in the product codebook, one loss, parts of any kind."""

import itertools
from fractions import Fraction

import pytest
import torch

from certvq.errors import CodeRangeError, NonFiniteError, OptionError, ShapeError
from certvq.nn import PADDING, ProductQuantize, ResidualVQ, Uniform, VectorQuantize


def layer_of(seeded, widths=(2, 3), sizes=(4, 5), **options):
    parts = [
        VectorQuantize(width, size, generator=seeded(place), **options)
        for place, (width, size) in enumerate(zip(widths, sizes, strict=True))
    ]
    return ProductQuantize(parts)


def test_the_codes_are_the_nearest_of_the_product_codebook(seeded):
    """All tuples of codes compared over the rationals; ties to the lexicographically first."""
    layer = layer_of(seeded, start=Uniform()).double().eval()
    for part in layer.groups:
        grid = torch.randint(-2, 3, part.codebook.shape, generator=seeded()).double()
        part.codebook.copy_(grid)
    latents = torch.randint(-6, 7, (1, 60, 5), generator=seeded(1)).double() / 2
    codes = layer(latents).codes[0]
    books = [[tuple(map(Fraction, row)) for row in part.codebook.tolist()] for part in layer.groups]
    for row, found in zip(latents[0].tolist(), codes.tolist(), strict=True):
        far = {
            pair: sum(
                (Fraction(z) - c) ** 2
                for z, c in zip(row, books[0][pair[0]] + books[1][pair[1]], strict=True)
            )
            for pair in itertools.product(range(4), range(5))
        }
        assert tuple(found) == min(far, key=lambda pair: (far[pair], pair))


def test_quantized_is_decode_of_codes_to_the_bit(seeded, same_bits):
    layer = layer_of(seeded)
    for step in range(4):
        latents = torch.randn(2, 30, 5, generator=seeded(step))
        quantized, codes, _ = layer(latents)
        assert codes.shape == (2, 30, 2)
        assert torch.equal(layer.encode(latents), codes)
        assert same_bits(quantized, layer.decode(codes))
    assert same_bits(layer.eval()(latents).quantized, layer.decode(layer.encode(latents)))


def test_the_loss_is_that_of_the_whole(seeded):
    layer = layer_of(seeded).eval()
    latents = torch.randn(2, 30, 5, generator=seeded(), requires_grad=True)
    quantized, _, loss = layer(latents)
    whole = (latents - quantized.detach()).square().mean()
    torch.testing.assert_close(loss, 0.25 * whole)
    assert layer.metrics()["commitment_loss"] == pytest.approx(float(whole.detach()))
    assert "group1/commitment_loss" in layer.metrics()
    (got,) = torch.autograd.grad(loss, latents)
    torch.testing.assert_close(got, 0.25 * 2 * (latents - quantized).detach() / latents.numel())


def test_groups_of_levels(seeded, same_bits):
    parts = [ResidualVQ(2, (8, 4), generator=seeded(i)) for i in range(3)]
    layer = ProductQuantize(parts)
    assert layer.codebook_size == (8, 4)
    quantized, codes, _ = layer(torch.randn(2, 30, 6, generator=seeded()))
    assert codes.shape == (2, 30, 3, 2)
    assert same_bits(quantized, layer.decode(codes))
    coarse = [part.decode(codes[..., group, :1]) for group, part in enumerate(parts)]
    assert same_bits(layer.decode(codes[..., :1]), torch.cat(coarse, dim=-1))
    mask = torch.tensor([[True, False], [False, True]])
    codes = torch.where(mask[..., None, None], codes[:, :2], PADDING)
    assert not layer.decode(codes, mask)[~mask].any()


def test_codes_of_another_group_are_named(seeded):
    layer = layer_of(seeded)
    assert layer.codebook_size == (4, 5)
    layer.decode(torch.tensor([[[3, 4]]]))
    with pytest.raises(CodeRangeError, match=r"group 0 of 2: codes must lie in range\(4\), got 4"):
        layer.decode(torch.tensor([[[4, 3]]]))
    with pytest.raises(ShapeError, match=r"the last of sizes \(2,\), got shape \(1, 1, 1\)"):
        layer.decode(torch.tensor([[[3]]]))


def test_a_bad_slice_changes_no_group(seeded, snapshot, unchanged):
    layer = layer_of(seeded)
    layer(torch.randn(1, 30, 5, generator=seeded()))
    latents = torch.randn(1, 30, 5, generator=seeded(1))
    latents[0, 3, 4] = float("nan")
    before = snapshot(layer)
    with pytest.raises(NonFiniteError, match="group 1 of 2: latents.*row 3, column 2"):
        layer(latents)
    assert unchanged(layer, before)


def test_parts_that_do_not_fit_are_refused(seeded):
    with pytest.raises(OptionError, match="at least one part, got none"):
        ProductQuantize([])
    part = VectorQuantize(2, 4)
    with pytest.raises(OptionError, match="part 1 is part 0"):
        ProductQuantize([part, part])
    with pytest.raises(OptionError, match=r"first one, \(\); part 1 has \(3,\)"):
        ProductQuantize([part, ResidualVQ(2, 4, num_quantizers=3)])
