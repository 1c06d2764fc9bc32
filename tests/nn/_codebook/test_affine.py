"""The affine map: its moments, the vectors in use, exact codes among them."""

import pytest
import torch

from certvq.errors import OptionError
from certvq.nn import EMA, Affine, Gradient, Revive, Uniform, VectorQuantize
from certvq.nn._codebook.affine import AffineMap


def test_moments_are_running_averages(seeded):
    one, two = (torch.randn(50, 3, generator=seeded(s)) * 3.0 + 1.0 for s in (0, 1))
    book = torch.randn(7, 3, generator=seeded(2))
    affine = AffineMap(Affine(batch_decay=0.75, codebook_decay=0.5), 3)
    affine.observe(one, book)
    torch.testing.assert_close(affine.batch_mean, one.mean(0))
    torch.testing.assert_close(affine.codebook_variance, book.var(0, correction=0))
    affine.observe(two, 2.0 * book)
    torch.testing.assert_close(affine.batch_mean, 0.75 * one.mean(0) + 0.25 * two.mean(0))
    torch.testing.assert_close(affine.codebook_mean, 1.5 * book.mean(0))


def test_the_mapped_codebook_has_the_moments_of_the_latents(seeded):
    latents, book = torch.randn(90, 3, generator=seeded()) * 5.0 - 7.0, torch.randn(20, 3)
    affine = AffineMap(Affine(), 3)
    affine.observe(latents, book)
    mapped = affine(book)
    torch.testing.assert_close(mapped.mean(0), latents.mean(0))
    torch.testing.assert_close(mapped.var(0, correction=0), latents.var(0, correction=0))
    torch.testing.assert_close(affine.inverse(mapped), book)


def test_it_begins_as_the_identity_and_no_latents_change_nothing():
    affine, book = AffineMap(Affine(), 2), torch.tensor([[1.0, -2.0]])
    affine.observe(torch.zeros(0, 2), book)
    assert torch.equal(affine(book), book)
    assert not affine.begun


@pytest.mark.parametrize(
    "update",
    [EMA(decay=0.0, affine=Affine(0.0, 0.0)), Gradient(affine=Affine(0.0, 0.0))],
    ids=["ema", "gradient"],
)
def test_the_codebook_follows_a_shift_at_once(update, seeded):
    """Decay 0: the code vectors in use have the moments of the batch, wherever it is."""
    layer = VectorQuantize(2, 8, update=update, start=Uniform(), revive=None)
    for shift in (0.0, 100.0, -50.0):
        x = torch.randn(1, 200, 2, generator=seeded()) + shift
        layer(x)
        torch.testing.assert_close(layer.code_vectors().mean(0), x[0].mean(0), rtol=1e-4, atol=1e-4)
    assert len(layer.encode(x).unique()) == 8


def test_the_gradient_of_the_stored_codebook_goes_through_the_map(seeded):
    layer = VectorQuantize(2, 3, update=Gradient(affine=Affine()), start=Uniform())
    x = 9.0 * torch.randn(1, 20, 2, generator=seeded())
    loss = layer(x).loss
    loss.backward()
    slope = torch.autograd.grad(
        (x - layer.code_vectors()[layer.encode(x)]).square().mean(), layer.codebook
    )[0]
    torch.testing.assert_close(layer.codebook.grad, slope)


def test_half_precision_keeps_wide_moments():
    affine = AffineMap(Affine(), 2).half()
    assert affine.batch_mean.dtype == torch.float32
    assert affine(torch.ones(1, 2, dtype=torch.float16)).dtype == torch.float16


@pytest.mark.parametrize("name", ["batch_decay", "codebook_decay"])
def test_decays_are_at_most_one(name):
    with pytest.raises(OptionError, match=rf"Affine {name} must lie in \[0, 1\], got 1.5"):
        Affine(**{name: 1.5})
    with pytest.raises(OptionError, match="metric='cosine'"):
        VectorQuantize(2, 3, update=EMA(affine=Affine()), metric="cosine")


def test_a_revived_code_is_used_where_its_token_lies():
    """The stored vector is the token mapped back, so that the one in use is the token."""
    layer = VectorQuantize(
        3,
        8,
        update=EMA(affine=Affine()),
        start=Uniform(),
        revive=Revive(threshold=0.9),
        generator=torch.Generator().manual_seed(0),
    ).double()
    draw = torch.Generator().manual_seed(1)
    for _ in range(4):
        latents = 3.0 * torch.randn(2, 16, 3, generator=draw, dtype=torch.float64) + 10.0
        layer(latents)
    gaps = torch.cdist(layer.code_vectors(), latents.flatten(0, 1)).amin(dim=1)
    revived = gaps < 1e-9  # float64 rounds the map and its inverse; a batch spreads over 10
    assert 2 <= int(revived.sum()) <= 7
