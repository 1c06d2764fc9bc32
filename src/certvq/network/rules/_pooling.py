"""Pooling: the mean or the maximum of a window, channel by channel.

In: arguments. Out: values with bounds. A mean of n errors is at most their mean norm; the maximum
of entries errs by at most the greatest of their errors, hence by the root of the sum of squares of
the norms. Both are maps of slope 1 (`error_comp_le`, `taps_error_le`).
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from certvq.network._bounded import Bounded, along
from certvq.network._bounds import FLOOR, enlargement, norm_upper
from certvq.network._graph import Ref
from certvq.network._numbers import Numbers
from certvq.network._wide import rounding
from certvq.network.rules._rule import Arguments, Mask, Objects, Rule, tensor_entries
from certvq.network.rules._windows import Windows, windows_of


class Pooling(Rule):
    """A window of each channel; what all kinds of pooling share.

    Args:
        axes: of places.
    """

    rational = True
    samples = "self"

    def __init__(self, axes: int) -> None:
        self.axes = axes

    def refusal(self, arguments: Arguments) -> str:
        """Refuse sizes that are rounded up, and inputs without a batch axis."""
        if arguments.get("ceil_mode"):
            return "with ceil_mode=True"
        given: Ref = arguments["self"]
        if len(given.shape) != self.axes + 2:
            return f"of an input without a batch axis, of shape {given.shape}"
        return ""

    def windows(self, arguments: Arguments, places: tuple[int, ...]) -> Windows:
        """Return the windows of an input."""
        del places
        kernel = tuple(arguments["kernel_size"]) * (
            self.axes if len(arguments["kernel_size"]) == 1 else 1
        )
        stride = arguments.get("stride") or kernel
        return windows_of(kernel, stride, arguments["padding"], arguments.get("dilation", 1))

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """Each window needs the places that it covers, in its channel."""
        given: Ref = arguments["self"]
        places = given.shape[2:]
        needed = mask.reshape(mask.shape[0] * mask.shape[1], -1)
        yield given, self.windows(arguments, places).covered(needed, places).reshape(given.shape)

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:
        """Reduce the windows that are needed."""
        given: Objects = arguments["self"]
        places = self.windows(arguments, given.shape[2:]).places(given.shape[2:])
        flat = given.reshape(given.shape[0] * given.shape[1], -1)
        rows, columns = np.nonzero(mask.reshape(len(flat), -1))
        entries = (
            self.reduce(numbers, flat[row, covered[covered >= 0]], arguments, len(covered))
            for row, covered in zip(rows, places[:, columns].T, strict=True)
        )
        return tensor_entries(mask, entries)

    def reduce(self, numbers: Numbers, entries: Objects, arguments: Arguments, taps: int) -> Any:
        """Return the number of a window, given its entries without padding."""
        raise NotImplementedError

    def _fields(self, windows: Windows, tensor: torch.Tensor, fill: float) -> torch.Tensor:
        """Return (B, C, taps, *windows)."""
        view = windows.view(windows.pad(tensor.contiguous(), fill))
        return view.flatten(2, 1 + self.axes)


class AveragePooling(Pooling):
    """The mean of each window."""

    def refusal(self, arguments: Arguments) -> str:
        """Refuse means that leave the padding out."""
        windows = super().refusal(arguments)
        padded = any(arguments["padding"]) if isinstance(arguments.get("padding"), list) else False
        if padded and not arguments.get("count_include_pad", True):
            return "with padding and count_include_pad=False"
        return windows

    def bounded(self, arguments: Arguments) -> Bounded:
        """Add, divide once, and take the mean of the bounds."""
        given = along(arguments["self"], 1)
        windows = self.windows(arguments, tuple(given.value.shape[2:]))
        divisor = self.divisor(arguments, windows.taps)
        value = self._fields(windows, given.value, 0.0).sum(2) / divisor
        sizes = norm_upper(given.value, (1,))
        error = given.error + rounding(value, windows.taps + 2) * sizes
        error = self._fields(windows, error, 0.0).sum(2) / divisor
        return Bounded(value, error * enlargement(windows.taps + 8) + FLOOR, 1)

    def divisor(self, arguments: Arguments, taps: int) -> int:
        """Return what sums are divided by."""
        return int(arguments.get("divisor_override") or taps)

    def reduce(self, numbers: Numbers, entries: Objects, arguments: Arguments, taps: int) -> Any:
        """Add and divide."""
        total = sum(entries, numbers.number(0.0))
        return total / numbers.number(float(self.divisor(arguments, taps)))


class AdaptivePooling(AveragePooling):
    """The mean of windows that divide the input evenly."""

    def refusal(self, arguments: Arguments) -> str:
        """Refuse sizes that do not divide the input."""
        given: Ref = arguments["self"]
        sizes = list(zip(given.shape[-self.axes :], arguments["output_size"], strict=True))
        if any(places % parts for places, parts in sizes):
            return f"from {given.shape[2:]} to {arguments['output_size']}, which does not divide it"
        return super().refusal(arguments)

    def windows(self, arguments: Arguments, places: tuple[int, ...]) -> Windows:
        """Divide the places evenly."""
        sizes = zip(places, arguments["output_size"], strict=True)
        kernel = tuple(place // parts for place, parts in sizes)
        return windows_of(kernel, kernel, 0, 1)


class MaximumPooling(Pooling):
    """The maximum of each window; padding never wins."""

    def bounded(self, arguments: Arguments) -> Bounded:
        """Compare without rounding."""
        given = along(arguments["self"], 1)
        windows = self.windows(arguments, tuple(given.value.shape[2:]))
        value = self._fields(windows, given.value, -math.inf).amax(2)
        errors = self._fields(windows, given.error, 0.0)
        return Bounded(value, norm_upper(errors, (2,)).squeeze(2), 1)

    def reduce(self, numbers: Numbers, entries: Objects, arguments: Arguments, taps: int) -> Any:
        """Compare one after another."""
        del arguments, taps
        greatest = entries[0]
        for each in entries[1:]:
            greatest = numbers.greater(greatest, each)
        return greatest


RULES: dict[str, Rule] = {
    **{f"avg_pool{axes}d.default": AveragePooling(axes) for axes in (1, 2, 3)},
    **{f"max_pool{axes}d.default": MaximumPooling(axes) for axes in (1, 2, 3)},
    **{f"max_pool{axes}d_with_indices.default": MaximumPooling(axes) for axes in (1, 2, 3)},
    **{f"adaptive_avg_pool{axes}d.default": AdaptivePooling(axes) for axes in (1, 2, 3)},
}
