"""Exact thresholds of other libraries' bounds, and indices in exact integers.

In: levels, and which function bounds a feature. Out: `Grid`, which finds the place of the level of
each feature and joins places to an index. Must not know of layers.
"""

import decimal
import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import torch

from certvq.nn._scalar.grid import axis_of
from certvq.nn._scalar.radix import join_digits, split_codes
from certvq.nn._scalar.thresholds import below_half_logarithm, count_below

_DIGITS = 90
"""Decimal digits of nested logarithms: errors grow by less than 10^20 where `_SLACK` is kept."""

_SLACK = Decimal("1e-10")
"""How far from 1 the argument of an artanh has to be, for that."""

_UNCERTAIN = Decimal(10) ** (28 - _DIGITS)

_EPS = Fraction(1, 1000)


@dataclass(frozen=True, eq=False)
class Grid:
    """Levels of each feature, and the latents at which one gives way to the next.

    Attributes:
        levels: how many each feature has.
        limits: float64 (D, M); the greatest float64 at most each threshold, +inf beyond the last.
        exact: bool (D, M); whether it is the threshold itself, where two levels are equally near.
        highest_first: whether the first feature counts most in an index, rather than least.
    """

    levels: tuple[int, ...]
    limits: torch.Tensor
    exact: torch.Tensor
    highest_first: bool = False

    def digits(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the place of each feature's level, the lower one of two that are equally near.

        Args:
            latents: (N, D), any float type, finite.

        Returns:
            int64 (N, D).
        """
        wide = latents.detach().double().T.contiguous()
        return count_below(wide, self.limits.to(wide.device)).long().T

    def join(self, digits: torch.Tensor) -> torch.Tensor:
        """Return the indices int64 (N,) of places (N, D), in exact integers."""
        rows, levels = digits.T, self.levels
        return join_digits(*(rows.flip(0), levels[::-1]) if self.highest_first else (rows, levels))

    def split(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the places int64 (N, D) of indices in range."""
        levels = self.levels[::-1] if self.highest_first else self.levels
        rows = split_codes(codes.long(), levels)
        return (rows.flip(0) if self.highest_first else rows).T

    @property
    def shape(self) -> tuple[int, int]:
        """How many indices there are, and how many features."""
        return math.prod(self.levels), len(self.levels)

    def same(self, other: "Grid") -> bool:
        """Say whether two grids have the same levels and thresholds."""
        return self.levels == other.levels and torch.equal(self.limits, other.limits)

    def distances(self, latents: torch.Tensor) -> torch.Tensor:
        """Bound how far each latent may move before one of its levels can change, from below.

        A threshold lies at its limit or above it, below the next float64. A feature moves by at
        most the Euclidean distance that its latent does.

        Args:
            latents: (N, D), any float type, finite.

        Returns:
            float64 (N,); 0 at a threshold, infinite where each feature has one level.
        """
        wide, limits = latents.detach().double()[:, :, None], self.limits.to(latents.device)
        over = torch.nextafter(limits, torch.full_like(limits, math.inf))
        gaps = torch.where(wide > limits, wide - over, limits - wide)
        return gaps.abs().flatten(1).amin(1) * (1 - 2.0**-50)

    def probes(self) -> torch.Tensor:
        """Return latents (P, D) in the middle of each level, and near both sides of each border.

        A layer that computes this grid in float32 finds their levels, if these are at most 4096.
        """
        columns = [_probes([t for t in row if math.isfinite(t)]) for row in self.limits.tolist()]
        most = max(map(len, columns))
        padded = [column + column[-1:] * (most - len(column)) for column in columns]
        return torch.tensor(padded, dtype=torch.float64).T.contiguous()


def _probes(limits: list[float]) -> list[float]:
    """Place latents by the distance of each border to the nearest other one."""
    gaps = [b - a for a, b in itertools.pairwise(limits)] or [1.0]
    found: list[float] = []
    for place, limit in enumerate(limits):
        near = min(gaps[max(place - 1, 0) : place + 1])
        found += [limit - near / 2, limit - near / 50, limit + near / 50, limit + near / 2]
    return found


@functools.lru_cache(maxsize=64)
def rounded_grid(
    levels: tuple[int, ...], *, preserve_symmetry: bool = False, hard_clamp: bool = False
) -> Grid:
    """Return the grid of finite scalar quantization, as `certvq.nn.FSQ` has it."""
    axes = [
        axis_of(count, preserve_symmetry=preserve_symmetry, hard_clamp=hard_clamp)
        for count in levels
    ]
    rational = [
        _borders(count, preserve_symmetry=preserve_symmetry, hard_clamp=hard_clamp)
        for count in levels
    ]
    return _grid(
        levels,
        [list(axis.limits) for axis in axes],
        [
            [Fraction(limit) == border for limit, border in zip(axis.limits, borders, strict=True)]
            for axis, borders in zip(axes, rational, strict=True)
        ],
    )


def _borders(levels: int, *, preserve_symmetry: bool, hard_clamp: bool) -> list[Fraction | None]:
    """Return the thresholds that are rational; an artanh of a rational is so only at 0."""
    if preserve_symmetry:
        borders = [Fraction(2 * i + 2 - levels, levels - 1) for i in range(levels - 1)]
        return [border if hard_clamp or not border else None for border in borders]
    reach = (levels - 1) * (1 + _EPS) / 2
    borders = [Fraction(2 * i + 1, 2) - levels // 2 for i in range(levels - 1)]
    return [border / reach if hard_clamp else None for border in borders]


@functools.lru_cache(maxsize=64)
def twice_bound_grid(levels: tuple[int, ...]) -> Grid:
    """Return the grid of the same with the bound, ``h tanh(z + s) - o``, applied two times.

    A level that the second bound cannot reach any more has a threshold at infinity.
    """
    limits = [_twice(count) for count in levels]
    return _grid(levels, limits, [[False] * len(row) for row in limits])


@functools.lru_cache(maxsize=64)
def scaled_tanh_grid(features: int, scale: Fraction) -> Grid:
    """Return the grid of ``round(scale tanh(z)) + 1`` for a scale above 1/2 and below 3/2."""
    border = Fraction(1, 2) / scale
    ratio = (1 + border) / (1 - border)
    limits = [below_half_logarithm(1 / ratio), below_half_logarithm(ratio)]
    return _grid((3,) * features, [limits] * features, [[False, False]] * features)


@functools.lru_cache(maxsize=64)
def sign_grid(features: int) -> Grid:
    """Return the grid of ``z > 0``, whose first feature counts most."""
    grid = _grid((2,) * features, [[0.0]] * features, [[True]] * features)
    return Grid(grid.levels, grid.limits, grid.exact, highest_first=True)


def _grid(levels: tuple[int, ...], limits: list[list[float]], exact: list[list[bool]]) -> Grid:
    most = max(map(len, limits))
    table = [row + [math.inf] * (most - len(row)) for row in limits]
    marks = [row + [False] * (most - len(row)) for row in exact]
    return Grid(levels, torch.tensor(table, dtype=torch.float64), torch.tensor(marks))


def _twice(levels: int) -> list[float]:
    reach = (levels - 1) * (1 + _EPS) / 2
    offset = Fraction(1 - levels % 2, 2)
    with decimal.localcontext() as context:
        context.prec = _DIGITS
        h, o = (Decimal(x.numerator) / Decimal(x.denominator) for x in (reach, offset))
        shift = _artanh(o / h)

        def inverse(value: Decimal) -> Decimal | float:
            inside = (value + o) / h
            if abs(inside) >= 1 + _SLACK:
                return math.copysign(math.inf, inside)
            return _artanh(inside) - shift

        return [_inverted(inverse, Decimal(2 * i + 1) / 2 - levels // 2) for i in range(levels - 1)]


def _inverted(inverse: Callable[[Decimal], Decimal | float], border: Decimal) -> float:
    inner = inverse(border)
    assert isinstance(inner, Decimal)  # half a level inside of the outermost one
    outer = inverse(inner)
    if isinstance(outer, float):
        return outer
    near = float(outer)
    if abs(Decimal(near) - outer) <= _UNCERTAIN:
        text = f"{_DIGITS} digits do not tell on which side of {near} the border lies; use more"
        raise ArithmeticError(text)
    return near if Decimal(near) < outer else math.nextafter(near, -math.inf)


def _artanh(value: Decimal) -> Decimal:
    if 1 - abs(value) < _SLACK:
        text = f"{_DIGITS} digits do not give the artanh of {value:.20}; use more"
        raise ArithmeticError(text)
    return ((1 + value) / (1 - value)).ln() / 2
