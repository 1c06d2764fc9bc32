"""A layer asks its estimator in train mode, and goes straight through in eval mode."""

import pytest
import torch

from certvq.nn import Estimator, StraightThrough, Uniform, VectorQuantize, straight_through
from certvq.nn._core.losses import known_mean_square
from certvq.nn._estimators.estimator import committed


class Doubled(Estimator):
    """Twice the gradient."""

    def estimate(self, latents, codebook, codes, generator):
        assert generator is None
        return straight_through(2.0 * latents - latents.detach(), codebook, codes)


def gradient(layer):
    latents = torch.zeros(1, 3, 2, requires_grad=True)
    layer(latents).quantized.sum().backward()
    return latents.grad.unique().tolist()


def test_the_estimator_makes_the_gradient_in_train_mode_only():
    layer = VectorQuantize(2, 4, start=Uniform(), estimator=Doubled())
    assert gradient(layer) == [2.0]
    assert gradient(layer.eval()) == [1.0]


def test_no_estimator_samples_unless_it_says_so():
    assert StraightThrough().choose(torch.zeros(1, 2), torch.zeros(3, 2), None) is None


def steps_apart(latents, book, codes, sqdist, weight):
    vectors = straight_through(latents, book, codes)
    value = known_mean_square(latents, vectors.detach(), sqdist)
    return vectors, weight * value, value.detach()


@pytest.mark.parametrize("wanted", ["both", "vectors", "loss", "again"])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16])
def test_committed_is_straight_through_and_the_loss_at_once(kind, wanted, seeded, same_bits):
    """Numbers to the bit; slopes in half precision are rounded once here and twice there."""
    draws = seeded()
    start = torch.randn(6, 3, generator=draws).to(kind)
    book, weights = (torch.randn(6, 3, generator=draws) for _ in range(2))
    codes = torch.tensor([3, 0, 0, 5, 1, 3])
    sqdist = (start.double() - book[codes].double()).square().sum(1)
    found = []
    for function in (committed, steps_apart):
        latents = start.clone().requires_grad_()
        vectors, loss, value = function(latents, book, codes, sqdist, 0.25)
        assert not value.requires_grad
        total = (vectors * weights).sum() if wanted != "loss" else 0.0
        total = total + loss if wanted != "vectors" else total
        (slope,) = torch.autograd.grad(total, latents, create_graph=True)
        if wanted == "again":
            (slope,) = torch.autograd.grad((slope * weights).sum(), latents)
        found.append((vectors, loss, value, slope))
    assert all(map(same_bits, found[0][:3], found[1][:3]))
    eps = torch.finfo(kind).eps if kind == torch.float16 else 0.0
    torch.testing.assert_close(found[0][3], found[1][3], rtol=2 * eps, atol=2 * eps)
    assert found[0][3].any()
