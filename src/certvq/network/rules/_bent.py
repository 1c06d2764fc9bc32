"""More activations: those that are bent lines, and those made of exp, log1p and tanh.

In: arguments. Out: values with bounds. The real functions: ``hardtanh(x) = min(max(x, a), b)``, as
clamp; ``hardsigmoid(x) = min(max(x + 3, 0), 6) / 6``; ``hardswish(x) = x hardsigmoid(x)``;
``softplus(x) = log(1 + exp(b x)) / b`` for each x, where torch returns x beyond a threshold;
``log_sigmoid(x) = -softplus(-x)``; ``mish(x) = x tanh(softplus(x))``; ``celu(x) = x if x > 0 else a
(exp(x / a) - 1)``; selu is elu with the two numbers of its paper. The slopes are on paper, and
balls test that of mish.
"""

from collections.abc import Callable
from typing import Any, Final

import torch

from certvq.bounds import UNIT_ROUNDOFF
from certvq.network._bounded import magnitude
from certvq.network._bounds import LIBRARY_ERROR, LIPSCHITZ
from certvq.network._numbers import Numbers
from certvq.network.rules._pointwise import Activation, Elu
from certvq.network.rules._rule import Arguments, Changed, Rule


class Bent(Activation):
    """A function whose computed value errs by a multiple of itself and of its argument.

    Args:
        value: the function in float64.
        entry: the function on numbers.
        slope: a bound of its slope.
        of_value: how much the value errs, relative to itself.
        of_given: how much it errs relative to its argument.
        rational: whether rational numbers have rational results.
        positive: an argument that must be above 0.
    """

    def __init__(
        self,
        value: Callable[[torch.Tensor, Arguments], torch.Tensor],
        entry: Callable[[Numbers, Any, Arguments], Any],
        slope: float,
        *,
        of_value: float = 0.0,
        of_given: float = 0.0,
        rational: bool = False,
        positive: str = "",
    ) -> None:
        self._value, self._entry, self._slope = value, entry, slope
        self._of_value, self._of_given = of_value, of_given
        self.rational, self._positive = rational, positive

    def refusal(self, arguments: Arguments) -> str:
        """Refuse a number that must be above 0."""
        given = arguments.get(self._positive, 1.0)
        return "" if given > 0 else f"with {self._positive}={given}"

    def value(self, value: torch.Tensor, arguments: Arguments) -> torch.Tensor:
        """As given."""
        return self._value(value, arguments)

    def slope(self, arguments: Arguments) -> float:
        """As given."""
        del arguments
        return self._slope

    def rounding(
        self, given: torch.Tensor, value: torch.Tensor, axis: int | None, arguments: Arguments
    ) -> torch.Tensor | float:
        """As given."""
        del arguments
        return self._of_value * magnitude(value, axis) + self._of_given * magnitude(given, axis)

    def entry(self, numbers: Numbers, entry: Any, arguments: Arguments) -> Any:
        """As given."""
        return self._entry(numbers, entry, arguments)


def between(numbers: Numbers, entry: Any, low: float | None, high: float | None) -> Any:
    """Return the nearest number between two bounds, either of which may be missing."""
    if low is not None:
        entry = numbers.greater(entry, numbers.number(float(low)))
    return entry if high is None else -numbers.greater(-entry, numbers.number(-float(high)))


def _clamped(low: str, high: str) -> Rule:
    return Bent(
        lambda x, a: x.clamp(a.get(low), a.get(high)),
        lambda numbers, x, a: between(numbers, x, a.get(low), a.get(high)),
        LIPSCHITZ["relu"],
        rational=True,
    )


def _sixths(numbers: Numbers, x: Any) -> Any:
    return between(numbers, x + 3, 0.0, 6.0) / 6


def _softplus(x: torch.Tensor, beta: float) -> torch.Tensor:
    return x.clamp_min(0.0) + torch.log1p(torch.exp(-(x * beta).abs())) / beta


def _mish(x: torch.Tensor) -> torch.Tensor:
    """With w = exp(-|x|), as tanh(log(1 + n)) = (n^2 + 2 n) / (n^2 + 2 n + 2): positive terms."""
    w = torch.exp(-x.abs())
    above = (1.0 + 2.0 * w) / (1.0 + 2.0 * w + 2.0 * w * w)
    below = (w * w + 2.0 * w) / (w * w + 2.0 * w + 2.0)
    return x * torch.where(x > 0, above, below)


def _number(numbers: Numbers, arguments: Arguments, name: str) -> Any:
    return numbers.number(float(arguments.get(name, 1.0)))


_ROUNDED: Final = 2.0 * LIBRARY_ERROR + 8.0 * UNIT_ROUNDOFF
"""Of two library functions of positive terms, and of what is around them."""

_HARD_SIGMOID = Bent(
    lambda x, _: (x + 3.0).clamp(0.0, 6.0) / 6.0,
    lambda numbers, x, _: _sixths(numbers, x),
    0.16666666666666669,
    of_value=4.0 * UNIT_ROUNDOFF,
    rational=True,
)
_HARD_SWISH = Bent(
    lambda x, _: x * ((x + 3.0).clamp(0.0, 6.0) / 6.0),
    lambda numbers, x, _: x * _sixths(numbers, x),
    LIPSCHITZ["hardswish"],
    of_value=6.0 * UNIT_ROUNDOFF,
    rational=True,
)
_SOFTPLUS = Bent(
    lambda x, a: _softplus(x, float(a.get("beta", 1.0))),
    lambda numbers, x, a: (
        (1 + (x * _number(numbers, a, "beta")).exp()).log() / _number(numbers, a, "beta")
    ),
    LIPSCHITZ["softplus"],
    of_value=_ROUNDED,
    of_given=2.0 * UNIT_ROUNDOFF,
    positive="beta",
)
_LOG_SIGMOID = Bent(
    lambda x, _: -_softplus(-x, 1.0),
    lambda _, x, _arguments: -((1 + (-x).exp()).log()),
    LIPSCHITZ["softplus"],
    of_value=_ROUNDED,
)
_MISH = Bent(
    lambda x, _: _mish(x),
    lambda _, x, _arguments: x * (1 + x.exp()).log().tanh(),
    LIPSCHITZ["mish"],
    of_value=4.0 * LIBRARY_ERROR + 16.0 * UNIT_ROUNDOFF,
)
_CELU = Bent(
    lambda x, a: torch.where(
        x > 0, x, torch.expm1(x.clamp_max(0.0) / float(a["alpha"])) * float(a["alpha"])
    ),
    lambda numbers, x, a: numbers.choose(
        x,
        lambda: x,
        lambda: (x / _number(numbers, a, "alpha")).expm1() * _number(numbers, a, "alpha"),
    ),
    LIPSCHITZ["relu"],
    of_value=LIBRARY_ERROR + 4.0 * UNIT_ROUNDOFF,
    of_given=2.0 * UNIT_ROUNDOFF,
    positive="alpha",
)
_ABSOLUTE = Bent(
    lambda x, _: x.abs(), lambda _, x, _arguments: abs(x), LIPSCHITZ["relu"], rational=True
)
_SELU = {
    "alpha": 1.6732632423543772848170429916717,
    "scale": 1.0507009873554804934193349852946,
}

RULES: dict[str, Rule] = {
    "abs.default": _ABSOLUTE,
    "celu.default": _CELU,
    "clamp.default": _clamped("min", "max"),
    "clamp_max.default": _clamped("min", "max"),
    "clamp_min.default": _clamped("min", "max"),
    "clip.default": _clamped("min", "max"),
    "hardsigmoid.default": _HARD_SIGMOID,
    "hardswish.default": _HARD_SWISH,
    "hardtanh.default": _clamped("min_val", "max_val"),
    "log_sigmoid.default": _LOG_SIGMOID,
    "mish.default": _MISH,
    "selu.default": Changed(Elu(), lambda a: {**a, **_SELU}),
    "softplus.default": _SOFTPLUS,
}
