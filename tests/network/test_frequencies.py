"""The norm of a convolution as a map of all places: that of its symbols, and not far above."""

import itertools
import math

import pytest
import torch

from certvq.network._bounded import exact
from certvq.network.rules._frequencies import convolution_norm_upper
from certvq.network.rules._windows import windows_of

RANDOM = torch.Generator().manual_seed(0)


def kernel(*shape):
    return torch.randn(*shape, generator=RANDOM).double()


def greatest(weight, stride, dilation, groups, steps=48):
    """Return the greatest norm of a symbol on a fine grid, channels times phases to outputs."""
    axes = weight.ndim - 2
    most = 0.0
    for place in itertools.product(*(range(steps) for _ in range(axes))):
        phases = {}
        for tap in itertools.product(*map(range, weight.shape[2:])):
            spread = [t * dilation for t in tap]
            phase = tuple(t % stride for t in spread)
            turn = sum(i * (t // stride) for i, t in zip(place, spread, strict=True)) / steps
            wave = complex(math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn))
            matrix = weight[(slice(None), slice(None), *tap)] * wave
            phases[phase] = phases.get(phase, 0) + matrix
        whole = torch.cat(list(phases.values()), 1).unflatten(0, (groups, -1))
        most = max(most, float(torch.linalg.matrix_norm(whole, 2).max()))
    return most


@pytest.mark.parametrize(
    ("weight", "stride", "dilation", "groups"),
    [
        (kernel(4, 3, 7), 1, 1, 1),
        (kernel(4, 3, 8), 4, 1, 1),
        (kernel(4, 2, 3), 1, 3, 2),
        (kernel(3, 4, 3, 3), 1, 1, 1),
        (kernel(3, 4, 3, 3), 2, 1, 1),
        (kernel(4, 1, 3, 2), 1, 2, 4),
        (torch.ones(1, 1, 3, 3).double(), 1, 1, 1),
        (kernel(5, 6, 1, 1), 1, 1, 1),
        (kernel(5, 6, 1, 1), 2, 1, 1),
        (torch.zeros(2, 2, 3).double(), 1, 1, 1),
        (kernel(2, 2, 3) * 1e-200, 1, 1, 1),
    ],
)
def test_the_norm_is_that_of_the_worst_frequency(weight, stride, dilation, groups):
    axes = weight.ndim - 2
    windows = windows_of(tuple(weight.shape[2:]), [stride], [0], [dilation])
    upper = float(convolution_norm_upper(exact(weight), windows, groups))
    true = greatest(weight, stride, dilation, groups)
    assert upper >= true
    assert upper <= 1.1 * 1.085**axes * true + 1e-70


def test_the_worst_frequency_may_lie_between_those_of_the_grid():
    """Rotations by half a step of the grid for each tap: the bound needs the cosine."""
    turns = torch.arange(3).double() * math.pi / 12
    rows = [torch.stack([turns.cos(), turns.sin()]), torch.stack([-turns.sin(), turns.cos()])]
    weight = torch.stack(rows)
    upper = float(convolution_norm_upper(exact(weight), windows_of((3,), [1], [0], [1]), 1))
    assert 3.0 - 1e-12 <= greatest(weight, 1, 1, 1) <= upper


def test_dilation_and_stride_together_are_bounded_by_those_of_stride_1():
    weight = kernel(3, 2, 3)
    upper = float(convolution_norm_upper(exact(weight), windows_of((3,), [2], [0], [2]), 1))
    assert upper >= greatest(weight, 2, 2, 1)
