"""The original's `GroupedResidualVQ`.

In: latents (b, ..., d), or channel first. Out: vectors, and indices and losses of each group. Must
not search by itself.
"""

from collections.abc import Sequence
from typing import Any

import torch

from certvq.compat.vector_quantize_pytorch._checks import SIZES, checked
from certvq.compat.vector_quantize_pytorch._depth import draw_seed
from certvq.compat.vector_quantize_pytorch._given_indices import Given
from certvq.compat.vector_quantize_pytorch._groups import Groups
from certvq.compat.vector_quantize_pytorch._residual_vq import ResidualVQ
from certvq.errors import OptionError, ShapeError
from certvq.nn._torch.distributed import peers_of
from certvq.nn._torch.transaction import all_or_nothing


class GroupedResidualVQ(Groups):
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

    fixed = frozenset({"accept_image_fmap"})

    @checked(codebook_size=SIZES)
    def __init__(
        self, *, dim: int, groups: int = 1, accept_image_fmap: bool = False, **kwargs: Any
    ) -> None:
        if groups < 1 or dim % groups:
            text = f"dim must be a multiple of groups, which is at least 1; got {dim} and {groups}"
            raise OptionError(text)
        parts = [
            ResidualVQ(dim=dim // groups, accept_image_fmap=accept_image_fmap, **kwargs)
            for _ in range(groups)
        ]
        super().__init__(dim, parts, accept_image_fmap=accept_image_fmap)

    @property
    def codebooks(self) -> torch.Tensor:
        """Code vectors of all groups and levels, (g, q, codebook_size, d); see `ResidualVQ`."""
        return torch.stack([part.codebooks for part in self.parts])

    @codebooks.setter
    def codebooks(self, vectors: torch.Tensor | Sequence[torch.Tensor]) -> None:
        given = list(vectors) if isinstance(vectors, torch.Tensor | list | tuple) else []
        if len(given) != self.groups:
            got = len(given) if given else type(vectors).__name__
            text = f"codebooks must be those of each of {self.groups} groups, got {got}"
            raise ShapeError(text)
        pairs = list(zip(self.parts, given, strict=True))
        for part, books in [(part, part.readable(own)) for part, own in pairs]:
            part.give(books)

    @property
    def split_dim(self) -> int:
        """The feature axis."""
        return 1 if self.parts[0].channel_first else -1

    def forward(
        self,
        x: torch.Tensor,
        indices: Given | None = None,
        return_all_codes: bool = False,
        sample_codebook_temp: float | None = None,
        freeze_codebook: bool = False,
        mask: torch.Tensor | None = None,
    ) -> tuple[Any, ...]:
        """Return vectors as x, indices (groups, b, ..., q), losses (groups, q), and all vectors.

        Args:
            x: (b, ..., dim), or channel first.
            indices: (groups, b, ..., q), or a list of (groups, b, ...) for each level; with them
                only vectors and a cross entropy are returned.
            return_all_codes: whether a tuple of all groups' vectors is returned too.
            sample_codebook_temp: of codes that are drawn.
            freeze_codebook: whether nothing is learned from this batch.
            mask: bool (b, ...), True where there is a latent.

        Raises:
            ShapeError, DTypeError, NonFiniteError: as `ResidualVQ`; nothing has changed.
            TransformError: as `ResidualVQ`.
        """
        pieces = self.pieces(x)
        given = [None] * self.groups if indices is None else list(self.each_group(indices))

        def step() -> tuple[Any, ...]:
            peers = () if freeze_codebook else peers_of(self)
            seed = draw_seed(x.device, peers) if self.training else None
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
                for rvq, piece, own in zip(self.parts, pieces, given, strict=True)
            ]
            return self._joined(results, cross_entropy=indices is not None)

        return all_or_nothing(self, x, step)

    def _joined(
        self, results: list[tuple[torch.Tensor, ...]], *, cross_entropy: bool
    ) -> tuple[Any, ...]:
        vectors, *rest = zip(*results, strict=True)
        quantized = torch.cat(vectors, dim=self.split_dim)
        if cross_entropy:
            return quantized, torch.stack(rest[0]).sum()
        codes, losses, *every = rest
        return quantized, torch.stack(codes), torch.stack(losses), *every
