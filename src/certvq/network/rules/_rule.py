"""What an operator has to say of itself.

In: arguments. Out: its value with a bound, its value in exact numbers, and which entries of its
arguments an entry of its result depends on. Must not know of graphs.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from certvq.network._bounded import Bounded
from certvq.network._graph import Ref
from certvq.network._numbers import Numbers
from certvq.network._region import Part, Region, narrowed_region, with_axes

Arguments = Mapping[str, Any]
"""By the names of the ATen operator; tensors are as each method says, also within lists."""

Mask = np.ndarray
"""bool, of the shape of a tensor: which of its entries are needed."""

Objects = np.ndarray
"""Numbers of `Numbers`, in the shape of a tensor; None where an entry is not needed."""


class Rule(ABC):
    """One operator over the real numbers, in two arithmetics."""

    rational: bool = False
    """Whether rational numbers have rational results."""

    mixing: bool = False
    """Whether an entry depends on many places, so that bounds of whole samples are worth having."""

    samples: str = ""
    """Name of the argument of which an entry of the first axis makes that entry of the result."""

    def refusal(self, arguments: Arguments) -> str:  # noqa: ARG002
        """Say what is not supported about arguments, or return an empty text.

        Args:
            arguments: tensors are a `Ref`.

        Returns:
            A text that follows the name of the operator in the error.
        """
        return ""

    @abstractmethod
    def bounded(self, arguments: Arguments) -> Bounded:
        """Compute the value in float64, and bound its error.

        Args:
            arguments: tensors are `Bounded`.

        Returns:
            Value and bound.

        Raises:
            CaptureError: these numbers have no rule; the text follows operator and place.
        """

    @abstractmethod
    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """Name the entries of the arguments that entries of the result depend on.

        Args:
            arguments: tensors are a `Ref`.
            mask: of the result.

        Returns:
            Each tensor and its mask.
        """

    def within(
        self, arguments: Arguments, region: Region, shape: tuple[int, ...]
    ) -> tuple[Arguments, Region] | None:
        """Say how the operator makes a part of its result.

        Args:
            arguments: tensors are a `Ref`.
            region: of the result.
            shape: of the whole result.

        Returns:
            Arguments, where a `Part` takes the place of each tensor of which not all is needed, and
            the region that the operator makes of them, which holds `region`; or None if it needs
            all arguments and makes all of its result.
        """
        if not self.samples:
            return None
        given: Ref = arguments[self.samples]
        part = Part(given, with_axes(region, given.shape, 1))
        return {**arguments, self.samples: part}, with_axes(region, shape, 1)

    @abstractmethod
    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:
        """Compute the value in exact numbers.

        Args:
            numbers: the arithmetic.
            arguments: tensors are `Objects`, of which at least the needed entries are there.
            mask: of the result.

        Returns:
            The result; only what is in `mask` counts.
        """


class Changed(Rule):
    """An operator that is another one with other arguments.

    Args:
        rule: of the other one.
        change: makes its arguments, whatever tensors are.
    """

    def __init__(self, rule: Rule, change: Callable[[Arguments], Arguments]) -> None:
        self._rule, self._change, self.rational = rule, change, rule.rational

    def refusal(self, arguments: Arguments) -> str:
        """As the other one."""
        return self._rule.refusal(self._change(arguments))

    def bounded(self, arguments: Arguments) -> Bounded:
        """As the other one."""
        return self._rule.bounded(self._change(arguments))

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """As the other one."""
        return self._rule.needs(self._change(arguments), mask)

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:
        """As the other one."""
        return self._rule.exact(numbers, self._change(arguments), mask)


def entrywise(arguments: Arguments, region: Region) -> tuple[Arguments, Region]:
    """Return `Rule.within` of an operator whose tensors are broadcast to its result."""
    parts = {
        name: Part(each, narrowed_region(region, each.shape)) if isinstance(each, Ref) else each
        for name, each in arguments.items()
    }
    return parts, region


def tensor_entries(mask: Mask, entries: Iterable[Any]) -> Objects:
    """Return an array with the entries of a mask, in order."""
    result = np.empty(mask.shape, object)
    result[mask] = np.fromiter(entries, object, count=int(mask.sum()))
    return result
