"""Grids of a multi-scale quantizer: averages over their cells, and the way back.

In: feature maps (b, D, ...) and masks (b, ...). Out: the same on coarser grids, or spread over the
whole one. Must not know of codes' meaning.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from certvq.errors import OptionError, ShapeError
from certvq.nn._torch.modes import sizes, transforming

_POOLS: tuple[Callable[[torch.Tensor, Any], torch.Tensor], ...] = (
    functional.adaptive_avg_pool1d,
    functional.adaptive_avg_pool2d,
    functional.adaptive_avg_pool3d,
)
_MODES = ("linear", "bilinear", "trilinear")

Scales = tuple[tuple[int, ...], ...]


def require_scales(scales: Sequence[int | Sequence[int]], axes: int) -> Scales:
    """Read the sizes of the grids.

    Raises:
        OptionError: none, one with another number of axes, one without cells, or one that is
            coarser than the one before it.

    Example:
        >>> require_scales([1, (2, 3)], 2)
        ((1, 1), (2, 3))
    """
    read = tuple((scale,) * axes if isinstance(scale, int) else tuple(scale) for scale in scales)
    fits = all(len(scale) == axes and min(scale) >= 1 for scale in read)
    grows = fits and all(
        small <= large
        for coarse, fine in itertools.pairwise(read)
        for small, large in zip(coarse, fine, strict=True)
    )
    if not read or not grows:
        text = (
            f"scales must be sizes along {axes} axes, each at least 1, from coarse to fine, got "
            f"{list(scales)}"
        )
        raise OptionError(text)
    return read


def cells(scales: Scales) -> tuple[int, ...]:
    """Return how many cells each grid has."""
    return tuple(math.prod(scale) for scale in scales)


def split(codes: torch.Tensor, scales: Scales) -> tuple[torch.Tensor, ...]:
    """Cut (b, n_0 + ... + n_q) into grids (b, ...).

    Raises:
        ShapeError: a number of codes that ends within a scale.
    """
    counts = cells(scales)
    ends = [sum(counts[: depth + 1]) for depth in range(len(counts))]
    shape = sizes(codes)
    if len(shape) != 2 or shape[1] not in ends:
        text = (
            f"codes must be of shape (b, n) with n one of {ends}, for all scales or the first "
            f"ones, got shape {shape}"
        )
        raise ShapeError(text)
    depth = ends.index(shape[1]) + 1
    pieces = codes.split(counts[:depth], dim=1)
    return tuple(
        piece.reshape(codes.shape[0], *scale) for piece, scale in zip(pieces, scales, strict=False)
    )


def full_size(
    scales: Scales, mask: torch.Tensor | None, size: Sequence[int] | None
) -> tuple[int, ...]:
    """Return the size of the whole grid: as given, that of the mask, or that of the last scale.

    Raises:
        ShapeError: wrong number of axes, an empty axis, or a mask of another size.
    """
    found = tuple(size) if size is not None else scales[-1]
    if mask is not None and size is None:
        found = tuple(mask.shape[1:])
    if len(found) != len(scales[-1]) or min(found) < 1:
        text = f"size must have {len(scales[-1])} axes, each at least 1, got {found}"
        raise ShapeError(text)
    return found


def present(mask: torch.Tensor | None, scale: tuple[int, ...]) -> torch.Tensor | None:
    """Say which cells hold at least one latent, bool (b, *scale); None is all."""
    if mask is None:
        return None
    return _pool(mask[:, None].float(), scale)[:, 0] > 0


def average(maps: torch.Tensor, mask: torch.Tensor | None, scale: tuple[int, ...]) -> torch.Tensor:
    """Average over the cells of a grid, in float32 or wider.

    Args:
        maps: (b, D, ...).
        mask: bool (b, ...), True where there is a latent, or None.
        scale: sizes of the grid.

    Returns:
        (b, D, *scale), averages of the latents of each cell; zero where it has none.
    """
    wide = maps.to(torch.promote_types(maps.dtype, torch.float32))
    if mask is None:
        return _pool(wide, scale)
    pooled = _pool(wide.masked_fill(~mask[:, None], 0), scale)
    share = _pool(mask[:, None].to(wide.dtype), scale)
    return torch.where(share > 0, pooled / torch.where(share > 0, share, 1), 0)


def spread(maps: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """Spread maps (b, D, *scale) over the whole grid by linear interpolation, in their dtype."""
    if sizes(maps)[2:] == size:
        return maps
    wide = maps.to(torch.promote_types(maps.dtype, torch.float32))
    mode = _MODES[len(size) - 1]
    large = functional.interpolate(wide, size=size, mode=mode, align_corners=False)
    return large.to(maps.dtype)


def _pool(maps: torch.Tensor, scale: tuple[int, ...]) -> torch.Tensor:
    if sizes(maps)[2:] == scale:
        return maps
    if transforming() and max(scale) == 1:  # what a pool to one cell is; vmap has no rule for that
        return maps.mean(dim=tuple(range(2, maps.ndim)), keepdim=True)
    return _POOLS[len(scale) - 1](maps, scale)
