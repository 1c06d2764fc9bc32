"""Linear and cubic upsampling along each axis of places: a mean of two or four neighbours.

In: arguments. Out: values with bounds. Entry i of an axis is ``(1 - w) x_l + w x_(l + 1)`` where
``l + w`` is its place in the input over the rational numbers, from n entries to m: ``max((i + 1/2)
n / m - 1/2, 0)``, or with `align_corners` ``i (n - 1) / (m - 1)``. Cubic upsampling takes ``sum_k
W(k - w) x_(l + k)`` for k from -1 to 2, of the place ``(i + 1/2) n / m - 1/2``, which may be
negative; entries beyond an end are that at the end. With a = -3/4, ``W(t) = (a + 2) |t|^3 - (a +
3) t^2 + 1`` up to 1, and ``a |t|^3 - 5 a t^2 + 8 a |t| - 4 a`` from there to 2. Errors mix by the
sizes of the weights (`taps_error_le`).
"""

import math
from collections.abc import Callable, Iterable
from fractions import Fraction

import numpy as np
import torch

from certvq.network._bounded import Bounded, along
from certvq.network._bounds import FLOOR, enlargement, norm_upper
from certvq.network._graph import Ref
from certvq.network._numbers import Numbers
from certvq.network._wide import Wide, rounding, wide
from certvq.network.rules._products import matrix_product
from certvq.network.rules._rule import Arguments, Mask, Objects, Rule
from certvq.network.rules._upsampling import factors_of

Weights = Callable[[Fraction, int], list[Fraction]]
"""Of a place between entries of an axis, and their count: the weight of each entry."""


class Upsampling(Rule):
    """Upsampling by whole factors, or to any sizes.

    Args:
        weights: of an entry.
    """

    rational = True
    samples = "input"

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def refusal(self, arguments: Arguments) -> str:
        """Refuse factors that are not whole, whose places torch rounds."""
        factors = arguments.get("scale_factors")
        if factors is None or all(each == int(each) for each in factors):
            return ""
        return f"with factors {factors} (known: whole numbers)"

    def bounded(self, arguments: Arguments) -> Bounded:
        """Mix values and bounds alike."""
        given = along(arguments["input"], 1)
        shape = tuple(given.value.shape)
        fractions, value = self._matrices(shape, arguments), given.value
        terms = sum(shape[2:]) + 4 * len(fractions)
        error = given.error + rounding(value, terms) * norm_upper(value, (1,))
        for axis, rows in enumerate(fractions, start=2):
            matrix, low = _floats(rows)
            weights = wide(matrix, low) if isinstance(value, Wide) else matrix
            mixed, lost = matrix_product(value.movedim(axis, -1), weights.mT)
            value = mixed.movedim(-1, axis)
            error = (error.movedim(axis, -1) @ matrix.abs().mT).movedim(-1, axis)
            if isinstance(value, Wide):
                error = error + lost.of_vectors(1, shape[1]).movedim(-1, axis)
        return Bounded(value, error * enlargement(terms + 4) + FLOOR, 1)

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """An entry needs its neighbours."""
        given: Ref = arguments["input"]
        needed = mask
        for axis, matrix in enumerate(self._matrices(given.shape, arguments), start=2):
            used = np.array([[w != 0 for w in row] for row in matrix])
            needed = np.moveaxis(np.moveaxis(needed, axis, -1) @ used, -1, axis)
        yield given, needed

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:  # noqa: ARG002
        """Mix the numbers; entries that are not needed count as 0."""
        given: Objects = arguments["input"]
        zero = numbers.number(0.0)
        value = np.array([zero if each is None else each for each in given.flat], object)
        value = value.reshape(given.shape)
        for axis, matrix in enumerate(self._matrices(given.shape, arguments), start=2):
            weights = np.empty((len(matrix[0]), len(matrix)), object)
            for i, row in enumerate(matrix):
                weights[:, i] = [
                    numbers.number(float(w.numerator)) / numbers.number(float(w.denominator))
                    for w in row
                ]
            rows = np.moveaxis(value, axis, -1)
            mixed = numbers.matmul(rows.reshape(-1, given.shape[axis]), weights)
            value = np.moveaxis(mixed.reshape(*rows.shape[:-1], -1), -1, axis)
        return value

    def _matrices(self, shape: tuple[int, ...], arguments: Arguments) -> list[list[list[Fraction]]]:
        """Return for each axis of places the weights of the entries in each of the output's."""
        factors = factors_of(shape, arguments)
        sizes = arguments.get("output_size") or [
            int(n * f) for n, f in zip(shape[2:], factors, strict=True)
        ]
        corners = bool(arguments["align_corners"])
        return [
            [self._weights(_place(i, n, m, corners=corners), n) for i in range(m)]
            for n, m in zip(shape[2:], sizes, strict=True)
        ]


def _floats(rows: list[list[Fraction]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the float64 numbers next to fractions, and those next to what is left."""
    high = [[float(w) for w in row] for row in rows]
    low = [
        [float(w - Fraction(h)) for w, h in zip(*pair, strict=True)]
        for pair in zip(rows, high, strict=True)
    ]
    return torch.tensor(high, dtype=torch.float64), torch.tensor(low, dtype=torch.float64)


def _place(entry: int, count: int, wanted: int, *, corners: bool) -> Fraction:
    """Return where an entry of the output is between those of the input."""
    if corners:
        return Fraction(entry * (count - 1), max(1, wanted - 1))
    return Fraction((2 * entry + 1) * count, 2 * wanted) - Fraction(1, 2)


def _linear(place: Fraction, count: int) -> list[Fraction]:
    return _weights(max(place, Fraction(0)), count, {0: lambda w: 1 - w, 1: lambda w: w})


def _cubic(place: Fraction, count: int) -> list[Fraction]:
    return _weights(place, count, {k: lambda w, k=k: _kernel(abs(k - w)) for k in (-1, 0, 1, 2)})


def _kernel(t: Fraction) -> Fraction:
    a = Fraction(-3, 4)
    if t <= 1:
        return ((a + 2) * t - (a + 3)) * t * t + 1
    return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a


def _weights(
    place: Fraction, count: int, shares: dict[int, Callable[[Fraction], Fraction]]
) -> list[Fraction]:
    """Give each neighbour its share; beyond an end, to the entry there."""
    low = math.floor(place)
    row = [Fraction(0)] * count
    for step, share in shares.items():
        row[min(max(low + step, 0), count - 1)] += share(place - low)
    return row


_LINEAR = Upsampling(_linear)

RULES: dict[str, Rule] = {
    "upsample_linear1d.vec": _LINEAR,
    "upsample_bilinear2d.vec": _LINEAR,
    "upsample_trilinear3d.vec": _LINEAR,
    "upsample_bicubic2d.vec": Upsampling(_cubic),
}
