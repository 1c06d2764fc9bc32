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

from certvq.network._bounded import Bounded, along, entry_errors
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
from certvq.network._wide import Wide, nearest, rest, rounding
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
    value, errors = nearest(weight.value), _frobenius(entry_errors(weight))
    low = _frobenius(rest(weight.value)) if isinstance(weight.value, Wide) else 0.0
    whole = _of_taps(value, groups, spectral_norm_upper) + low
    size = _of_taps(value, groups, absolute_norm_upper) + low
    return Norms(whole * enlargement(1), size * enlargement(1), errors)


def _frobenius(values: torch.Tensor) -> torch.Tensor:
    """Bound the norms of taps, and of the window, by the root of the sum of all squares."""
    return torch.cat([norm_upper(each, (1, 2)).flatten() for each in _taps_and_window(values, 1)])


def _of_taps(
    weight: torch.Tensor, groups: int, bound: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    taps, window = _taps_and_window(weight, groups)
    return torch.cat([bound(taps).reshape(groups, -1).amax(0), bound(window).amax(0, keepdim=True)])


def _taps_and_window(weight: torch.Tensor, groups: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (groups T, outputs, inputs) and (groups, outputs, inputs T)."""
    outputs, inputs = weight.shape[0] // groups, weight.shape[1]
    blocks = weight.reshape(groups, outputs, inputs, -1)
    taps = blocks.permute(0, 3, 1, 2).reshape(-1, outputs, inputs)
    return taps, blocks.reshape(groups, outputs, -1)


def error_of_windows(
    norms: Norms, errors: torch.Tensor, sizes: torch.Tensor, lost: Rounding
) -> torch.Tensor:
    """Bound the error of all windows.

    Args:
        norms: of the kernel.
        errors: (B, T, P) of the vectors in each window.
        sizes: (B, T, P) upper bounds of their norms.
        lost: by the products.

    Returns:
        (B, P), without what is lost absolutely.
    """
    taken = norms.weight + norms.error
    own = norms.error + lost.relative * norms.size
    apart = taken[:-1] @ errors + own[:-1] @ sizes
    whole = taken[-1] * norm_upper(errors, (1,)) + own[-1] * norm_upper(sizes, (1,))
    least = torch.minimum(apart, whole.squeeze(1))
    return least * enlargement(len(taken) + 8) + FLOOR


def error_of_convolution(
    norms: Norms, windows: Windows, errors: torch.Tensor, sizes: torch.Tensor, lost: Rounding
) -> torch.Tensor:
    """Bound the error of all windows, as `error_of_windows` does, by a convolution of the bounds.

    Args:
        norms: of the kernel.
        windows: where they are.
        errors: (B, 1, *places) of the vectors at each place.
        sizes: (B, 1, *places) upper bounds of their norms.
        lost: by the products.

    Returns:
        (B, 1, *windows), without what is lost absolutely.
    """
    own = norms.error + lost.relative * norms.size
    taken = norms.weight + norms.error
    maps = torch.cat([errors, sizes], 1)
    kernel = torch.stack([taken[:-1], own[:-1]]).reshape(1, 2, *windows.kernel)
    apart = multiply_windows(windows, maps, kernel, 1)
    spread, size = (sum_windows(windows, maps.square()).sqrt() + NORM_FLOOR).split(1, 1)
    least = torch.minimum(apart, taken[-1] * spread + own[-1] * size)
    return least * enlargement(2 * len(own) + 12) + FLOOR


def with_bias(value: torch.Tensor, error: torch.Tensor, bias: Bounded, lost: Rounding) -> Bounded:
    """Add a bias along axis 1 in place; in float64 it is one more term, in pairs another sum."""
    shape = (-1,) + (1,) * (value.ndim - 2)
    own = norm_upper(entry_errors(bias), (0,)) + lost.relative * norm_upper(bias.value, (0,))
    value += bias.value.reshape(shape)
    if isinstance(value, Wide):
        own = own + rounding(value) * norm_upper(value, (1,))
    return Bounded(value, (error + own) * enlargement(4), 1)


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
        value, lost = windows_product(windows, given.value, weight.value, groups)
        norms = norms_of(weight, groups)
        error = error_of_convolution(norms, windows, given.error, _sizes(given), lost)
        error = error + lost.of_vectors(1, value.shape[1])
        bias = arguments.get("bias")
        return Bounded(value, error, 1) if bias is None else with_bias(value, error, bias, lost)

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
        errors, sizes = (each.reshape(-1, 1, 1) for each in (given.error, _sizes(given)))
        error = error_of_windows(norms_of(weight, 1), errors, sizes, lost)
        error = error + lost.of_vectors(-1, value.shape[-1]).reshape(-1, 1)
        bias = arguments.get("bias")
        if bias is not None:
            flat = value.reshape(-1, value.shape[-1], 1)
            flat = with_bias(flat, error.unsqueeze(1), bias, lost)
            value, error = flat.value.reshape(value.shape), flat.error
        return Bounded(value, error.reshape(*value.shape[:-1], 1), value.ndim - 1)

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """An entry needs its row."""
        given: Ref = arguments["input"]
        yield given, np.broadcast_to(mask.any(axis=-1, keepdims=True), given.shape)
        for name in ("weight", "bias"):
            whole = arguments.get(name)
            if isinstance(whole, Ref):
                yield whole, np.ones(whole.shape, bool)

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
