"""Linear upsampling along each axis of places: a mean of two neighbours.

In: arguments. Out: values with bounds. Entry i of an axis is ``(1 - w) x_l + w x_(l + 1)`` where
``l + w`` is its place in the input over the rational numbers, from n entries to m: ``max((i + 1/2)
n / m - 1/2, 0)``, or with `align_corners` ``i (n - 1) / (m - 1)``. Weights are not negative and add
up to 1, so that errors mix as values do (`taps_error_le`).
"""

from collections.abc import Iterable
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


class LinearUpsampling(Rule):
    """Linear, bilinear or trilinear upsampling by whole factors, or to any sizes."""

    rational = True

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
        fractions, value = _matrices(shape, arguments), given.value
        terms = sum(shape[2:]) + 4 * len(fractions)
        error = given.error + rounding(value, terms) * norm_upper(value, (1,))
        for axis, rows in enumerate(fractions, start=2):
            matrix, low = _floats(rows)
            weights = wide(matrix, low) if isinstance(value, Wide) else matrix
            mixed, lost = matrix_product(value.movedim(axis, -1), weights.mT)
            value = mixed.movedim(-1, axis)
            error = (error.movedim(axis, -1) @ matrix.mT).movedim(-1, axis)
            if isinstance(value, Wide):
                error = error + lost.of_vectors(1, shape[1]).movedim(-1, axis)
        return Bounded(value, error * enlargement(terms + 4) + FLOOR, 1)

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """An entry needs its neighbours."""
        given: Ref = arguments["input"]
        needed = mask
        for axis, matrix in enumerate(_matrices(given.shape, arguments), start=2):
            used = np.array([[w > 0 for w in row] for row in matrix])
            needed = np.moveaxis(np.moveaxis(needed, axis, -1) @ used, -1, axis)
        yield given, needed

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:  # noqa: ARG002
        """Mix the numbers; entries that are not needed count as 0."""
        given: Objects = arguments["input"]
        zero = numbers.number(0.0)
        value = np.array([zero if each is None else each for each in given.flat], object)
        value = value.reshape(given.shape)
        for axis, matrix in enumerate(_matrices(given.shape, arguments), start=2):
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


def _matrices(shape: tuple[int, ...], arguments: Arguments) -> list[list[list[Fraction]]]:
    """Return for each axis of places the weights of the input's entries in each of the output's."""
    factors = factors_of(shape, arguments)
    sizes = arguments.get("output_size") or [
        int(n * f) for n, f in zip(shape[2:], factors, strict=True)
    ]
    corners = bool(arguments["align_corners"])
    return [_weights(n, m, corners=corners) for n, m in zip(shape[2:], sizes, strict=True)]


def _floats(rows: list[list[Fraction]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the float64 numbers next to fractions, and those next to what is left."""
    high = [[float(w) for w in row] for row in rows]
    low = [
        [float(w - Fraction(h)) for w, h in zip(*pair, strict=True)]
        for pair in zip(rows, high, strict=True)
    ]
    return torch.tensor(high, dtype=torch.float64), torch.tensor(low, dtype=torch.float64)


def _weights(count: int, wanted: int, *, corners: bool) -> list[list[Fraction]]:
    rows: list[list[Fraction]] = []
    for i in range(wanted):
        if corners:
            place = Fraction(i * (count - 1), max(1, wanted - 1))
        else:
            place = max(Fraction((2 * i + 1) * count, 2 * wanted) - Fraction(1, 2), Fraction(0))
        low = min(int(place), count - 1)
        row = [Fraction(0)] * count
        row[low] += 1 - (place - low)
        row[min(low + 1, count - 1)] += place - low
        rows.append(row)
    return rows


_LINEAR = LinearUpsampling()

RULES: dict[str, Rule] = {
    "upsample_linear1d.vec": _LINEAR,
    "upsample_bilinear2d.vec": _LINEAR,
    "upsample_trilinear3d.vec": _LINEAR,
}
