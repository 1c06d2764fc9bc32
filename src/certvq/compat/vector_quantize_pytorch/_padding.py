"""Masks and lengths, as the original takes them.

In: a mask, or the length of each sequence. Out: the rows that count, and the way back. Must not
know of codebooks.
"""

import math

import torch

from certvq.errors import DTypeError, OptionError, ShapeError, TransformError
from certvq.nn._core.latents import kept_rows
from certvq.nn._torch.modes import beneath, is_batched, transforming


def mask_of_lengths(lens: torch.Tensor, grid: tuple[int, ...]) -> torch.Tensor:
    """Return the mask (b, n) of sequences of different lengths.

    Args:
        lens: integers (b,), 0 to n.
        grid: (b, n).

    Raises:
        ShapeError: latents of other axes, another number of lengths, or one that is out of range.
        DTypeError: lengths that are not integers.
        TransformError: lengths of their own for each sample of `torch.func.vmap`.
    """
    if len(grid) != 2 or tuple(lens.shape) != grid[:1]:
        text = (
            "lens must be one length for each sequence of latents (b, n, d), got shape "
            f"{tuple(lens.shape)} for indices of shape {grid}"
        )
        raise ShapeError(text)
    if lens.is_floating_point() or lens.is_complex() or lens.dtype == torch.bool:
        text = f"lens must be integers, got {str(lens.dtype).removeprefix('torch.')}"
        raise DTypeError(text)
    if transforming():
        if is_batched(lens):
            text = (
                "lens must be the same for all samples of torch.func.vmap, as they say how many "
                f"tokens there are, got {len(lens)} of them for each sample; close over one tensor "
                "of them, or give the samples one after the other"
            )
            raise TransformError(text)
        lens = beneath(lens)
    bad = [place for place, length in enumerate(map(int, lens)) if not 0 <= length <= grid[1]]
    if bad:
        text = f"lens must lie in 0 to {grid[1]}, got {int(lens[bad[0]])} at position {bad[0]}"
        raise ShapeError(text)
    return torch.arange(grid[1], device=lens.device) < lens[:, None]


def spread_mask(mask: torch.Tensor | None, grid: tuple[int, ...]) -> torch.Tensor | None:
    """Bring a mask to the shape of the codes (b, ...), from (b,) or from (b, places) as well.

    A mask of one bool for each sample keeps all of it, or nothing. Other shapes come back as they
    are, for `kept_rows` to refuse.

    Example:
        >>> spread_mask(torch.tensor([True, False]), (2, 1, 2)).tolist()
        [[[True, True]], [[False, False]]]
    """
    if not isinstance(mask, torch.Tensor):
        return mask
    if mask.shape == grid[:1]:
        return mask.reshape(-1, *(1 for _ in grid[1:])).expand(grid)
    return mask.reshape(grid) if mask.shape == (grid[0], math.prod(grid[1:])) else mask


def counted(
    mask: torch.Tensor | None,
    lens: torch.Tensor | None,
    grid: tuple[int, ...],
    device: torch.device,
) -> torch.Tensor | None:
    """Return the rows that a mask, or lengths, keep, on the device of the latents; None for all.

    Raises:
        OptionError: both are given.
        ShapeError, DTypeError: as `kept_rows` and `mask_of_lengths`; masks go with (b, n, d) only.
    """
    if mask is not None and lens is not None:
        text = "mask and lens say the same thing; give one of them"
        raise OptionError(text)
    if lens is not None:
        mask = mask_of_lengths(lens, grid)
    if isinstance(mask, torch.Tensor) and len(grid) != 2:
        text = (
            f"a mask goes with sequences of latents (b, n, d), got indices of shape {grid}; give "
            "images and volumes as sequences of their places"
        )
        raise ShapeError(text)
    if isinstance(mask, torch.Tensor) and tuple(mask.shape) != grid:
        text = f"mask must have the shape (b, n) of the latents, {grid}, got {tuple(mask.shape)}"
        raise ShapeError(text)
    return kept_rows(mask, grid, device)


def among(
    rows: torch.Tensor, kept: torch.Tensor | None, count: int, padding: float
) -> torch.Tensor:
    """Put rows back among `count` ones, the others of which hold `padding`."""
    if kept is None:
        return rows
    return rows.new_full((count, *rows.shape[1:]), padding).index_copy(0, kept, rows)
