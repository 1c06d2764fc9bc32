"""Latents, indices and masks as the original takes them; types of number through its maps.

In: such a tensor. Out: rows, one for each token, and the way back, or a named error. Must not know
of quantizers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import nn
from torch.func import functional_call

from certvq.errors import DTypeError, OptionError, ShapeError, TransformError
from certvq.nn._core.codes import require_integers
from certvq.nn._core.latents import kept_rows, require_dense, require_floats
from certvq.nn._torch.modes import beneath, is_batched, transforming

Given: TypeAlias = torch.Tensor | Sequence[torch.Tensor]
"""Indices of all levels, on the last axis or as a list."""

_LISTED_CODES = 2**24


@dataclass(frozen=True)
class Grid:
    """Where the feature axis of latents is.

    Attributes:
        axis: its place.
    """

    axis: int

    def of(self, latents: torch.Tensor) -> tuple[int, ...]:
        """Return the shape of the latents without the feature axis."""
        return (*latents.shape[: self.axis], *latents.shape[self.axis + 1 :])

    def tokens(self, latents: torch.Tensor, dim: int) -> torch.Tensor:
        """Read latents as (N, dim)."""
        if latents.shape[self.axis] != dim:
            text = (
                f"latents must have dim={dim} features, got shape {tuple(latents.shape)} with "
                f"features at axis {self.axis}; see channel_last, channel_first and "
                "accept_image_fmap"
            )
            raise ShapeError(text)
        return latents.movedim(self.axis, latents.ndim - 1).reshape(-1, dim)

    def restore(self, rows: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """Undo `tokens` for rows (N, d), or (N, k, d), whose axis of size k stays behind."""
        whole = rows.reshape(*shape, *rows.shape[1:])
        return whole if self.axis == len(shape) else whole.movedim(whole.ndim - 1, self.axis)


def grid_of_latents(x: torch.Tensor, *, first: bool | None) -> Grid:
    """Say where the feature axis is, (B, D, ...) or (B, ..., D).

    Args:
        x: latents.
        first: which of the two; None is first with four axes and more.
    """
    require_dense(x, "latents")
    require_floats(x)
    if x.ndim < 2:
        text = f"latents must have at least two axes, got shape {tuple(x.shape)}"
        raise ShapeError(text)
    return Grid(1 if (x.ndim >= 4 if first is None else first) else x.ndim - 1)


def rows_of(
    x: torch.Tensor, dim: int, *, first: bool | None
) -> tuple[torch.Tensor, tuple[int, ...], Grid]:
    """Read latents as rows (N, dim); return the shape of the codes and the way back, too."""
    grid = grid_of_latents(x, first=first)
    return grid.tokens(x, dim), grid.of(x), grid


def restored(rows: torch.Tensor, shape: tuple[int, ...], *, first: bool | None) -> torch.Tensor:
    """Return the vectors (N, D) of codes of a shape as latents; see `grid_of_latents`."""
    last = not (len(shape) >= 3 if first is None else first)
    return Grid(len(shape) if last else 1).restore(rows, shape)


def require_one_layout(*, accept_image_fmap: bool, accept_3d_fmap: bool) -> None:
    """Refuse images and volumes at once."""
    if accept_image_fmap and accept_3d_fmap:
        text = (
            "at most one of accept_image_fmap and accept_3d_fmap may be True, got both; latents "
            "are (b, c, h, w) or (b, c, d, h, w)"
        )
        raise OptionError(text)


@dataclass(frozen=True)
class Heads:
    """Several codes for each latent: slices of its features.

    Attributes:
        count: number of heads.
        separate: whether each has a codebook of its own.
    """

    count: int
    separate: bool

    def parts(self, inside: torch.Tensor) -> list[torch.Tensor]:
        """Cut tokens (N, h d) into those of each codebook."""
        width = inside.shape[1] // self.count
        if self.separate:
            return list(inside.unflatten(1, (self.count, width)).unbind(dim=1))
        return [inside.reshape(inside.shape[0] * self.count, width)]

    def together(self, vectors: list[torch.Tensor]) -> torch.Tensor:
        """Undo `parts`."""
        if self.separate:
            return torch.cat(vectors, dim=-1)
        one = vectors[0]
        if self.count == 1:
            return one
        return one.reshape(one.shape[0] // self.count, self.count * one.shape[1])

    def codes(self, found: list[torch.Tensor]) -> torch.Tensor:
        """Return codes (N,), (N, h), or (N, count), from those of each codebook."""
        if self.separate:
            return torch.stack(found, dim=1)
        return found[0] if self.count == 1 else found[0].reshape(-1, self.count)

    def own(self, codes: torch.Tensor) -> list[torch.Tensor]:
        """Cut codes (N, h) into those of each codebook."""
        return list(codes.unbind(dim=1)) if self.separate else [codes.reshape(-1)]

    def rows(self, indices: torch.Tensor) -> tuple[torch.Tensor, tuple[int, ...]]:
        """Return indices (N, h), and the shape without the axis of the heads."""
        grid = tuple(indices.shape if self.count == 1 else indices.shape[:-1])
        if self.count > 1 and indices.shape[-1] != self.count:
            text = (
                f"indices must have a last axis of size heads={self.count}, got shape "
                f"{tuple(indices.shape)}"
            )
            raise ShapeError(text)
        return indices.reshape(-1, self.count), grid


# Indices


def of_levels(indices: Given) -> torch.Tensor:
    """Put the levels of a list on the last axis; a tensor is returned as it is.

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
    """Read the indices of a batch as rows, int64 (N, *last).

    Args:
        indices: (*grid, *last), as `forward` returns them, or (b, places, *last), as the original
            takes them for images.
        grid: (b, ...), shape of the latents without their features.
        last: what each latent has: an axis for heads or levels, or nothing.
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


def keep_codebooks(keep: bool | None, num_codebooks: int) -> bool:
    """Say whether indices have an axis for the codebooks."""
    if keep is None:
        return num_codebooks > 1
    if num_codebooks > 1 and not keep:
        text = f"keep_num_codebooks_dim must not be False with num_codebooks={num_codebooks}"
        raise OptionError(text)
    return keep


def grid_of_indices(indices: torch.Tensor, codebooks: int | None) -> tuple[int, ...]:
    """Return the shape of indices without the axis of the codebooks; None is no such axis."""
    require_integers(indices)
    shape = tuple(indices.shape)
    if codebooks is None:
        return shape
    if shape[-1:] != (codebooks,):
        text = f"indices must have a last axis of size num_codebooks={codebooks}, got shape {shape}"
        raise ShapeError(text)
    return shape[:-1]


def narrow(codes: torch.Tensor, codebook_size: int) -> torch.Tensor:
    """Return codes as int32, the original's type of indices, or int64 where that is too narrow."""
    return codes.to(torch.int32 if codebook_size <= 2**31 else torch.int64)


def all_indices(codebook_size: int, device: torch.device) -> torch.Tensor:
    """Return ``range(codebook_size)`` for those who want a whole codebook in memory."""
    if codebook_size > _LISTED_CODES:
        text = (
            f"a codebook is listed up to 2^24 codes, got {codebook_size}; use indices_to_codes for "
            "the codes that you need"
        )
        raise OptionError(text)
    return torch.arange(codebook_size, device=device)


# Masks


def mask_of_lengths(lens: torch.Tensor, grid: tuple[int, ...]) -> torch.Tensor:
    """Return the mask (b, n) of sequences of the lengths (b,)."""
    require_dense(lens, "lens")
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
    if mask is None:
        return mask
    require_dense(mask, "mask")
    if mask.shape == grid[:1]:
        return mask.reshape(-1, *(1 for _ in grid[1:])).expand(grid)
    return mask.reshape(grid) if mask.shape == (grid[0], math.prod(grid[1:])) else mask


def counted(
    mask: torch.Tensor | None,
    lens: torch.Tensor | None,
    grid: tuple[int, ...],
    device: torch.device,
) -> torch.Tensor | None:
    """Return the rows that a mask, or lengths, keep, on the device of the latents; None for all."""
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


def among_latents(
    rows: torch.Tensor, kept: torch.Tensor | None, latents: torch.Tensor
) -> torch.Tensor:
    """Put vectors (M, d), or (M, k, d), in place of the latents (N, d) that a mask keeps."""
    if kept is None:
        return rows
    kind = torch.promote_types(latents.dtype, rows.dtype)
    whole = latents.to(kind)
    if rows.ndim == 3:
        whole = whole[:, None].expand(-1, *rows.shape[1:])
    return whole.index_copy(0, kept, rows.to(kind))


# Maps


def projections(dim: int, inner: int, *, bias: bool = True) -> tuple[nn.Module, nn.Module]:
    """Return the maps into and out of `inner` features; identities where there are as many."""
    if dim == inner:
        return nn.Identity(), nn.Identity()
    return nn.Linear(dim, inner, bias=bias), nn.Linear(inner, dim, bias=bias)


def through(layer: nn.Module, rows: torch.Tensor) -> torch.Tensor:
    """Apply a map, in the wider of the two types of number where the tokens have another one.

    Under autocast the map is called as it is, as the original calls it.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> through(layer, torch.ones(1, 3, dtype=torch.float64)).dtype
        torch.float64
        >>> through(layer, torch.ones(1, 3, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    weight = next(layer.parameters(), None)
    if weight is None or torch.is_autocast_enabled(rows.device.type):
        result: torch.Tensor = layer(rows)
        return result
    wide = torch.promote_types(rows.dtype, weight.dtype)
    if wide == weight.dtype:
        return layer(rows.to(wide))
    weights = {name: each.to(wide) for name, each in layer.named_parameters()}
    return functional_call(layer, weights, rows.to(wide))


def outward(layer: nn.Module, rows: torch.Tensor) -> torch.Tensor:
    """Apply the last map to code vectors (..., d), in its own type of number, or autocast's.

    Whatever the latents were, so that codes alone give the same bits. Rows are laid out one after
    the other, since products of narrow numbers depend on how they lie.

    Example:
        >>> layer = nn.Linear(3, 2).bfloat16()
        >>> outward(layer, torch.ones(1, 3)).dtype
        torch.bfloat16
    """
    weight = next(layer.parameters(), None)
    if weight is not None:
        rows = rows.contiguous()
        if not torch.is_autocast_enabled(rows.device.type):
            rows = rows.to(weight.dtype)
    result: torch.Tensor = layer(rows)
    return result


def mapped_back(layer: nn.Module, rows: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    """Apply the last map to code vectors; the result is of a given type, or of autocast's map."""
    result = outward(layer, rows)
    own = not isinstance(layer, nn.Identity) and torch.is_autocast_enabled(rows.device.type)
    return result if own else result.to(kind)


def wide_type(*tensors: torch.Tensor) -> torch.dtype:
    """Return the type of a loss: float32, or wider where a tensor is."""
    kind = torch.float32
    for each in tensors:
        kind = torch.promote_types(kind, each.dtype)
    return kind
