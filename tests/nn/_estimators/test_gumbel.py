"""Sampled codes: their distribution, their gradient, their reproducibility."""

import pytest
import torch

from certvq.errors import OptionError
from certvq.nn import Gumbel, VectorQuantize
from certvq.nn._core import similarity


@pytest.mark.parametrize("cosine", [False, True])
def test_codes_have_the_probabilities_of_the_formula(cosine, seeded):
    """Within five standard deviations of the binomial distribution, for a fixed seed."""
    book = torch.tensor([[0.0, 0.1], [1.0, 0.0], [0.0, 2.0]])
    z, draws = torch.tensor([[0.4, 0.3]]), 40000
    level = z @ book.T if cosine else -(z - book).norm(dim=1)[None]
    expected = (level / 0.7).softmax(1)[0]
    codes = Gumbel(0.7, cosine=cosine).choose(z.expand(draws, 2), book, seeded())
    share = torch.bincount(codes, minlength=3) / draws
    assert ((share - expected).abs() < 5 * (expected * (1 - expected) / draws).sqrt()).all()


def test_a_cold_draw_is_the_nearest_code(seeded):
    layer = VectorQuantize(3, 20, estimator=Gumbel(1e-6), generator=seeded())
    x = torch.randn(2, 30, 3, generator=seeded(1))
    codes = layer(x).codes
    assert torch.equal(codes, layer.encode(x))


def test_every_row_of_every_chunk_is_drawn(seeded, monkeypatch):
    monkeypatch.setattr(similarity, "CHUNK", 64)
    book, z = torch.randn(20, 3, generator=seeded()), torch.randn(50, 3, generator=seeded(1))
    codes = Gumbel(1e-6).choose(z, book, seeded())
    assert torch.equal(codes, torch.cdist(z, book).argmin(1))


@pytest.mark.parametrize("chunk", [64, 1 << 20])
@pytest.mark.parametrize("cosine", [False, True])
def test_the_soft_gradient_is_that_of_the_mean_code_vector(
    cosine, chunk, seeded, same_bits, monkeypatch
):
    monkeypatch.setattr(similarity, "CHUNK", chunk)
    z = torch.randn(50, 3, dtype=torch.float64, generator=seeded()).requires_grad_()
    book = torch.randn(20, 3, dtype=torch.float64, generator=seeded(1)).requires_grad_()
    codes = torch.randint(20, (50,), generator=seeded(2))
    upstream = torch.randn(50, 3, dtype=torch.float64, generator=seeded(3))
    value = Gumbel(0.5, soft=True, cosine=cosine).estimate(z, book, codes, None)
    assert same_bits(value, book[codes])
    found = torch.autograd.grad(value, (z, book), upstream)
    level = z @ book.T if cosine else -torch.cdist(z, book)
    mean = (level / 0.5).softmax(1) @ book
    torch.testing.assert_close(found, torch.autograd.grad(mean, (z, book), upstream))


def test_the_hard_gradient_goes_straight_through(seeded):
    layer = VectorQuantize(3, 5, estimator=Gumbel(), generator=seeded())
    x = torch.randn(1, 9, 3, generator=seeded(1), requires_grad=True)
    layer(x).quantized.sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_the_temperature_is_positive(temperature):
    with pytest.raises(OptionError, match=f"temperature must be positive.*got {temperature}"):
        Gumbel(temperature)
