"""What does not depend on the input is computed once, exactly, or left to the rules."""

import pytest
import torch
from torch import nn

from certvq.errors import CaptureError
from certvq.network import capture
from certvq.network._bounded import exact
from certvq.network._float64 import bounded_latents

X = torch.zeros(1, 2, 9)


class Of(nn.Module):
    def __init__(self, function, **stored):
        super().__init__()
        self.function = function
        for name, tensor in stored.items():
            self.register_buffer(name, tensor)

    def forward(self, x):
        return self.function(self, x)


def captured(function, **stored):
    return capture(Of(function, **stored).eval(), X)


def operators(network):
    return [step.operator for step in network.steps]


def padded(module, x):
    """A padding to a multiple of a stride that is a tensor, as codecs of transformers have it."""
    frames = torch.ceil(x.shape[-1] / module.stride).to(torch.int64)
    return nn.functional.pad(x, (0, frames * module.stride - x.shape[-1]))


def test_a_padding_may_be_computed_of_stored_integers():
    module = Of(padded, stride=torch.tensor(4)).eval()
    stride = module.stride
    network = capture(module, X)
    assert (network.output.shape, operators(network)) == ((1, 2, 12), ["pad.default"])
    assert not network.constants
    assert module.stride is stride
    module.stride = torch.tensor(5)
    assert capture(module, X).output.shape == (1, 2, 10)


def test_tensors_are_put_back_when_a_capture_fails():
    def fails(module, x):
        assert module.stride is not stride
        raise ValueError

    module = Of(fails, stride=torch.tensor(4)).eval()
    stride = module.stride
    with pytest.raises(CaptureError, match="ValueError"):
        capture(module, X)
    assert module.stride is stride


def test_what_the_output_does_not_need_is_no_obstacle():
    def idle(module, x):
        torch.randn_like(x).cumsum(1)
        return x + module.held

    network = captured(idle, held=torch.ones(9))
    assert operators(network) == ["add.Tensor"]


@pytest.mark.rows(
    ("function", "expected"),
    [
        (lambda _: torch.arange(9).diff().cumsum(0), [*range(1, 9)]),
        (lambda _: torch.zeros(2).masked_fill(torch.arange(2) > 0, 0.1).double(), [0.0, 0.1]),
        (lambda _: torch.full((2,), 0.1).half(), [float(torch.tensor(0.1))] * 2),
        (lambda m: torch.full_like(m.held, 3), [3.0, 3.0]),
        (lambda m: (m.held > 0).to(torch.float32), [1.0, 0.0]),
    ],
)
def test_constants_are_exact(function, expected):
    """No cast rounds: 0.1 of float32 stays what it is in float16."""
    held = torch.tensor([2.0, -1.0])
    network = captured(lambda module, x: x[..., :1] * function(module), held=held)
    assert operators(network) == ["slice.Tensor", "mul.Tensor"]
    (constant,) = network.constants.values()
    assert constant.tolist() == expected


def test_what_could_overflow_or_round_is_left_to_the_rules():
    large = torch.tensor([2**40, 3])
    with pytest.raises(CaptureError, match=r"mul.Tensor .* makes torch.int64"):
        captured(lambda module, x: x[..., :2] + module.held * module.held, held=large)
    thirds = captured(lambda module, x: x + torch.full((9,), 0.1) * 3)
    assert operators(thirds) == ["mul.Tensor", "add.Tensor"]


@pytest.mark.rows(
    ("function", "expected"),
    [
        (lambda _, x: x + torch.arange(9) * 0.1, [0.1 * i for i in range(9)]),
        (lambda _, x: x + torch.where(torch.arange(9) > 7, 0.1, 0.3), [0.3] * 8 + [0.1]),
        (lambda _, x: x + torch.full_like(x, 0.1), [0.1] * 9),
        (
            lambda _, x: x + torch.ones_like(x).masked_fill(torch.arange(9) > 7, 0.1),
            [1.0] * 8 + [0.1],
        ),
    ],
)
def test_decimals_are_those_of_float64_in_any_precision(function, expected):
    """Where torch has float32, it rounds them to that; a float64 copy would have other numbers."""
    found = bounded_latents(captured(function), exact(X))
    assert found.value[0, 0].tolist() == expected
