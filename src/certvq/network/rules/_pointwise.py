"""Activations: functions of one number, entry by entry.

In: arguments. Out: values with bounds. An activation of slope at most L takes an error e to L e
(`error_comp_le`), and what its own computation rounds is added. The real functions:
``relu(x) = max(x, 0)``; ``leaky_relu(x) = x if x > 0 else slope x``; ``elu(x) = scale x if x > 0
else scale alpha (exp(input_scale x) - 1)``; ``silu(x) = x / (1 + exp(-x))``; ``gelu(x) =
x (1 + erf(x / sqrt 2)) / 2``, or with ``approximate="tanh"``
``x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2``, 0.044715 as a decimal number. Slopes and
scales are the float64 numbers of the graph.
"""

import math
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch.nn import functional

from certvq.network._bounded import Bounded, magnitude, whole_norm
from certvq.network._bounds import FLOOR, LIPSCHITZ, enlargement, library_error
from certvq.network._graph import Ref
from certvq.network._normal_integral import NORMAL_INTEGRAL_ERROR, normal_integral
from certvq.network._numbers import Numbers, flint
from certvq.network._region import Region
from certvq.network._wide import Wide, rounding, wide
from certvq.network.rules._rule import (
    Arguments,
    Mask,
    Objects,
    Rule,
    entrywise,
    tensor_entries,
)


class Activation(Rule):
    """A function of one number with a bounded slope."""

    def bounded(self, arguments: Arguments) -> Bounded:
        """Apply the function; its slope takes the error on."""
        given: Bounded = arguments["self"]
        value = self.value(given.value, arguments)
        slope, axis = self.slope(arguments), given.axis
        rounding = self.rounding(given.value, value, axis, arguments) + FLOOR
        error = (slope * given.error + rounding) * enlargement(6)
        if given.whole is None:
            return Bounded(value, error, axis)
        local = whole_norm(torch.as_tensor(rounding).double(), axis, tuple(value.shape))
        return Bounded(value, error, axis, (slope * given.whole + local) * enlargement(6))

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """The same entries."""
        yield arguments["self"], mask

    def within(
        self, arguments: Arguments, region: Region, shape: tuple[int, ...]
    ) -> tuple[Arguments, Region]:
        """The same entries."""
        del shape
        return entrywise(arguments, region)

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:
        """Apply the function to the numbers."""
        given: Objects = arguments["self"][mask]
        return tensor_entries(mask, (self.entry(numbers, each, arguments) for each in given))

    @abstractmethod
    def value(self, value: torch.Tensor, arguments: Arguments) -> torch.Tensor:
        """Compute the function in float64, or in pairs."""

    @abstractmethod
    def slope(self, arguments: Arguments) -> float:
        """Bound the slope of the function."""

    @abstractmethod
    def rounding(
        self, given: torch.Tensor, value: torch.Tensor, axis: int | None, arguments: Arguments
    ) -> torch.Tensor | float:
        """Bound the error of the computed function, for vectors along an axis."""

    @abstractmethod
    def entry(self, numbers: Numbers, entry: Any, arguments: Arguments) -> Any:
        """Compute the function of a number."""


class Relu(Activation):
    """``max(x, 0)``, without rounding (`relu_lipschitz`)."""

    rational = True

    def bounded(self, arguments: Arguments) -> Bounded:
        """Errors stay what they are."""
        given: Bounded = arguments["self"]
        return Bounded(given.value.clamp_min(0.0), given.error, given.axis, given.whole)

    def value(self, value: torch.Tensor, arguments: Arguments) -> torch.Tensor:
        """See `bounded`."""
        del arguments
        return value.clamp_min(0.0)

    def slope(self, arguments: Arguments) -> float:
        """At most 1."""
        del arguments
        return LIPSCHITZ["relu"]

    def rounding(
        self, given: torch.Tensor, value: torch.Tensor, axis: int | None, arguments: Arguments
    ) -> torch.Tensor | float:
        """None."""
        del given, value, axis, arguments
        return 0.0

    def entry(self, numbers: Numbers, entry: Any, arguments: Arguments) -> Any:
        """Compare with 0."""
        del arguments
        return numbers.greater(entry, numbers.number(0.0))


class LeakyRelu(Activation):
    """``x if x > 0 else slope x`` (`leakyRelu_lipschitz`)."""

    rational = True

    def value(self, value: torch.Tensor, arguments: Arguments) -> torch.Tensor:
        """One product."""
        return torch.where(value > 0, value, value * float(arguments["negative_slope"]))

    def slope(self, arguments: Arguments) -> float:
        """At most the greater of both slopes."""
        return max(1.0, abs(float(arguments["negative_slope"])))

    def rounding(
        self, given: torch.Tensor, value: torch.Tensor, axis: int | None, arguments: Arguments
    ) -> torch.Tensor | float:
        """One rounding."""
        del given, arguments
        return rounding(value) * magnitude(value, axis)

    def entry(self, numbers: Numbers, entry: Any, arguments: Arguments) -> Any:
        """Compare with 0."""
        slope = numbers.number(float(arguments["negative_slope"]))
        return numbers.choose(entry, lambda: entry, lambda: entry * slope)


class Elu(Activation):
    """``scale x if x > 0 else scale alpha (exp(input_scale x) - 1)`` (`elu_lipschitz`)."""

    def refusal(self, arguments: Arguments) -> str:
        """Refuse exponentials that grow below 0, whose slope has no bound."""
        inner = _elu_numbers(arguments)[2]
        return "" if inner >= 0 else f"with input_scale={inner}"

    def value(self, value: torch.Tensor, arguments: Arguments) -> torch.Tensor:
        """Two products around expm1."""
        alpha, scale, inner = _elu_numbers(arguments)
        below = torch.expm1(value.clamp_max(0.0) * inner) * alpha * scale
        return torch.where(value > 0, value * scale, below)

    def slope(self, arguments: Arguments) -> float:
        """At most that on either side of 0."""
        alpha, scale, inner = _elu_numbers(arguments)
        return max(abs(scale), abs(scale * alpha * inner)) * enlargement(4)

    def rounding(
        self, given: torch.Tensor, value: torch.Tensor, axis: int | None, arguments: Arguments
    ) -> torch.Tensor | float:
        """The axiom, two products, and the rounded product inside, of slope at most 1 per unit."""
        _, scale, inner = _elu_numbers(arguments)
        alpha = _elu_numbers(arguments)[0]
        unit = rounding(value)
        inside = 2.0 * unit * abs(scale * alpha * inner) * magnitude(given, axis)
        return (library_error(value) + 4.0 * unit) * magnitude(value, axis) + inside

    def entry(self, numbers: Numbers, entry: Any, arguments: Arguments) -> Any:
        """Compare with 0."""
        alpha, scale, inner = map(numbers.number, _elu_numbers(arguments))
        return numbers.choose(
            entry, lambda: entry * scale, lambda: (entry * inner).expm1() * alpha * scale
        )


class OfTorch(Activation):
    """A function that torch computes: tanh (`tanh_lipschitz`, `ax_tanh`), sin (`ax_sin`).

    Args:
        name: of the function, in torch and in Arb.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def value(self, value: torch.Tensor, arguments: Arguments) -> torch.Tensor:
        """By torch."""
        del arguments
        return getattr(torch, self._name)(value)

    def slope(self, arguments: Arguments) -> float:
        """At most 1."""
        del arguments
        return LIPSCHITZ[self._name]

    def rounding(
        self, given: torch.Tensor, value: torch.Tensor, axis: int | None, arguments: Arguments
    ) -> torch.Tensor | float:
        """The axiom; that of sin in pairs has a part of the argument's size."""
        del arguments
        lost = library_error(value) * magnitude(value, axis)
        return lost + rounding(value) * magnitude(given, axis) if isinstance(value, Wide) else lost

    def entry(self, numbers: Numbers, entry: Any, arguments: Arguments) -> Any:
        """By Arb."""
        del numbers, arguments
        return getattr(entry, self._name)()


class Cosine(OfTorch):
    """cos (`ax_sin`); in pairs ``1 - 2 sin(x / 2)^2``."""

    def __init__(self) -> None:
        super().__init__("cos")

    def value(self, value: torch.Tensor, arguments: Arguments) -> torch.Tensor:
        """By torch, or by the sine of pairs; their halves are exact."""
        if not isinstance(value, Wide):
            return super().value(value, arguments)
        sine = torch.sin(wide(0.5 * value.high, 0.5 * value.low))
        return 1.0 - 2.0 * (sine * sine)

    def rounding(
        self, given: torch.Tensor, value: torch.Tensor, axis: int | None, arguments: Arguments
    ) -> torch.Tensor | float:
        """The axiom. In pairs, of each entry: sin errs by 2^-96 and 2^-100, four times that counts.

        Besides the square, the difference and what is doubled round once, by 2^-100 of at most 2.
        """
        if not isinstance(value, Wide):
            return super().rounding(given, value, axis, arguments)
        count = 1 if axis is None else value.shape[axis]
        return (4.0 * library_error(value) + 16.0 * rounding(value)) * math.sqrt(2 * count)


class Sigmoid(Activation):
    """``1 / (1 + exp(-x))`` (`sigmoid_lipschitz`, `ax_exp`)."""

    def value(self, value: torch.Tensor, arguments: Arguments) -> torch.Tensor:
        """As it is written, so that only exp is the library's; or the function of pairs."""
        del arguments
        if isinstance(value, Wide):
            return torch.sigmoid(value)
        return 1.0 / (1.0 + torch.exp(-value))

    def slope(self, arguments: Arguments) -> float:
        """At most 1/4."""
        del arguments
        return LIPSCHITZ["sigmoid"]

    def rounding(
        self, given: torch.Tensor, value: torch.Tensor, axis: int | None, arguments: Arguments
    ) -> torch.Tensor | float:
        """The axiom, a sum of positive terms and a quotient."""
        del given, arguments
        return (library_error(value) + 4.0 * rounding(value)) * magnitude(value, axis)

    def entry(self, numbers: Numbers, entry: Any, arguments: Arguments) -> Any:
        """By Arb."""
        del arguments
        return numbers.number(1.0) / (1 + (-entry).exp())


class Silu(Activation):
    """``x / (1 + exp(-x))`` (`ax_exp`)."""

    def value(self, value: torch.Tensor, arguments: Arguments) -> torch.Tensor:
        """As it is written, or the function of pairs."""
        del arguments
        if isinstance(value, Wide):
            return functional.silu(value)
        return value / (1.0 + torch.exp(-value))

    def slope(self, arguments: Arguments) -> float:
        """At most 11/10 (`silu_slope_le`)."""
        del arguments
        return LIPSCHITZ["silu"]

    def rounding(
        self, given: torch.Tensor, value: torch.Tensor, axis: int | None, arguments: Arguments
    ) -> torch.Tensor | float:
        """The axiom, a sum of positive terms and a quotient."""
        del given, arguments
        return (library_error(value) + 4.0 * rounding(value)) * magnitude(value, axis)

    def entry(self, numbers: Numbers, entry: Any, arguments: Arguments) -> Any:
        """By Arb."""
        del numbers, arguments
        return entry / (1 + (-entry).exp())


class Gelu(Activation):
    """``x (1 + erf(x / sqrt 2)) / 2``, or the form with tanh (`ax_erf`, `ax_tanh`)."""

    def refusal(self, arguments: Arguments) -> str:
        """Refuse forms that torch does not have."""
        form = arguments.get("approximate", "none")
        return "" if form in {"none", "tanh"} else f"with approximate={form!r}"

    def value(self, value: torch.Tensor, arguments: Arguments) -> torch.Tensor:
        """As it is written, so that only erf or tanh is the library's."""
        if arguments.get("approximate") == "tanh":
            cubic, root = 0.044715, 0.7978845608028654
            if isinstance(value, Wide):
                cubic, root = (wide(*each) for each in _GELU_NUMBERS)
            inner = (value + cubic * (value * value * value)) * root
            return 0.5 * value * (1.0 + torch.tanh(inner))
        if isinstance(value, Wide):
            return 0.5 * value * (1.0 + normal_integral(value))
        return 0.5 * value * (1.0 + torch.erf(value * 0.7071067811865476))

    def slope(self, arguments: Arguments) -> float:
        """At most 1.13, on paper."""
        return LIPSCHITZ["gelu_tanh" if arguments.get("approximate") == "tanh" else "gelu"]

    def rounding(
        self, given: torch.Tensor, value: torch.Tensor, axis: int | None, arguments: Arguments
    ) -> torch.Tensor | float:
        """At most half the axiom and 6 u, times ``|x|``.

        The argument of erf errs by 2 u of itself, and ``t erf'(t)`` is below 1/2; that of tanh by
        8 u, of positive terms, and ``t tanh'(t)`` is below 1/2. So erf or tanh errs by the axiom
        and 4 u, of which half counts, the sum and the products by 4 u ``|x|`` more. In pairs, the
        bound of `normal_integral` takes the place of the axiom, as erf is at most 1.
        """
        own = library_error(value)
        if isinstance(value, Wide) and arguments.get("approximate") != "tanh":
            own = NORMAL_INTEGRAL_ERROR
        return (0.5 * own + 6.0 * rounding(value)) * magnitude(given, axis)

    def entry(self, numbers: Numbers, entry: Any, arguments: Arguments) -> Any:
        """By Arb."""
        del numbers
        arb, fmpq = flint().arb, flint().fmpq
        if arguments.get("approximate") == "tanh":
            cube = entry * entry * entry  # a ball around 0 has no ** 3
            inner = (entry + arb(fmpq(44715, 10**6)) * cube) * (2 / arb.pi()).sqrt()
            return entry * (1 + inner.tanh()) / 2
        return entry * (1 + (entry / arb(2).sqrt()).erf()) / 2


_GELU_NUMBERS = tuple(
    (torch.tensor(high, dtype=torch.float64), torch.tensor(low, dtype=torch.float64))
    for high, low in (
        (0.044715, 2.1960211427085595e-18),
        (0.7978845608028654, -4.98465440455546e-17),
    )
)
"""0.044715 and ``sqrt(2 / pi)`` in pairs."""


def _elu_numbers(arguments: Arguments) -> tuple[float, float, float]:
    names = ("alpha", "scale", "input_scale")
    alpha, scale, inner = (float(arguments.get(name, 1.0)) for name in names)
    return alpha, scale, inner


RULES: dict[str, Rule] = {
    "relu.default": Relu(),
    "leaky_relu.default": LeakyRelu(),
    "elu.default": Elu(),
    "tanh.default": OfTorch("tanh"),
    "sigmoid.default": Sigmoid(),
    "cos.default": Cosine(),
    "sin.default": OfTorch("sin"),
    "silu.default": Silu(),
    "gelu.default": Gelu(),
}
