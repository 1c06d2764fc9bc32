"""Functions of one number whose slope has no bound: exp, log, roots.

In: arguments. Out: values with bounds of entries, infinite where the error reaches the end of the
domain. With x' computed and an error of at most e: ``|exp x - exp x'| <= exp(x') (exp(e) - 1)``;
``|log x - log x'| <= e / (x' - e)``; ``|sqrt x - sqrt x'| <= e / (sqrt(x' - e) + sqrt x')``; ``|1 /
sqrt x - 1 / sqrt x'|`` is that divided by ``sqrt(x' - e) sqrt x'``. On paper.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch

from certvq.bounds import UNIT_ROUNDOFF
from certvq.network._bounded import Bounded, entry_errors
from certvq.network._bounds import FLOOR, LIBRARY_ERROR, enlargement
from certvq.network._graph import Ref
from certvq.network._numbers import Numbers
from certvq.network._region import Region
from certvq.network.rules._rule import (
    Arguments,
    Mask,
    Objects,
    Rule,
    entrywise,
    tensor_entries,
)


class Local(Rule):
    """A function whose error depends on where its argument is.

    Args:
        function: in float64.
        spread: of the computed argument, its error and the value, the error of the value.
        entry: the function of an exact number.
        rounding: of the computed value, relative to it.
    """

    def __init__(
        self,
        function: Callable[[torch.Tensor], torch.Tensor],
        spread: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
        entry: Callable[[Any], Any],
        rounding: float,
    ) -> None:
        self._function, self._spread = function, spread
        self._entry, self._rounding = entry, rounding

    def bounded(self, arguments: Arguments) -> Bounded:
        """Apply the function to entries."""
        given: Bounded = arguments["self"]
        off = entry_errors(given)
        value = self._function(given.value)
        error = self._spread(given.value, off, value) * enlargement(16)
        error = (error + self._rounding * value.abs()) * enlargement(8) + FLOOR
        return Bounded(value, torch.where(torch.isnan(error), torch.inf, error), None)

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
        del numbers
        return tensor_entries(mask, map(self._entry, arguments["self"][mask]))


def _least(value: torch.Tensor, off: torch.Tensor) -> torch.Tensor:
    """Bound from below what a number can be."""
    return (value - off) * (1.0 - 4.0 * UNIT_ROUNDOFF)


def _of_exp(value: torch.Tensor, off: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """What underflows was below 2^-1000, and an error may make it great."""
    del value
    most = found * (1.0 + LIBRARY_ERROR) + 2.0**-1000
    return most * torch.expm1(off) * (1.0 + LIBRARY_ERROR)


def _of_log(value: torch.Tensor, off: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    del found
    least = _least(value, off)
    return torch.where(least > 0, off / least, torch.inf)


def _of_root(value: torch.Tensor, off: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """A root of 0 that is exact has no error; one of less than 0 is not defined."""
    least = _least(value, off)
    known = off / (least.clamp_min(0.0).sqrt() + found)
    return torch.where(least >= 0, torch.where(off > 0, known, 0.0), torch.inf)


def _of_reciprocal_root(
    value: torch.Tensor, off: torch.Tensor, found: torch.Tensor
) -> torch.Tensor:
    least = _least(value, off)
    low, high = least.clamp_min(0.0).sqrt(), value.sqrt()
    known = off / ((low + high) * low) * (found * (1.0 + 8.0 * UNIT_ROUNDOFF))
    return torch.where(least > 2.0**-900, known, torch.inf)  # no product underflows


RULES: dict[str, Rule] = {
    "exp.default": Local(torch.exp, _of_exp, lambda x: x.exp(), LIBRARY_ERROR),
    "log.default": Local(torch.log, _of_log, lambda x: x.log(), LIBRARY_ERROR),
    "rsqrt.default": Local(
        lambda x: 1.0 / x.sqrt(), _of_reciprocal_root, lambda x: 1 / x.sqrt(), 4.0 * UNIT_ROUNDOFF
    ),
    "sqrt.default": Local(torch.sqrt, _of_root, lambda x: x.sqrt(), 2.0 * UNIT_ROUNDOFF),
}
