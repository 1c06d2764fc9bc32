"""Directional reparametrisation: the formula, its gradients, eval mode."""

import functools

import pytest
import torch

from certvq.errors import OptionError
from certvq.nn import EMA, Gradient, Online, Reparam, StraightThrough, VectorQuantize


def test_without_noise_it_is_the_code_vector(seeded):
    z = torch.randn(30, 3, dtype=torch.float64, generator=seeded())
    book = torch.randn(6, 3, dtype=torch.float64, generator=seeded(1))
    codes = torch.randint(6, (30,), generator=seeded(2))
    torch.testing.assert_close(Reparam(0.0).estimate(z, book, codes, seeded()), book[codes])


def test_the_value_is_as_far_from_the_latent_as_the_code_vector(seeded):
    z = torch.randn(30, 3, dtype=torch.float64, generator=seeded())
    book = torch.randn(6, 3, dtype=torch.float64, generator=seeded(1))
    codes = torch.randint(6, (30,), generator=seeded(2))
    value = Reparam(0.5).estimate(z, book, codes, seeded())
    torch.testing.assert_close((value - z).norm(dim=1), (book[codes] - z).norm(dim=1))
    assert ((value - book[codes]).norm(dim=1) > 1e-3).all()


def test_latents_and_code_vectors_get_the_gradient_of_the_formula(seeded):
    z = torch.randn(4, 3, dtype=torch.float64, generator=seeded()).requires_grad_()
    book = torch.randn(6, 3, dtype=torch.float64, generator=seeded(1)).requires_grad_()
    codes = torch.tensor([0, 5, 5, 2])
    upstream = torch.randn(4, 3, dtype=torch.float64, generator=seeded(3))
    value = Reparam(0.1).estimate(z, book, codes, seeded())
    found = torch.autograd.grad(value, (z, book), upstream)
    length = (book[codes] - z).norm(dim=1, keepdim=True)
    direction = ((value - z) / length).detach()
    expected = torch.autograd.grad(z + direction * length, (z, book), upstream)
    torch.testing.assert_close(found, expected)


def test_a_latent_on_its_code_vector_stays(seeded):
    z = torch.tensor([[1.0, 2.0]], requires_grad=True)
    value = Reparam().estimate(z, torch.tensor([[1.0, 2.0]]), torch.tensor([0]), seeded())
    assert value.tolist() == [[1.0, 2.0]]
    value.sum().backward()
    assert torch.isfinite(z.grad).all()


def test_the_loss_is_that_of_the_code_vectors(seeded):
    """Not of the noisy vectors; and eval mode has no noise."""
    layer = VectorQuantize(
        3, 5, estimator=Reparam(1.0), update=Gradient(), generator=seeded(), commitment_weight=1.0
    )
    x = torch.randn(1, 9, 3, generator=seeded(1))
    quantized, codes, loss = layer(x)
    assert not torch.equal(quantized, layer.decode(codes))
    torch.testing.assert_close(loss, 2.0 * (x - layer.decode(codes)).square().mean())
    assert torch.equal(layer.eval()(x).quantized, layer.decode(codes))


@pytest.mark.parametrize("update", [EMA(), Online(functools.partial(torch.optim.SGD, lr=0.5))])
def test_with_averages_the_latents_alone_have_the_gradient(update, seeded):
    """The codebook is no parameter, and moves as with any estimator."""
    layers = [
        VectorQuantize(3, 5, estimator=estimator, update=update, generator=seeded())
        for estimator in (Reparam(), StraightThrough())
    ]
    assert not list(layers[0].parameters())
    for step in range(3):
        for layer in layers:
            layer.generator.manual_seed(step)
            x = torch.randn(1, 40, 3, generator=seeded(step)).requires_grad_()
            layer(x).quantized.square().sum().backward()
            assert x.grad.any()
    books = [layer.eval().codebook for layer in layers]
    assert torch.equal(*books)


@pytest.mark.parametrize("variance", [-1.0, float("nan"), float("inf")])
def test_the_variance_is_not_negative(variance):
    with pytest.raises(OptionError, match=f"variance must be finite.*got {variance}"):
        Reparam(variance)
