"""Where the parts of a Snake or a SiLU are one operator, and where they stay apart."""

import pytest
import torch
from torch import nn

from certvq.network import capture
from certvq.network._fused import fused
from certvq.network.rules._snake import SNAKE


class Of(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.alpha = nn.Parameter(torch.ones(1, 2, 1), requires_grad=False)

    def forward(self, x):
        return self.function(x, self.alpha)


def operators(function):
    network = capture(Of(function).eval(), torch.zeros(1, 2, 4))
    assert fused(list(network.steps), network.constants) == list(network.steps)
    return [step.operator for step in network.steps]


def used_twice(x, a):
    square = torch.sin(a * x).pow(2)
    return x + square * a + square


@pytest.mark.rows(
    "function",
    [
        lambda x, a: x + a.reciprocal() * torch.sin(a * x).pow(2),
        lambda x, a: torch.sin(x * a).pow(2) * a.reciprocal() + x,
    ],
)
def test_a_snake_is_one_operator(function):
    assert operators(function) == ["reciprocal.default", SNAKE]


@pytest.mark.rows(
    "function",
    [
        used_twice,
        lambda x, a: 2 * x + a * torch.sin(a * x).pow(2),
        lambda x, a: torch.add(x, a * torch.sin(a * x).pow(2), alpha=2),
        lambda x, a: x + a * torch.sin(x * x).pow(2),
        lambda x, a: x + 3 * torch.sin(a * x).pow(2),
        lambda x, a: x[:, :1] + a * torch.sin(a * x[:, :1]).pow(2),
    ],
)
def test_what_is_no_snake_stays_apart(function):
    assert SNAKE not in operators(function)


def test_a_number_times_its_sigmoid_is_one_operator():
    assert operators(lambda x, _: x * torch.sigmoid(x)) == ["silu.default"]
    assert operators(lambda x, _: torch.sigmoid(x) * x) == ["silu.default"]


@pytest.mark.rows(
    "function",
    [
        lambda x, a: x * torch.sigmoid(a * x),
        lambda x, _: (gate := torch.sigmoid(x)) + x * gate,
        lambda x, _: x * torch.tanh(x),
    ],
)
def test_what_is_no_silu_stays_apart(function):
    assert "silu.default" not in operators(function)


def rms(x, a, eps=1e-6, axis=-1):
    wide = x.to(torch.float64)
    return a * (wide * torch.rsqrt(wide.pow(2).mean(axis, keepdim=True) + eps)).to(x.dtype)


def test_a_written_out_rms_norm_is_one_operator():
    """Casts on the way do not matter; another axis, or another eps, makes another function."""
    assert "rms_norm.default" in operators(rms)
    for other in (
        lambda x, a: rms(x, a, axis=1),
        lambda x, a: rms(x, a, eps=a),
        lambda x, a: x * torch.rsqrt((2 * x).pow(2).mean(-1, keepdim=True) + 1e-6),
    ):
        assert "rms_norm.default" not in operators(other)
