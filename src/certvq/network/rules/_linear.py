"""Convolutions and linear layers.

In: arguments. Out: values with bounds. A window of T taps is ``y = sum_t W_t x_t + b``. With s_t at
least the spectral norm of W_t, an error e_t of x_t becomes at most ``sum_t s_t e_t``
(`taps_error_le`); a product of n terms rounds by ``gamma(n) sum |w| |x|``, whose norm is at most
``gamma(n) sum_t s(|W_t|) |x_t|`` (`dot_rounding_error_le`). The whole window is also one tap, and
the lesser of both bounds counts. How products are computed, and what they round, is in
`certvq.network.rules._products`; no algorithm of fewer multiplications is used.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch

from certvq.network._bounded import Bounded, along, entry_errors, whole_norm
from certvq.network._bounds import (
    FLOOR,
    NORM_FLOOR,
    absolute_norm_upper,
    enlargement,
    norm_upper,
    spectral_norm_upper,
)
from certvq.network._graph import Ref
from certvq.network._numbers import Numbers
from certvq.network._region import Part, Region, with_axes
from certvq.network._wide import Wide, nearest, rounding
from certvq.network.rules._frequencies import convolution_norm_upper
from certvq.network.rules._products import Rounding, matrix_product, windows_product
from certvq.network.rules._rule import Arguments, Mask, Objects, Rule
from certvq.network.rules._shifts import multiply_windows, sum_windows
from certvq.network.rules._windows import Windows, windows_of


@dataclass(frozen=True)
class Norms:
    """Upper bounds of spectral norms, for each tap and for the whole window.

    Attributes:
        weight: (T + 1,), of W_t; the last one is of the window.
        size: (T + 1,), of the matrix of absolute values.
        error: (T + 1,), of the error of W_t.
    """

    weight: torch.Tensor
    size: torch.Tensor
    error: torch.Tensor


def norms_of(weight: Bounded, groups: int) -> Norms:
    """Bound the spectral norms of the taps of a kernel.

    Args:
        weight: (outputs, inputs / groups, *kernel).
        groups: with a block of the outputs each; the norm is that of the greatest block.

    Returns:
        The bounds; found once for each kernel.
    """
    key = (Norms, groups)
    if key not in weight.memory:
        weight.memory[key] = _norms(weight, groups)
    return weight.memory[key]


def _norms(weight: Bounded, groups: int) -> Norms:
    value, low = nearest(weight.value), 0.0
    whole = _of_taps(value, groups, spectral_norm_upper)
    size = _of_taps(value, groups, absolute_norm_upper)
    errors = torch.zeros_like(whole)
    if weight.error.any():
        errors = _of_taps(entry_errors(weight), 1, _frobenius)
    if isinstance(weight.value, Wide):
        low = _of_taps(weight.value.low, 1, _frobenius)
    return Norms((whole + low) * enlargement(1), (size + low) * enlargement(1), errors)


def _frobenius(matrices: torch.Tensor) -> torch.Tensor:
    """Bound the norms of matrices by the root of the sum of all squares."""
    return norm_upper(matrices, (1, 2)).flatten()


def _of_taps(
    weight: torch.Tensor, groups: int, bound: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Bound the greatest matrix (outputs, inputs) of each tap, and of the window, of any group."""
    blocks = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    taps = [bound(each).amax(0) for each in blocks.unbind(3)]
    return torch.stack([*taps, bound(blocks.flatten(2)).amax(0)])


def error_of_convolution(
    norms: Norms, windows: Windows, given: Bounded, lost: Rounding
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bound the errors of all windows by convolutions of the bounds.

    Args:
        norms: of the kernel.
        windows: where they are.
        given: with bounds of the vectors at each place.
        lost: by the products; only what is relative counts.

    Returns:
        What becomes of the errors, (B, 1, *windows), and what weight and rounding add, which is the
        same for all windows where it is no more than underflow.
    """
    own = norms.error + lost.relative * norms.size
    rows, maps = [norms.weight + norms.error], [given.error]
    if own.any():
        rows.append(own)
        maps.append(_sizes(given))
    kernel = torch.stack(rows)
    taps = kernel[:, :-1].reshape(len(rows), 1, *windows.kernel)
    apart = multiply_windows(windows, torch.cat(maps, 1), taps, len(rows))
    window = kernel[:, -1].reshape(len(rows), *(1,) * len(windows.kernel))
    joint = window * (sum_windows(windows, torch.cat(maps, 1).square()).sqrt() + NORM_FLOOR)
    least = torch.minimum(apart, joint) * enlargement(2 * len(own) + 12) + FLOOR
    return least[:, :1], least[:, 1:] if own.any() else torch.tensor(FLOOR, dtype=torch.float64)


def with_bias(
    value: torch.Tensor, bias: Bounded | None, axis: int, lost: Rounding
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add a bias along an axis, and bound what that and `lost` add to errors of vectors.

    Where products are sums in float64 the bias is one more term of these, otherwise another sum.
    """
    local = lost.of_vectors(axis, value.shape[axis])
    if bias is not None:
        shape = [1] * value.ndim
        shape[axis] = -1
        value += bias.value.reshape(shape)
        size = norm_upper(bias.value, (0,))
        local = local + norm_upper(entry_errors(bias), (0,)) + (lost.relative + lost.last) * size
    unit = lost.last
    if bias is not None and not lost.relative:
        unit = unit + rounding(value)
    if unit:
        local = local + unit * norm_upper(value, (axis,))
    return value, local * enlargement(6)


class Convolution(Rule):
    """A convolution in any number of axes."""

    rational = True

    def refusal(self, arguments: Arguments) -> str:
        """Refuse inputs without a batch axis."""
        given, weight = arguments["input"], arguments["weight"]
        if len(given.shape) != len(weight.shape):
            return f"of an input without a batch axis, of shape {given.shape}"
        return ""

    def bounded(self, arguments: Arguments) -> Bounded:
        """Multiply windows, and bound spread and rounding."""
        given, weight = along(arguments["input"], 1), arguments["weight"]
        groups = arguments["groups"]
        windows = _windows(arguments, tuple(weight.value.shape))
        apart = given.whole is not None
        value, lost = windows_product(windows, given.value, weight.value, groups, apart=apart)
        norms = norms_of(weight, groups)
        spread, local = error_of_convolution(norms, windows, given, lost)
        value, own = with_bias(value, arguments.get("bias"), 1, lost)
        local = local + own
        error = (spread + local) * enlargement(4)
        if given.whole is None:
            return Bounded(value, error, 1)
        norm = convolution_norm_upper(weight, windows, groups) + norms.error[:-1].sum()
        whole = norm * given.whole + whole_norm(local, 1, tuple(value.shape))
        return Bounded(value, error, 1, whole * enlargement(len(norms.error) + 8))

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """Windows need the places that they cover, with all channels."""
        given, weight, bias = (arguments.get(each) for each in ("input", "weight", "bias"))
        assert isinstance(given, Ref)
        assert isinstance(weight, Ref)
        windows = _windows(arguments, weight.shape)
        needed = mask.any(axis=1).reshape(len(mask), -1)
        covered = windows.covered(needed, given.shape[2:])
        covered = covered.reshape(given.shape[0], 1, *given.shape[2:])
        yield given, np.broadcast_to(covered, given.shape)
        for whole in (weight, bias):
            if isinstance(whole, Ref):
                yield whole, np.ones(whole.shape, bool)

    def within(
        self, arguments: Arguments, region: Region, shape: tuple[int, ...]
    ) -> tuple[Arguments, Region] | None:
        """Windows need the places that they cover; those outside of all places stay padding."""
        given, weight = arguments["input"], arguments["weight"]
        found = _windows(arguments, weight.shape).within(given.shape[2:], region[2:])
        if found is None:
            return None
        part, padding = found
        needed = (region[0], (0, given.shape[1]), *part)
        changed = {**arguments, "input": Part(given, needed), "padding": padding}
        return changed, (region[0], (0, shape[1]), *region[2:])

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:
        """Multiply the windows that are needed."""
        given, weight = arguments["input"], arguments["weight"]
        windows = _windows(arguments, weight.shape)
        needed = mask.any(axis=1).reshape(len(mask), -1)
        patches = _patches(numbers, windows, given, needed)
        groups = arguments["groups"]
        kernel = weight.reshape(groups, weight.shape[0] // groups, -1)
        parts = patches.reshape(len(patches), groups, -1)
        products = [numbers.matmul(parts[:, g], kernel[g].T) for g in range(groups)]
        value = np.concatenate(products, 1)
        if arguments.get("bias") is not None:
            value = value + arguments["bias"]
        result = np.empty((len(mask), needed.shape[1], value.shape[1]), object)
        result[needed] = value
        return result.transpose(0, 2, 1).reshape(mask.shape)


class Linear(Rule):
    """``x W^T + b`` along the last axis."""

    rational = True

    def bounded(self, arguments: Arguments) -> Bounded:
        """Multiply, and bound spread and rounding; a row is a window of one tap."""
        given, weight = arguments["input"], arguments["weight"]
        given = along(given, given.value.ndim - 1)
        value, lost = matrix_product(given.value, weight.value.mT)
        last, norms = value.ndim - 1, norms_of(weight, 1)
        taken = (norms.weight[-1] + norms.error[-1]) * enlargement(4)
        local = (norms.error[-1] + lost.relative * norms.size[-1]) * _sizes(given)
        value, own = with_bias(value, arguments.get("bias"), last, lost)
        local = (local + own) * enlargement(4) + FLOOR
        error = (taken * given.error + local) * enlargement(4)
        if given.whole is None:
            return Bounded(value, error, last)
        whole = taken * given.whole + whole_norm(local, last, tuple(value.shape))
        return Bounded(value, error, last, whole * enlargement(4))

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """An entry needs its row."""
        given: Ref = arguments["input"]
        yield given, np.broadcast_to(mask.any(axis=-1, keepdims=True), given.shape)
        for name in ("weight", "bias"):
            whole = arguments.get(name)
            if isinstance(whole, Ref):
                yield whole, np.ones(whole.shape, bool)

    def within(
        self, arguments: Arguments, region: Region, shape: tuple[int, ...]
    ) -> tuple[Arguments, Region]:
        """An entry needs its row."""
        given, axes = arguments["input"], len(shape) - 1
        part = Part(given, with_axes(region, given.shape, axes))
        return {**arguments, "input": part}, with_axes(region, shape, axes)

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:
        """Multiply the rows that are needed."""
        given, weight = arguments["input"], arguments["weight"]
        rows = mask.any(axis=-1)
        value = numbers.matmul(given[rows], weight.T)
        if arguments.get("bias") is not None:
            value = value + arguments["bias"]
        result = np.empty(mask.shape, object)
        result[rows] = value
        return result


def _windows(arguments: Arguments, weight: tuple[int, ...]) -> Windows:
    names = ("stride", "padding", "dilation")
    return windows_of(tuple(weight[2:]), *(arguments[name] for name in names))


def _sizes(given: Bounded) -> torch.Tensor:
    assert given.axis is not None
    return norm_upper(given.value, (given.axis,))


def _patches(numbers: Numbers, windows: Windows, given: Objects, needed: np.ndarray) -> Objects:
    """Return (needed windows, C taps), with 0 where places were added."""
    flat = given.reshape(*given.shape[:2], -1)
    zero = np.empty((*flat.shape[:2], 1), object)
    zero.fill(numbers.number(0.0))
    flat = np.concatenate([flat, zero], 2)  # which the number -1 finds
    places = windows.places(given.shape[2:])
    found = [flat[b][:, places[:, row]] for b, row in enumerate(needed)]
    return np.concatenate([each.reshape(each.shape[0] * each.shape[1], -1).T for each in found])


RULES: dict[str, Rule] = {
    **{
        f"conv{axes}d.{form}": Convolution()
        for axes in (1, 2, 3)
        for form in ("default", "padding")
    },
    "linear.default": Linear(),
}
