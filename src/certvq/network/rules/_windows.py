"""Windows that slide over the places of a tensor, in any number of axes.

In: kernel size, stride, padding, dilation. Out: views of windows, and which places each covers.
Must not compute.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from certvq.network._region import Region

Padding = tuple[tuple[int, int], ...]
"""Places added before and after, along each axis."""


@dataclass(frozen=True)
class Windows:
    """Where windows are; each tuple has an entry for each axis of places.

    Attributes:
        kernel: places in a window.
        stride: from one window to the next.
        padding: places added before and after.
        dilation: from one place of a window to the next.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Padding
    dilation: tuple[int, ...]

    @property
    def taps(self) -> int:
        """Number of places in a window."""
        return math.prod(self.kernel)

    @property
    def plain(self) -> bool:
        """Whether each window is one place, and each place one window."""
        ones = {*self.kernel, *self.stride}
        return ones == {1} and not any(map(any, self.padding))

    def pad(self, tensor: torch.Tensor, fill: float) -> torch.Tensor:
        """Add places to (B, C, *places)."""
        if not any(map(any, self.padding)):
            return tensor
        flat = [each for pair in reversed(self.padding) for each in pair]
        return functional.pad(tensor, flat, value=fill)

    def count(self, places: tuple[int, ...]) -> tuple[int, ...]:
        """Return the number of windows along each axis."""
        sizes = zip(places, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return tuple((p + sum(pad) - d * (k - 1) - 1) // s + 1 for p, k, s, pad, d in sizes)

    def within(self, places: tuple[int, ...], part: Region) -> tuple[Region, Padding] | None:
        """Return which places some windows cover, and the padding that these then have.

        Args:
            places: how many there are along each axis.
            part: first window and the one after the last along each axis.

        Returns:
            Both for each axis, or None where windows cover padding alone.
        """
        covered: list[tuple[int, int]] = []
        padding: list[tuple[int, int]] = []
        axes = zip(places, part, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        for size, (start, end), kernel, stride, (before, _), dilation in axes:
            first = start * stride - before
            last = (end - 1) * stride - before + dilation * (kernel - 1) + 1
            covered.append((max(first, 0), min(last, size)))
            padding.append((max(-first, 0), max(last - size, 0)))
        if any(first >= last for first, last in covered):
            return None
        return tuple(covered), tuple(padding)

    def view(self, padded: torch.Tensor) -> torch.Tensor:
        """Return (B, C, *kernel, *windows), sharing the memory of a padded tensor."""
        batch, channels, *places = padded.stride()
        inner = [stride * d for stride, d in zip(places, self.dilation, strict=True)]
        outer = [stride * s for stride, s in zip(places, self.stride, strict=True)]
        bare = Windows(self.kernel, self.stride, ((0, 0),) * len(places), self.dilation)
        shape = (*padded.shape[:2], *self.kernel, *bare.count(tuple(padded.shape[2:])))
        return padded.as_strided(shape, (batch, channels, *inner, *outer))

    def places(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the number of each place in each window, (taps, windows), -1 where added."""
        numbers = torch.arange(math.prod(shape), dtype=torch.float64).reshape(1, 1, *shape)
        windows = self.view(self.pad(numbers, -1.0))
        return windows.reshape(self.taps, -1).to(torch.int64).numpy()

    def covered(self, needed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return the places in needed windows, (B, places), given (B, windows)."""
        covered = np.zeros((len(needed), math.prod(shape)), bool)
        places = self.places(shape)
        for sample, windows in enumerate(needed):
            inside = places[:, windows]
            covered[sample, inside[inside >= 0]] = True
        return covered


def windows_of(
    kernel: tuple[int, ...], stride: object, padding: object, dilation: object
) -> Windows:
    """Return windows from the arguments of an operator, whose lists may have one entry for all.

    A padding may be a pair for each axis, before and after.
    """
    axes = len(kernel)
    steps = each_axis(stride, axes) or kernel
    apart = each_axis(dilation, axes)
    if isinstance(padding, str):
        same = padding == "same"
        total = [d * (k - 1) if same else 0 for d, k in zip(apart, kernel, strict=True)]
        pads = tuple((each // 2, each - each // 2) for each in total)
    else:
        ends = each_axis(padding, axes)
        pads = tuple((each, each) if isinstance(each, int) else tuple(each) for each in ends)
    return Windows(kernel, steps, pads, apart)


def each_axis(value: object, axes: int) -> tuple[Any, ...]:
    """Return one number for each axis, given these, a list of one, or a number."""
    if isinstance(value, (list, tuple)):
        return tuple(value) * (axes if len(value) == 1 else 1)
    return (int(value),) * axes  # pyright: ignore[reportArgumentType]
