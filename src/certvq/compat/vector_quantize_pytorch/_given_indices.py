"""Indices as users give them: one tensor, or a list of one for each level.

In: what stands for the indices of a batch. Out: one tensor in the layout that `forward` returns, or
a named error, never another order of the same numbers. Must not know of codebooks.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch

from certvq.errors import ShapeError
from certvq.nn._core.codes import require_integers

Given: TypeAlias = torch.Tensor | Sequence[torch.Tensor]
"""Indices of all levels, on the last axis or as a list."""


def of_levels(indices: Given) -> torch.Tensor:
    """Put the levels of a list on the last axis; a tensor is returned as it is.

    Raises:
        DTypeError: no tensors of integers.
        ShapeError: no level, or levels of unlike shapes.

    Example:
        >>> of_levels([torch.tensor([[4, 1]]), torch.tensor([[0, 2]])]).tolist()
        [[[4, 0], [1, 2]]]
    """
    if isinstance(indices, list | tuple):
        for each in indices:
            require_integers(each)
        shapes = {tuple(each.shape) for each in indices}
        if len(shapes) != 1:
            text = (
                "a list of indices must hold one tensor for each level, all of one "
                f"shape, got those of {sorted(shapes)}"
            )
            raise ShapeError(text)
        return torch.stack([each.long() for each in indices], dim=-1)
    require_integers(indices)  # pyright: ignore[reportArgumentType] (says what else came)
    return indices  # pyright: ignore[reportReturnType]


def as_returned(
    indices: torch.Tensor, grid: tuple[int, ...], last: tuple[int, ...] = ()
) -> torch.Tensor:
    """Read the indices of a batch as rows.

    Args:
        indices: (*grid, *last), as `forward` returns them, or (b, places, *last), as the original
            takes them for images.
        grid: (b, ...), shape of the latents without their features.
        last: what each latent has: an axis for heads or levels, or nothing.

    Returns:
        int64 (N, *last).

    Raises:
        DTypeError: no dense tensor of integers.
        ShapeError: another shape, also one of as many numbers.
    """
    require_integers(indices)
    flat = (*grid[:1], math.prod(grid[1:]))
    if tuple(indices.shape) not in {(*grid, *last), (*flat, *last)}:
        text = (
            f"indices must have the shape {(*grid, *last)} that forward returns for such latents, "
            f"got {tuple(indices.shape)}"
        )
        raise ShapeError(text)
    return indices.long().reshape(-1, *last)
