"""Products of kernels with windows and of matrices, and what they round.

In: float64 tensors, or pairs. Out: products, and a `Rounding` that bounds their errors. In float64
a sum of n products, in any order, errs by ``gamma(n) sum |w| |x|`` (`dot_rounding_error_le`); in
pairs by a bound of its own (`certvq.network._wide.product`).
"""

import math
from dataclasses import dataclass

import torch

from certvq.bounds import UNIT_ROUNDOFF, gamma
from certvq.network._bounds import enlargement, norm_upper
from certvq.network._wide import AVAILABLE, Wide, nearest, product, rest, wide
from certvq.network.rules._shifts import additions, multiply_windows, phases_of
from certvq.network.rules._windows import Windows


@dataclass(frozen=True)
class Rounding:
    """What products lose.

    Attributes:
        relative: in proportion to the sums of the sizes of their terms.
        absolute: besides, for each entry of a result, in a shape that can be broadcast to it.
        last: in proportion to a result, by rounding what was computed in pairs.
    """

    relative: float
    absolute: torch.Tensor
    last: float = 0.0

    def of_vectors(self, axis: int, size: int) -> torch.Tensor:
        """Bound the norms of the absolute errors of vectors of a size along an axis."""
        shape = list(self.absolute.shape)
        if shape and shape[axis] == 1:
            return self.absolute * (math.sqrt(size) * enlargement(4))
        return norm_upper(self.absolute, (axis,)) if shape else self.absolute


NOTHING = torch.zeros((), dtype=torch.float64)


def windows_product(
    windows: Windows, given: torch.Tensor, weight: torch.Tensor, groups: int, *, apart: bool
) -> tuple[torch.Tensor, Rounding]:
    """Multiply a kernel with all windows.

    Args:
        windows: where they are; places that they add hold 0.
        given: (B, C, *places).
        weight: (outputs, C / groups, *kernel).
        groups: with a block of the outputs and of the channels each.
        apart: in float64, see `multiply_windows`.

    Returns:
        (B, outputs, *windows), and its rounding, the absolute one (B, outputs, 1, ...).
    """
    pairs = isinstance(given, Wide)
    if not pairs and not (apart and AVAILABLE):
        terms = additions(windows, weight.shape[1], apart=apart)
        value = multiply_windows(windows, given, weight, groups, apart=apart)
        return value, Rounding(gamma(terms + 2), NOTHING)
    batch, places = given.shape[0], tuple(given.shape[2:])
    outputs, inputs, *_ = weight.shape
    count = windows.count(places)
    parts = given.reshape(batch, groups, inputs, *places)
    phases, layout = phases_of(windows, nearest(parts))
    if pairs:
        phases = wide(phases, phases_of(windows, rest(parts))[0])
    kernels = weight.reshape(groups, outputs // groups, -1)
    length = count[0] * math.prod(layout.sizes[1:])
    phases = phases.reshape(batch * groups, -1)
    result, lost = product(kernels, phases, layout.offsets(inputs), length)
    result = result if pairs else result.high
    result = result.reshape(batch, outputs, count[0], *layout.sizes[1:])
    inside = tuple(slice(n) for n in count)
    ones = (1,) * len(count)
    return (
        result[(slice(None), slice(None), *inside)],
        Rounding(0.0, lost.reshape(batch, outputs, *ones), 0.0 if pairs else UNIT_ROUNDOFF),
    )


def matrix_product(left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, Rounding]:
    """Multiply matrices; axes before the last two are broadcast.

    Args:
        left: (..., n, k).
        right: (..., k, m).

    Returns:
        (..., n, m), and its rounding, the absolute one (..., n, 1).
    """
    if not isinstance(left, Wide):
        return left @ right, Rounding(gamma(left.shape[-1] + 2), NOTHING)
    terms, places = right.shape[-2:]
    before = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    first = left.expand(*before, *left.shape[-2:]).reshape(-1, *left.shape[-2:])
    second = right.expand(*before, terms, places).reshape(-1, terms * places)
    value, lost = product(first, second, torch.arange(terms) * places, places)
    shape = (*before, left.shape[-2])
    return value.reshape(*shape, places), Rounding(0.0, lost.reshape(*shape, 1))
