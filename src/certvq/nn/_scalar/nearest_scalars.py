"""For each feature of each latent, the nearest number in that feature's own list.

In: latents, lists of numbers in one row and where each list lies in it. Out: the places of the
nearest numbers, and the code of each latent. Must not know who chose the numbers.
"""

import functools
import math

import torch

from certvq.assign import assign
from certvq.errors import NonFiniteError
from certvq.nn._core.latents import largest
from certvq.nn._scalar.cells import find_cells
from certvq.nn._scalar.midpoints import midpoints
from certvq.nn._scalar.radix import join_digits
from certvq.nn._scalar.thresholds import count_below
from certvq.nn._torch.functorch import apart
from certvq.nn._torch.modes import (
    beneath,
    brought,
    exporting,
    full_precision,
    transforming,
    widened,
)
from certvq.nn._torch.tracing import nearest_in_graph


def nearest_scalars(
    latents: torch.Tensor, values: torch.Tensor, index: torch.Tensor, levels: tuple[int, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the nearest values, the first of those that are equally near.

    Args:
        latents: (N, D) finite floats, detached.
        values: (M,) floats, detached, the lists of all features one after the other.
        index: int64 (D, max L), the places in `values` of each list; M at the end of short rows.
        levels: L, the lengths of the lists.

    Returns:
        The places among `values`, int64 (N, D), and the codes ``i_1 + L_1 (i_2 + ...)``, int64
        (N,), of the places i in each list.

    Raises:
        NonFiniteError: a value is NaN or infinite.

    Guarantee: nearest over the real numbers, for numbers of any size.
    Ties: the first in each list.
    Cost: ``N D L`` comparisons for L up to 33, ``N D log L`` beyond.

    Example:
        >>> lists, index = torch.tensor([0.0, 2.0, -1.0, 1.0]), torch.tensor([[0, 1], [2, 3]])
        >>> places, codes = nearest_scalars(torch.tensor([[1.5, 0.0]]), lists, index, (2, 2))
        >>> places.tolist(), codes.tolist()
        ([[1, 2]], [1])
    """
    if exporting():
        inside = index < sum(levels)
        table = values.double()[torch.where(inside, index, 0)]
        table = torch.where(inside, table, math.inf)
        digits = nearest_in_graph(latents.double().T, table)
        return digits.T + index[:, 0], join_digits(digits, levels)
    if torch.compiler.is_compiling():
        return nearest_scalars_operator(latents, values, index, list(levels))
    step = functools.partial(_search, levels=levels)
    if transforming():
        _require_finite(beneath(values).reshape(-1))
        places, codes = apart(step, [latents], [values, index])
        return places, codes
    _require_finite(values)
    return step(latents, values, index)


@torch.library.custom_op(
    "certvq::nearest_scalars",
    mutates_args=(),
    schema="(Tensor latents, Tensor values, Tensor index, int[] levels) -> (Tensor, Tensor)",
)  # of `list[int]` torch 2.6 infers none
def nearest_scalars_operator(
    latents: torch.Tensor, values: torch.Tensor, index: torch.Tensor, levels: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Do the same, as an operator: which borders lie where is decided out of compilers' sight."""
    places, codes = nearest_scalars(latents, values, index, tuple(levels))
    return places.contiguous(), codes


@nearest_scalars_operator.register_fake
def _(
    latents: torch.Tensor, values: torch.Tensor, index: torch.Tensor, levels: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    del values, levels
    return (
        index.new_empty(latents.shape),
        index.new_empty(latents.shape[:1]),
    )


def _search(
    latents: torch.Tensor, values: torch.Tensor, index: torch.Tensor, *, levels: tuple[int, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    wide = torch.promote_types(latents.dtype, torch.float32)
    table = torch.cat([values, values.new_full((1,), math.inf)])[index]
    borders = midpoints(widened(table), wide)
    if borders is None or max(levels) == 1:
        digits = _assigned(latents, values, levels)
    elif borders.plain:
        limits = brought(borders.limits, latents.device)
        found = find_cells(latents.to(wide), limits, index, levels)
        return found.entries, found.codes
    else:
        limits = brought(borders.limits, latents.device)
        cells = count_below(latents.to(wide).T.contiguous(), limits)
        digits = borders.order.to(latents.device).gather(1, cells.long())
    return digits.T + index[:, 0], join_digits(digits, levels)


def _assigned(latents: torch.Tensor, values: torch.Tensor, levels: tuple[int, ...]) -> torch.Tensor:
    """Return the places in each list, (D, N), for numbers of any size."""
    parts = values.split(levels)
    with full_precision(latents.device):
        codes = [assign(latents[:, d, None], v[:, None]).codes for d, v in enumerate(parts)]
    return torch.stack(codes)


def _require_finite(values: torch.Tensor) -> None:
    if not math.isfinite(largest(values)):
        bad = torch.nonzero(~torch.isfinite(values))
        place = int(bad[0])
        text = (
            f"values must be finite, got {float(values[place])} at place {place} ({len(bad)} bad "
            "values in all); the optimiser diverged, or the state is damaged"
        )
        raise NonFiniteError(text)
