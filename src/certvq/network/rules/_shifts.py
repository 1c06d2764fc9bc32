"""Products of a kernel with all windows, without copies of the windows.

In: a tensor, a kernel, and where windows are. Out: the products, sums by ``torch.matmul`` in any
order. Places at the distance of a stride make a phase; within a phase, the windows' entries at one
tap are a shifted view of the places, so that each tap is a matrix product with a view. Must not
know bounds.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from certvq.network._threads import each_alone
from certvq.network.rules._windows import Windows

_BLOCK = 1 << 18
"""Numbers of operands and results that are worked on at a time: 2 MiB, to stay in cache. Chosen."""


@dataclass(frozen=True)
class Grid:
    """Phases of padded places, laid out so that each tap is a shift.

    Attributes:
        sizes: places of a phase along each axis.
        shifts: for each tap, in row order, the number of its phase and its shift.
        phases: offsets of the phases along each axis, those that are used.
    """

    sizes: tuple[int, ...]
    shifts: tuple[tuple[int, int], ...]
    phases: tuple[tuple[int, ...], ...]

    def offsets(self, channels: int) -> torch.Tensor:
        """Return for each tap of each channel, (channels taps,), the first entry of its view."""
        length = math.prod(self.sizes)
        taps = torch.tensor([phase * channels * length + shift for phase, shift in self.shifts])
        return (torch.arange(channels)[:, None] * length + taps).flatten()


def multiply_windows(
    windows: Windows,
    given: torch.Tensor,
    weight: torch.Tensor,
    groups: int,
    *,
    apart: bool = False,
) -> torch.Tensor:
    """Return the products of a kernel with all windows, (B, outputs, *windows).

    Args:
        windows: where they are; places that they add hold 0.
        given: (B, C, *places).
        weight: (outputs, C / groups, *kernel).
        groups: with a block of the outputs and of the channels each.
        apart: whether the sum of each matrix product is finished before it is added, which takes a
            tenth longer and rounds each number less often (`additions`).
    """
    batch, channels, *places = given.shape
    count = windows.count(tuple(places))
    if windows.plain:
        flat = given.reshape(batch, groups, channels // groups, -1)
        kernel = weight.reshape(groups, weight.shape[0] // groups, -1)
        return (kernel @ flat).reshape(batch, -1, *count)
    grid = _grid(windows, tuple(places))
    phases = _phases(windows, grid, given.reshape(batch, groups, -1, *places))
    steps = tuple(math.prod(grid.sizes[axis + 1 :]) for axis in range(len(count)))
    length = sum((n - 1) * step for n, step in zip(count, steps, strict=True)) + 1
    result = given.new_empty(batch, groups, weight.shape[0] // groups, count[0] * steps[0])
    products = list(_products(weight, grid, groups))
    count_of_blocks = -(-length // max(64, _BLOCK // (phases.shape[2] + result.shape[2])))
    if count_of_blocks > 1:
        count_of_blocks += count_of_blocks % 2  # so that two threads have as much to do
    width = -(-length // count_of_blocks)

    def work(block: tuple[int, int]) -> None:
        sample, start = block
        target = result[sample, :, :, start : min(start + width, length)]
        _accumulate(target, phases[sample], products, start, apart=apart)

    each_alone(work, list(itertools.product(range(batch), range(0, length, width))))
    shape = (batch, weight.shape[0], count[0], *grid.sizes[1:])
    inside = tuple(slice(n) for n in count)
    return result.reshape(shape)[(slice(None), slice(None), *inside)]


def additions(windows: Windows, channels: int, *, apart: bool) -> int:
    """Return how many numbers at most are added one after another for an entry of the product.

    Args:
        windows: where they are.
        channels: of a group.
        apart: see `multiply_windows`. A matrix product has then the channels of at most all phases,
            and there are as many products as taps at most.
    """
    phases = math.prod(map(min, windows.kernel, windows.stride))
    whole = channels * windows.taps
    return min(whole, channels * phases + windows.taps) if apart else whole


def sum_windows(windows: Windows, given: torch.Tensor) -> torch.Tensor:
    """Return the sums of all windows, (B, C, *windows), one axis after another.

    Args:
        windows: where they are; places that they add hold 0.
        given: (B, C, *places).
    """
    result = windows.pad(given, 0.0)
    sizes = zip(windows.kernel, windows.stride, windows.dilation, strict=True)
    for axis, (kernel, stride, dilation) in enumerate(sizes, start=2):
        last = result.shape[axis] - dilation * (kernel - 1)
        before = (slice(None),) * axis
        parts = [
            result[(*before, slice(tap * dilation, tap * dilation + last, stride))]
            for tap in range(kernel)
        ]
        result = parts[0].clone()
        for each in parts[1:]:
            result += each
    return result


def _accumulate(
    target: torch.Tensor,
    phases: torch.Tensor,
    products: list[tuple[torch.Tensor, slice, int]],
    start: int,
    *,
    apart: bool,
) -> None:
    """Sum up the products of all taps for a block of windows."""
    product = torch.empty_like(target) if apart else target
    for number, (kernel, rows, shift) in enumerate(products):
        view = phases[:, rows, start + shift : start + shift + target.shape[2]]
        if not number:
            torch.bmm(kernel, view, out=target)
        elif apart:
            target += torch.bmm(kernel, view, out=product)
        else:
            torch.baddbmm(target, kernel, view, out=target)


def _products(
    weight: torch.Tensor, grid: Grid, groups: int
) -> Iterator[tuple[torch.Tensor, slice, int]]:
    """Yield kernels (groups, outputs, rows), the rows of phases, and the shift.

    Taps of one shift whose phases follow one another are one product.
    """
    blocks = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    inputs = weight.shape[1]
    order = sorted(range(len(grid.shifts)), key=lambda tap: grid.shifts[tap][::-1])
    runs: list[list[int]] = []
    for tap in order:
        phase, shift = grid.shifts[tap]
        if runs and grid.shifts[runs[-1][-1]] == (phase - 1, shift):
            runs[-1].append(tap)
        else:
            runs.append([tap])
    for run in runs:
        first, shift = grid.shifts[run[0]]
        kernel = blocks[..., run].transpose(2, 3).reshape(groups, blocks.shape[1], -1)
        yield kernel.contiguous(), slice(first * inputs, (first + len(run)) * inputs), shift


def _grid(windows: Windows, places: tuple[int, ...]) -> Grid:
    count = windows.count(places)
    spans = [
        (n - 1) + d * (k - 1) // s + 1
        for n, k, s, d in zip(count, windows.kernel, windows.stride, windows.dilation, strict=True)
    ]
    steps = [math.prod(spans[axis + 1 :]) for axis in range(len(spans))]
    taps = [
        [divmod(d * i, s) for i in range(k)]
        for k, s, d in zip(windows.kernel, windows.stride, windows.dilation, strict=True)
    ]
    whole = list(itertools.product(*taps))
    phases = sorted({tuple(rest for _, rest in tap) for tap in whole})
    numbers = {phase: number for number, phase in enumerate(phases)}
    shifts = tuple(
        (
            numbers[tuple(rest for _, rest in tap)],
            sum(quotient * step for (quotient, _), step in zip(tap, steps, strict=True)),
        )
        for tap in whole
    )
    return Grid(tuple(spans), shifts, tuple(phases))


def phases_of(windows: Windows, given: torch.Tensor) -> tuple[torch.Tensor, Grid]:
    """Lay places out so that each tap is a shift.

    Args:
        windows: where windows are.
        given: (B, groups, C, *places).

    Returns:
        (B, groups, phases C, places of a phase), 0 where places were added, and the layout.
    """
    grid = _grid(windows, tuple(given.shape[3:]))
    return _phases(windows, grid, given), grid


def _phases(windows: Windows, grid: Grid, given: torch.Tensor) -> torch.Tensor:
    """Return (B, groups, phases C, places of a phase), 0 where places were added.

    Args:
        windows: where windows are.
        grid: of them.
        given: (B, groups, C, *places).
    """
    batch, groups, channels, *places = given.shape
    if len(grid.phases) == 1 and grid.sizes == tuple(places):
        return given.reshape(batch, groups, channels, -1)
    result = given.new_zeros(batch, groups, len(grid.phases), channels, *grid.sizes)
    for number, phase in enumerate(grid.phases):
        ranges = [
            _range(rest, before, stride, size, span)
            for rest, (before, _), stride, size, span in zip(
                phase, windows.padding, windows.stride, places, grid.sizes, strict=True
            )
        ]
        source = (..., *(each for each, _ in ranges))
        result[:, :, number][(..., *(each for _, each in ranges))] = given[source]
    return result.reshape(batch, groups, len(grid.phases) * channels, -1)


def _range(rest: int, before: int, stride: int, size: int, span: int) -> tuple[slice, slice]:
    """Return which places of an axis are in a phase, and where they go.

    Place i of the input is place ``i + before`` of the padded axis, which is place q of the phase
    if ``i + before = stride q + rest``.
    """
    first = max(0, -((rest - before) // stride))
    start = stride * first + rest - before
    kept = max(0, min(span - first, -((start - size) // stride)))
    return slice(start, start + stride * kept, stride), slice(first, first + kept)
