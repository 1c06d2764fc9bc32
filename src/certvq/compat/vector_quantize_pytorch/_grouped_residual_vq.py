"""The original's `GroupedResidualVQ`.

In: latents (b, ..., d), or channel first. Out: vectors, and indices and losses of each group. Must
not search by itself.
"""

from typing import Any, cast

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._checks import SIZES, checked
from certvq.compat.vector_quantize_pytorch._depth import shared_seed
from certvq.compat.vector_quantize_pytorch._features import require_latents
from certvq.compat.vector_quantize_pytorch._loaded import Loaded
from certvq.compat.vector_quantize_pytorch._residual_vq import ResidualVQ
from certvq.errors import OptionError, ShapeError
from certvq.nn._core.distributed import raise_together
from certvq.nn._core.transaction import all_or_nothing


class GroupedResidualVQ(Loaded):
    """Cut the features into groups, each with a `ResidualVQ` of its own.

    Args:
        dim: size of the feature axis, a multiple of `groups`.
        groups: how many.
        accept_image_fmap: latents are (b, c, h, w).
        kwargs: of every `ResidualVQ`.

    Raises:
        OptionError: an option out of its range.

    Guarantee: that of `ResidualVQ` in each group.
    """

    @checked(codebook_size=SIZES)
    def __init__(
        self, *, dim: int, groups: int = 1, accept_image_fmap: bool = False, **kwargs: Any
    ) -> None:
        super().__init__()
        if groups < 1 or dim % groups:
            text = f"dim must be a multiple of groups, which is at least 1; got {dim} and {groups}"
            raise OptionError(text)
        self.dim = dim
        self.groups = groups
        self.accept_image_fmap = accept_image_fmap
        self.rvqs = nn.ModuleList(
            ResidualVQ(dim=dim // groups, accept_image_fmap=accept_image_fmap, **kwargs)
            for _ in range(groups)
        )

    @property
    def codebooks(self) -> torch.Tensor:
        """Code vectors of all groups and levels, (groups, q, codebook_size, d)."""
        return torch.stack([cast("torch.Tensor", rvq.codebooks) for rvq in self._parts()])

    @property
    def split_dim(self) -> int:
        """The feature axis."""
        return 1 if self._parts()[0].channel_first else -1

    def get_codes_from_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the vectors of each group and level, (groups, q, b, ..., d).

        Args:
            indices: (groups, b, ..., q).

        Raises:
            ShapeError, CodeRangeError: as for `ResidualVQ`, or another number of groups.
        """
        pairs = zip(self._parts(), self._given(indices), strict=True)
        return torch.stack([rvq.get_codes_from_indices(own) for rvq, own in pairs])

    def get_output_from_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the vectors of all groups side by side, along `split_dim` as the original."""
        pairs = zip(self._parts(), self._given(indices), strict=True)
        pieces = [rvq.get_output_from_indices(own) for rvq, own in pairs]
        return torch.cat(pieces, dim=-1).movedim(-1, self.split_dim)

    def forward(
        self,
        x: torch.Tensor,
        indices: torch.Tensor | None = None,
        return_all_codes: bool = False,
        sample_codebook_temp: float | None = None,
        freeze_codebook: bool = False,
        mask: torch.Tensor | None = None,
    ) -> tuple[Any, ...]:
        """Return vectors as x, indices (groups, b, ..., q), losses (groups, q), and all vectors.

        Args:
            x: (b, ..., dim), or channel first.
            indices: (groups, b, ..., q); with them only vectors and a cross entropy are returned.
            return_all_codes: whether a tuple of all groups' vectors is returned too.
            sample_codebook_temp: of codes that are drawn.
            freeze_codebook: whether nothing is learned from this batch.
            mask: bool (b, ...), True where there is a latent.

        Raises:
            ShapeError, DTypeError, NonFiniteError: as `ResidualVQ`; nothing has changed.
        """
        require_latents(x)
        if x.shape[self.split_dim] != self.dim:
            text = f"x must have dim={self.dim} at axis {self.split_dim}, got {tuple(x.shape)}"
            raise ShapeError(text)
        pieces = x.chunk(self.groups, dim=self.split_dim)
        if self.training:
            for rvq, piece in zip(self._parts(), pieces, strict=True):
                raise_together(rvq.batch_error(piece, mask), x.device)
        seed = shared_seed(x.device) if self.training else None
        given = [None] * self.groups if indices is None else list(self._given(indices))
        with all_or_nothing(self, x):
            results = [
                rvq(
                    piece,
                    mask=mask,
                    indices=own,
                    return_all_codes=return_all_codes,
                    sample_codebook_temp=sample_codebook_temp,
                    freeze_codebook=freeze_codebook,
                    rand_quantize_dropout_fixed_seed=seed,
                )
                for rvq, piece, own in zip(self._parts(), pieces, given, strict=True)
            ]
        vectors, *rest = zip(*results, strict=True)
        quantized = torch.cat(vectors, dim=self.split_dim)
        if indices is not None:
            return quantized, torch.stack(rest[0]).sum()
        codes, losses, *every = rest
        return quantized, torch.stack(codes), torch.stack(losses), *every

    def _parts(self) -> list[ResidualVQ]:
        return [cast("ResidualVQ", rvq) for rvq in self.rvqs]

    def _given(self, indices: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if len(indices) != self.groups:
            text = f"indices must be of {self.groups} groups, got shape {tuple(indices.shape)}"
            raise ShapeError(text)
        return tuple(indices)
