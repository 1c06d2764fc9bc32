"""Slices of features, each with a quantizer of its own, as in the original's grouped classes.

In: latents, or indices of all groups. Out: what each group is given, and what the groups' vectors
are together. Must not quantize.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._features import require_latents
from certvq.compat.vector_quantize_pytorch._given_indices import Given, of_levels
from certvq.compat.vector_quantize_pytorch._loaded import Loaded
from certvq.errors import ShapeError


class Groups(Loaded):
    """What the grouped classes have in common.

    Args:
        dim: size of the feature axis.
        parts: the quantizer of each group.
        accept_image_fmap: whether features are on axis 1.
    """

    def __init__(self, dim: int, parts: Iterable[nn.Module], *, accept_image_fmap: bool) -> None:
        super().__init__()
        self.dim = dim
        self.accept_image_fmap = accept_image_fmap
        self.rvqs = nn.ModuleList(parts)
        self.groups = len(self.rvqs)

    @property
    def codebooks(self) -> torch.Tensor:
        """Code vectors of all groups and levels, (g, q, codebook_size, d)."""
        return torch.stack([part.codebooks for part in self.parts])

    @property
    def split_dim(self) -> int:
        """The feature axis."""
        return 1 if self.accept_image_fmap else -1

    @property
    def parts(self) -> list[Any]:
        """The quantizer of each group."""
        return list(self.rvqs)

    def get_codes_from_indices(self, indices: Given) -> torch.Tensor:
        """Return the vectors of each group and level, (g, q, b, ..., d).

        Args:
            indices: (g, b, ..., q), or a list of (g, b, ...) for each level.

        Raises:
            ShapeError: another number of groups, or more levels than there are.
            CodeRangeError: an index out of range.
        """
        pairs = zip(self.parts, self.each_group(indices), strict=True)
        return torch.stack([part.get_codes_from_indices(own) for part, own in pairs])

    def get_output_from_indices(self, indices: Given) -> torch.Tensor:
        """Return the vectors of all groups side by side, along `split_dim` as the original.

        Args:
            indices: (g, b, ..., q), or a list of (g, b, ...) for each level.

        Raises:
            ShapeError: another number of groups, or more levels than there are.
            CodeRangeError: an index out of range.
        """
        pairs = zip(self.parts, self.each_group(indices), strict=True)
        pieces = [part.get_output_from_indices(own) for part, own in pairs]
        whole = torch.cat(pieces, dim=-1)
        return whole.movedim(whole.ndim - 1, self.split_dim)

    def pieces(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Cut latents into the slices of the groups.

        Raises:
            ShapeError: another size of the feature axis.
        """
        require_latents(x)
        if x.shape[self.split_dim] != self.dim:
            text = (
                f"latents must have dim={self.dim} features at axis {self.split_dim}, got shape "
                f"{tuple(x.shape)}"
            )
            raise ShapeError(text)
        return x.chunk(self.groups, dim=self.split_dim)

    def each_group(self, indices: Given) -> tuple[Given, ...]:
        """Return the indices of each group; a list means levels.

        Raises:
            ShapeError: another number of groups.
        """
        whole = of_levels(indices)
        if not whole.ndim or len(whole) != self.groups:
            text = f"indices must be of {self.groups} groups, got shape {tuple(whole.shape)}"
            raise ShapeError(text)
        if isinstance(indices, torch.Tensor):
            return tuple(indices)
        return tuple([level[group] for level in indices] for group in range(self.groups))
