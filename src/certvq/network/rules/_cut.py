"""A region of a tensor, as an operator.

In: arguments. Out: the same numbers and bounds, fewer of them.
"""

from collections.abc import Iterable

import numpy as np

from certvq.network._bounded import Bounded
from certvq.network._graph import Ref
from certvq.network._numbers import Numbers
from certvq.network._region import slices
from certvq.network.rules._rule import Arguments, Mask, Objects, Rule

CUT = "cut"


class Cut(Rule):
    """The entries of a region."""

    rational = True

    def bounded(self, arguments: Arguments) -> Bounded:
        """Take values and bounds; that of a longer vector bounds each part of it."""
        given: Bounded = arguments["self"]
        index = slices(arguments["region"])
        sizes = zip(given.error.shape, given.value.shape, index, strict=True)
        own = tuple(each if n == size else slice(None) for n, size, each in sizes)
        whole = None if given.whole is None else given.whole[index[0]]
        return Bounded(given.value[index], given.error[own], given.axis, whole)

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """The same entries."""
        given: Ref = arguments["self"]
        needed = np.zeros(given.shape, bool)
        needed[slices(arguments["region"])] = mask
        yield given, needed

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:  # noqa: ARG002
        """Take the numbers."""
        return arguments["self"][slices(arguments["region"])]


RULES: dict[str, Rule] = {CUT: Cut()}
"""Of no operator of torch: `certvq.network._part` puts it into a graph."""
