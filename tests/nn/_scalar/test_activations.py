"""Cumulative distribution functions: their inverses, their variances, their ends."""

import math

import pytest
import torch

from certvq.errors import OptionError
from certvq.nn._scalar.activations import ACTIVATIONS, find_activation

every = pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS.keys())


@every
def test_the_inverse_undoes_it(activation):
    z = torch.linspace(-5, 5, 101, dtype=torch.float64)
    torch.testing.assert_close(activation.inverse(activation.forward(z)), z, rtol=1e-9, atol=1e-9)


@every
def test_gradients_are_the_slopes_also_in_the_middle(activation):
    for map_, middle in ((activation.forward, 0.0), (activation.inverse, 0.5)):
        points = torch.tensor([-0.3, 0.0, 0.3], dtype=torch.float64) + middle
        points.requires_grad_()
        (found,) = torch.autograd.grad(map_(points).sum(), points)
        slopes = (map_(points + 1e-7) - map_(points - 1e-7)) / 2e-7
        torch.testing.assert_close(found, slopes, rtol=1e-6, atol=1e-6)


@every
def test_it_rises_from_0_to_1_through_a_half(activation):
    z = torch.linspace(-50, 50, 5001, dtype=torch.float32)
    p = activation.forward(z)
    assert (p.diff() >= 0).all()
    assert activation.forward(torch.zeros(1)).item() == 0.5
    assert ((p >= 0) & (p <= 1)).all()
    ends = activation.forward(torch.tensor([-1e30, 1e30]))
    # atan(1e30) / pi + 1/2 is 1 to within an ulp
    torch.testing.assert_close(ends, torch.tensor([0.0, 1.0]), rtol=0, atol=2.0**-24)


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "cauchy"])
def test_the_variance_is_that_of_the_distribution(name):
    """Of the quantiles at a million midpoints; the tails beyond them hold under 1e-4 of it."""
    count = 1_000_000
    p = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    variance = ACTIVATIONS[name].inverse(p).square().mean().item()
    assert variance == pytest.approx(ACTIVATIONS[name].variance, rel=3e-4)
    assert ACTIVATIONS["cauchy"].variance == math.inf


def test_an_unknown_name_is_named():
    with pytest.raises(OptionError, match="activation must be one of 'tanh', .*; got 'relu'"):
        find_activation("relu")
