"""The norm of a convolution as a map of all places at once.

In: a kernel. Out: an upper bound of the factor by which the Euclidean norm of all places together
can grow. A convolution of infinitely many places multiplies the Fourier transform of its input, at
each frequency, by the *symbol* ``P(a) = sum_t W_t exp(i t a)``. So its norm is the greatest
spectral norm of a symbol (Parseval). Zeros around an image, and places without a window, only make
it less. With a stride s, the s phases of the input are channels of a convolution of stride 1.

The greatest norm is found on a grid. ``Re(u* P(a) v)`` is along each axis a trigonometric
polynomial of degree ``d = (k - 1) / 2``, the frequencies of k taps counted from their middle. Such
a polynomial of greatest size M, which it has at a0, is at least ``M cos(d (a - a0))`` as far as
``pi / d`` from there (M. Riesz). A grid of n equal steps has a point within ``pi / n``. So M is at
most the greatest value on the grid, divided by ``cos(d pi / n)`` for each axis.

References:
    Sedghi, Gupta, Long, "The singular values of convolutional layers", 2019.
    Pfister, Bresler, "Bounding multivariate trigonometric polynomials", 2019, section III.
"""

import itertools
import math

import torch
from torch.nn import functional

from certvq.bounds import UNIT_ROUNDOFF
from certvq.network._bounded import Bounded
from certvq.network._bounds import enlargement, norm_upper, spectral_norm_upper
from certvq.network._wide import nearest
from certvq.network.rules._windows import Windows

_STEPS = 4
"""Steps of the grid for each tap of an axis. The bound is then at most 1.09 times too large for
each axis, and 1.04 times for 3 taps. Chosen."""

_AT_ONCE = 1 << 16
"""Numbers of the symbols that are worked on at a time, 512 KiB. Chosen."""


def convolution_norm_upper(weight: Bounded, windows: Windows, groups: int) -> torch.Tensor:
    """Bound the norm of a convolution as a map of all places.

    Args:
        weight: (outputs, inputs / groups, *kernel); its error, and the low parts of
            pairs, are not counted.
        windows: its strides and dilations.
        groups: with a block of the outputs each.

    Returns:
        A number, found once for each kernel.
    """
    key = (convolution_norm_upper, windows.stride, windows.dilation, groups)
    if key not in weight.memory:
        weight.memory[key] = _norm(_phases(nearest(weight.value), windows), groups)
    return weight.memory[key]


def _phases(kernel: torch.Tensor, windows: Windows) -> torch.Tensor:
    """Return the kernel of stride 1 whose channels are the phases of the input.

    A dilation d makes ``P(d a)`` of ``P(a)``, which has the same greatest norm. With a stride too,
    the norm for stride 1 is taken, which is not less.
    """
    if max(windows.dilation) > 1:
        return kernel
    ends = [(0, -size % s) for size, s in zip(windows.kernel, windows.stride, strict=True)]
    kernel = functional.pad(kernel, [each for pair in reversed(ends) for each in pair])
    for axis, step in enumerate(windows.stride, start=2):
        kernel = kernel.unflatten(axis, (-1, step)).movedim(axis + 1, 2).flatten(1, 2)
    return kernel


def _norm(kernel: torch.Tensor, groups: int) -> torch.Tensor:
    """Bound the greatest norm of a symbol of a kernel (outputs, inputs, *taps)."""
    taps = kernel.flatten(2).movedim(2, 0).unflatten(1, (groups, -1))
    sizes = tuple(kernel.shape[2:])
    if len(taps) == 1:
        return spectral_norm_upper(taps[0]).amax()
    steps = [_STEPS * size if size > 1 else 1 for size in sizes]
    angles = _half(steps)
    phases = torch.tensor(
        [[_angle(place, tap, steps) for tap in itertools.product(*map(range, sizes))]
         for place in angles],
        dtype=torch.float64,
    )  # fmt: skip
    waves = torch.stack([phases.cos(), phases.sin()])
    flat = taps.flatten(1)
    width = max(1, _AT_ONCE // (4 * flat.shape[1]))
    most = taps.new_zeros(())
    for start in range(0, len(angles), width):
        real, imaginary = (
            (part @ flat).reshape(-1, *taps.shape[2:]) for part in waves[:, start : start + width]
        )
        above, below = torch.cat([real, -imaginary], 2), torch.cat([imaginary, real], 2)
        most = torch.maximum(most, spectral_norm_upper(torch.cat([above, below], 1)).amax())
    slack = (256.0 + 4.0 * len(taps)) * UNIT_ROUNDOFF * norm_upper(taps, (2, 3)).sum(0).amax()
    degrees = [(size - 1) / 2.0 for size in sizes]
    factor = math.prod(1.0 / math.cos(d * math.pi / n) for d, n in zip(degrees, steps, strict=True))
    return (most + slack) * (factor * enlargement(len(taps) + 16))


def _half(steps: list[int]) -> list[tuple[int, ...]]:
    """Return the places of the grid, one of each pair of opposite ones.

    The symbols of real kernels at opposite frequencies are conjugate, of the same norm.
    """
    grid = itertools.product(*map(range, steps))
    return [
        place for place in grid if place <= tuple(-i % n for i, n in zip(place, steps, strict=True))
    ]


def _angle(place: tuple[int, ...], tap: tuple[int, ...], steps: list[int]) -> float:
    turns = [(i * t % n) / n for i, t, n in zip(place, tap, steps, strict=True)]
    return 2.0 * math.pi * sum(turns)
