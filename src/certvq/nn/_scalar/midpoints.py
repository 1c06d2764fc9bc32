"""Where one learned number gives way to the next: midpoints of floats, exactly.

In: numbers of each feature. Out: a table that latents can be compared with, such that the
comparison decides as real arithmetic does. Must not know of quantizers.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from certvq.nn._scalar.thresholds import below_float32
from certvq.nn._torch.modes import has_memory

_SAFE = 2.0**500
"""Magnitudes whose sums and halves are exact or rounded as usual: no overflow, no subnormals."""


_FEW = 256
"""Numbers up to which a loop of Python takes less time than thirty calls of torch."""


@dataclass(frozen=True)
class Midpoints:
    """Borders of the cells of sorted numbers, and which number each cell belongs to.

    Attributes:
        limits: (D, M - 1) increasing; a latent is beyond a border just when it is greater.
        order: int64 (D, M), for each cell the lowest index of the number that it belongs to.
        plain: whether `order` is 0, 1, 2, ... in every row.
    """

    limits: torch.Tensor
    order: torch.Tensor
    plain: bool


def midpoints(table: torch.Tensor, dtype: torch.dtype) -> Midpoints | None:
    """Find the borders between the numbers of each row.

    Mathematics: ``s = fl(a + b)`` and the rounding error ``e = a + b - s`` (exact, by Knuth's
    two-sum) say on which side of the float s / 2 the midpoint lies. A border is the greatest float
    at most the midpoint if a latent on the midpoint belongs to the lower number, which it does if
    that has the lower index; else it is the greatest float below the midpoint.

    Args:
        table: (D, M) float64, finite but for +inf at the end of short rows.
        dtype: type of number of the latents to compare, float64 or float32.

    Returns:
        The borders, or None if numbers are beyond 2^500, or sums within 2^-500 of 0 but not 0, so
        that halves might be inexact.
    """
    if table.numel() <= _FEW and table.device.type == "cpu" and has_memory(table):
        borders = _of_few(table.tolist())
    else:
        borders = _of_many(table)
    if borders is None or dtype != torch.float32:
        return borders
    return replace(borders, limits=below_float32(borders.limits))


def _of_few(rows: list[list[float]]) -> Midpoints | None:
    limits, orders = [], []
    for row in rows:
        order = sorted(range(len(row)), key=row.__getitem__)
        for place in range(1, len(row)):
            if row[order[place]] == row[order[place - 1]]:
                order[place] = order[place - 1]
        numbers = [row[place] for place in order]
        if not all(-_SAFE <= number <= _SAFE or number == math.inf for number in numbers):
            return None
        borders = []
        for place, (lower, upper) in enumerate(pairwise(numbers)):
            if upper == math.inf:
                borders.append(math.inf)
                continue
            total = lower + upper
            if total != 0.0 and abs(total) < 1.0 / _SAFE:
                return None
            part = total - lower
            error = (lower - (total - part)) + (upper - part)
            to_upper = order[place + 1] < order[place]
            below = error < 0.0 or (error == 0.0 and to_upper)
            borders.append(math.nextafter(total / 2, -math.inf) if below else total / 2)
        limits.append(borders)
        orders.append(order)
    plain = all(
        place == rank or row[place] == math.inf
        for row, order in zip(rows, orders, strict=True)
        for rank, place in enumerate(order)
    )
    shape = len(rows), len(rows[0]) - 1
    return Midpoints(
        torch.tensor(limits, dtype=torch.float64).reshape(shape), torch.tensor(orders), plain
    )


def _of_many(table: torch.Tensor) -> Midpoints | None:
    numbers, order = table.sort(dim=1, stable=True)
    inside = torch.isfinite(numbers)
    lower, upper = numbers[:, :-1], numbers[:, 1:]
    total = lower + upper
    sizes = total[inside[:, 1:]].abs()
    unsafe = (sizes < 1.0 / _SAFE) & (sizes != 0.0)
    if bool(unsafe.any()) or bool((numbers[inside].abs() > _SAFE).any()):
        return None
    places = torch.arange(table.shape[1], device=table.device).expand_as(order)
    repeated = torch.zeros_like(inside)
    repeated[:, 1:] = lower == upper
    order = order.gather(1, places.masked_fill(repeated, 0).cummax(dim=1).values)
    part = total - lower
    error = (lower - (total - part)) + (upper - part)
    half = total / 2
    before = torch.nextafter(half, torch.full_like(half, -math.inf))
    to_upper = order[:, 1:] < order[:, :-1]
    limits = torch.where((error < 0) | ((error == 0) & to_upper), before, half)
    limits = limits.masked_fill(~inside[:, 1:], math.inf)
    return Midpoints(limits.contiguous(), order, bool((order == places)[inside].all()))
