"""Transposed convolutions: convolutions of an input that was spread out.

In: arguments. Out: values with bounds. ``stride - 1`` zeros are put between the places of the
input, and zeros around it, or places are cut off; then a convolution of stride 1 with the taps in
reverse gives the transposed one. So its rules are those of moved entries and of convolutions.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from certvq.network._bounded import Bounded
from certvq.network._graph import Ref
from certvq.network._numbers import Numbers
from certvq.network._region import Region
from certvq.network.rules._linear import Convolution
from certvq.network.rules._rule import Arguments, Mask, Objects, Rule
from certvq.network.rules._shapes import Moving, follow_nothing
from certvq.network.rules._windows import each_axis

_CONVOLUTION = Convolution()


class TransposedConvolution(Rule):
    """A transposed convolution in any number of axes."""

    rational = True
    samples = "input"

    def refusal(self, arguments: Arguments) -> str:
        """Refuse inputs without a batch axis."""
        given, weight = arguments["input"], arguments["weight"]
        if len(given.shape) != len(weight.shape):
            return f"of an input without a batch axis, of shape {given.shape}"
        return ""

    def bounded(self, arguments: Arguments) -> Bounded:
        """Spread, and multiply windows."""
        weight: Bounded = arguments["weight"]
        options = _options(arguments, tuple(weight.value.shape))
        key = (TransposedConvolution, options["groups"], type(weight.value))
        if key not in weight.memory:
            value, error = (
                _turned(each, options["groups"])
                for each in (weight.value, weight.error.expand(weight.value.shape))
            )
            weight.memory[key] = Bounded(value, error, None)
        spread = _SPREAD.bounded({"input": arguments["input"], **options})
        return _CONVOLUTION.bounded(_inner(arguments, options, spread, weight.memory[key]))

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """Windows need the places that they cover."""
        given, weight = arguments["input"], arguments["weight"]
        options = _options(arguments, weight.shape)
        groups = options["groups"]
        kernel = (weight.shape[1] * groups, weight.shape[0] // groups, *weight.shape[2:])
        places = _spread(torch.zeros(given.shape), options).shape
        spread, turned = Ref("spread", tuple(places)), Ref("turned", kernel)
        inner = _inner(arguments, options, spread, turned)
        for ref, needed in _CONVOLUTION.needs(inner, mask):
            if ref is spread:
                yield from _SPREAD.needs({"input": given, **options}, needed)
            else:
                whole = weight if ref is turned else ref
                yield whole, np.ones(whole.shape, bool)

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:
        """Spread, and multiply the windows that are needed."""
        weight: Objects = arguments["weight"]
        options = _options(arguments, weight.shape)
        every = np.ones(1, bool)
        spread = _SPREAD.exact(numbers, {"input": arguments["input"], **options}, every)
        turned = _turned(torch.arange(weight.size).reshape(weight.shape), options["groups"])
        kernel = weight.reshape(-1)[turned.numpy()]
        return _CONVOLUTION.exact(numbers, _inner(arguments, options, spread, kernel), mask)


def _options(arguments: Arguments, weight: tuple[int, ...]) -> dict[str, Any]:
    """Return stride, dilation, groups, and (before, after), the places added at either end."""
    axes = len(weight) - 2
    names = ("stride", "padding", "output_padding", "dilation")
    stride, padding, more, dilation = (each_axis(arguments[name], axes) for name in names)
    sizes = list(zip(weight[2:], padding, more, dilation, strict=True))
    ends = [(d * (k - 1) - p, d * (k - 1) - p + m) for k, p, m, d in sizes]
    return {"stride": stride, "dilation": dilation, "groups": arguments["groups"], "ends": ends}


def _inner(arguments: Arguments, options: dict[str, Any], given: Any, weight: Any) -> Arguments:
    """Return the arguments of the convolution."""
    return {
        "input": given,
        "weight": weight,
        "bias": arguments.get("bias"),
        "stride": 1,
        "padding": 0,
        "dilation": options["dilation"],
        "groups": options["groups"],
    }


def _turned(weight: torch.Tensor, groups: int) -> torch.Tensor:
    """Return (outputs, inputs / groups, *kernel), reversed, of (inputs, outputs / groups, ...)."""
    inputs, outputs, *kernel = weight.shape
    blocks = weight.reshape(groups, inputs // groups, outputs, *kernel).transpose(1, 2)
    turned = blocks.reshape(groups * outputs, inputs // groups, *kernel)
    return turned.flip(tuple(range(2, turned.ndim)))


def _spread(tensor: torch.Tensor, arguments: Arguments) -> torch.Tensor:
    """Put zeros, or the value that is given, between the places of (B, C, *places) and around."""
    fill = float(arguments.get("value", 0.0))
    places = tensor.shape[2:]
    apart = [(n - 1) * s + 1 for n, s in zip(places, arguments["stride"], strict=True)]
    result = tensor.new_full((*tensor.shape[:2], *apart), fill)
    result[(..., *(slice(None, None, s) for s in arguments["stride"]))] = tensor
    ends = [each for pair in reversed(arguments["ends"]) for each in pair]
    return functional.pad(result, ends, value=fill)


_SPREAD = Moving(_spread, follow_nothing)


class EitherConvolution(Rule):
    """The operator that is a convolution or a transposed one, as an argument says."""

    rational = True

    def refusal(self, arguments: Arguments) -> str:
        """As that one does."""
        return _kind(arguments).refusal(arguments)

    def bounded(self, arguments: Arguments) -> Bounded:
        """As that one does."""
        return _kind(arguments).bounded(arguments)

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """As that one does."""
        return _kind(arguments).needs(arguments, mask)

    def within(
        self, arguments: Arguments, region: Region, shape: tuple[int, ...]
    ) -> tuple[Arguments, Region] | None:
        """As that one does."""
        return _kind(arguments).within(arguments, region, shape)

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:
        """As that one does."""
        return _kind(arguments).exact(numbers, arguments, mask)


def _kind(arguments: Arguments) -> Rule:
    return _TRANSPOSED if arguments["transposed"] else _CONVOLUTION


_TRANSPOSED = TransposedConvolution()

RULES: dict[str, Rule] = {
    "conv_transpose1d.default": _TRANSPOSED,
    "conv_transpose2d.input": _TRANSPOSED,
    "conv_transpose3d.input": _TRANSPOSED,
    "convolution.default": EitherConvolution(),
}
