"""Bounds of an LSTM by the slopes of its gates hold, and stay small for long inputs."""

import math

import flint
import numpy as np
import pytest
import torch
from torch import nn

from certvq.network import capture
from certvq.network._bounded import Bounded, exact
from certvq.network._exact import exact_latents
from certvq.network._float64 import bounded_latents
from certvq.network._numbers import Balls
from certvq.network._source import Source
from certvq.network.rules import _recurrent
from certvq.network.rules._contraction import kernel_of


class Steps(nn.Module):
    """An LSTM along the places."""

    def __init__(self, seed, size, scale):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.lstm = nn.LSTM(size, size, batch_first=True).double()
        with torch.no_grad():
            for each in self.parameters():
                each.mul_(scale)

    def forward(self, x):
        return self.lstm(x.mT)[0].mT


def randoms(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def bounds_and_errors(module, x, off):
    """Return the bound of each step, and the true error where the input is off."""
    network = capture(module.eval(), x)
    given = Bounded(x, off.norm(dim=1, keepdim=True) * (1 + 2.0**-30), 1)
    found = bounded_latents(network, given)
    with flint.ctx.workprec(200):
        mask = np.ones(network.output.shape, bool)
        true = exact_latents(network, Source(x + off, 1), mask, Balls(200))
    true = torch.tensor([float(each.mid()) for each in true.flat]).double().reshape(x.shape)
    return found.error.reshape(-1), (true - found.value).norm(dim=1).reshape(-1)


@pytest.mark.slow
@pytest.mark.rows("seed", range(6))
@pytest.mark.rows("size", [1e-5, 1e-2])
def test_bounds_hold(seed, size, monkeypatch):
    """Weights up to three times those of torch, and errors whose squares count."""
    monkeypatch.setattr(_recurrent, "_GROWN", 0.0)
    x, off = randoms(seed, 1, 3, 8), randoms(seed + 9, 1, 3, 8)
    bounds, errors = bounds_and_errors(Steps(seed, 3, 1 + seed % 3), x, size * off)
    assert (errors <= bounds).all()


@pytest.mark.rows("sign", [-1, 1])
def test_the_bound_of_one_channel_is_sharp(sign, monkeypatch):
    """A cell that forgets little: f is 0.95, and only the first input is off."""
    monkeypatch.setattr(_recurrent, "_GROWN", 0.0)
    module = Steps(0, 1, 0.3)
    with torch.no_grad():
        module.lstm.bias_hh_l0[1] = 3.0
        module.lstm.weight_hh_l0[2] = sign
    x, off = randoms(3, 1, 1, 12), torch.zeros(1, 1, 12).double()
    off[0, 0, 0] = 1e-4
    bounds, errors = bounds_and_errors(module, x, off)
    assert (errors <= bounds).all()
    assert (bounds / errors).max() < 2.0


def test_norms_of_a_kernel_are_upper_bounds():
    matrix = randoms(4, 5, 5)
    kernel = kernel_of(matrix)
    assert torch.linalg.matrix_norm(matrix, 2) <= kernel.norm <= 1.1 * kernel.size
    assert torch.linalg.matrix_norm(matrix.abs(), 2) <= kernel.size


@pytest.mark.slow
def test_long_inputs_keep_small_bounds(monkeypatch):
    """200 steps of 16 channels, where norms alone give no bound at all."""
    x = randoms(1, 1, 16, 200)
    network = capture(Steps(0, 16, 1.0).eval(), x)
    assert bounded_latents(network, exact(x)).error.max() < 1e-9
    monkeypatch.setattr(_recurrent, "_GROWN", math.inf)
    assert bounded_latents(network, exact(x)).error.max() == math.inf
