"""The original's `ResidualSimVQ`.

In: latents (b, ..., d) or (b, d, ...). Out: sums of vectors, indices and losses of all levels. Must
not search by itself.
"""

from typing import Any

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._checks import FLAG, SIZE, checked, require
from certvq.compat.vector_quantize_pytorch._depth import Depth
from certvq.compat.vector_quantize_pytorch._features import require_latents
from certvq.compat.vector_quantize_pytorch._given_indices import Given, of_levels
from certvq.compat.vector_quantize_pytorch._loaded import Loaded
from certvq.compat.vector_quantize_pytorch._sim_vq import SimVQ
from certvq.errors import OptionError, ShapeError
from certvq.nn import PADDING
from certvq.nn._core.codes import require_codes


class ResidualSimVQ(Loaded):
    """Quantize by `SimVQ` what the levels before left over.

    Args:
        dim: size of the feature axis.
        num_quantizers: number of levels.
        codebook_size: number of codes of each.
        heads: 1; more are refused, as by the original.
        quantize_dropout: whether train mode uses a random number of the first levels.
        quantize_dropout_cutoff_index: the level that is used at least.
        quantize_dropout_multiple_of: the number of levels used is a multiple of this, or all.
        channel_first: whether latents are (b, d, ...).
        rotation_trick: whether the gradient is rotated, in train mode.
        sim_vq_kwargs: of every level's `SimVQ`.

    Raises:
        OptionError: an option out of its range.

    Guarantee: each level's code is the nearest one to the residual as computed.
    """

    fixed = frozenset(
        {
            "codebook_size",
            "num_quantizers",
            "quantize_dropout",
            "quantize_dropout_cutoff_index",
            "quantize_dropout_multiple_of",
        }
    )

    @checked(num_quantizers=SIZE, channel_first=FLAG)
    def __init__(
        self,
        *,
        dim: int,
        num_quantizers: int,
        codebook_size: int,
        heads: int = 1,
        quantize_dropout: bool = False,
        quantize_dropout_cutoff_index: int = 0,
        quantize_dropout_multiple_of: int = 1,
        channel_first: bool = False,
        rotation_trick: bool = True,
        **sim_vq_kwargs: Any,
    ) -> None:
        super().__init__()
        if heads != 1:
            text = f"ResidualSimVQ has one head, got heads={heads}; see docs/migration.md"
            raise OptionError(text)
        self.depth = Depth(
            num_quantizers,
            dropout=quantize_dropout,
            cutoff=quantize_dropout_cutoff_index,
            multiple_of=quantize_dropout_multiple_of,
        )
        self.channel_first = channel_first
        self.num_quantizers = num_quantizers
        self.layers = nn.ModuleList(
            SimVQ(
                dim=dim,
                codebook_size=codebook_size,
                rotation_trick=rotation_trick,
                channel_first=channel_first,
                **sim_vq_kwargs,
            )
            for _ in range(num_quantizers)
        )
        self.codebook_size = codebook_size
        self.codebook_dim = dim
        self.quantize_dropout = self.depth.dropout
        self.quantize_dropout_cutoff_index = quantize_dropout_cutoff_index
        self.quantize_dropout_multiple_of = quantize_dropout_multiple_of

    @property
    def codebooks(self) -> torch.Tensor:
        """The mapped code vectors of all levels, (num_quantizers, codebook_size, dim)."""
        return torch.stack([layer.codebook for layer in self._levels()])

    def get_codes_from_indices(self, indices: Given) -> torch.Tensor:
        """Return the vectors of each level, (num_quantizers, b, ..., d) or channel first.

        Args:
            indices: (b, ..., q), or a list of (b, ...) for each level, with q at most
                `num_quantizers`; -1, and levels that are left out, have the vector zero.

        Raises:
            ShapeError: more levels than there are.
            CodeRangeError: an index outside ``range(codebook_size)`` that is not -1.
        """
        indices = of_levels(indices)
        if not indices.ndim or not 0 < indices.shape[-1] <= self.num_quantizers:
            text = (
                f"indices must have 1 to {self.num_quantizers} levels in the last axis, got shape "
                f"{tuple(indices.shape)}"
            )
            raise ShapeError(text)
        missing = self.num_quantizers - indices.shape[-1]
        wide = require_codes(indices, indices.ndim)
        padded = nn.functional.pad(wide, (0, missing), value=PADDING)
        each = []
        for layer, level in zip(self._levels(), padded.unbind(-1), strict=True):
            dropped = level == PADDING
            vectors = layer.indices_to_codes(level.masked_fill(dropped, 0))
            zero = dropped.unsqueeze(1 if self.channel_first else -1)
            each.append(vectors.masked_fill(zero, 0.0))
        return torch.stack(each)

    def get_output_from_indices(self, indices: Given) -> torch.Tensor:
        """Return the sum of the vectors of all levels."""
        return self._total(list(self.get_codes_from_indices(indices)))

    def forward(
        self,
        x: torch.Tensor,
        return_all_codes: bool = False,
        rand_quantize_dropout_fixed_seed: int | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Return vectors as x, indices (b, ..., q), losses (q,), and all vectors if wanted."""
        require(rand_quantize_dropout_fixed_seed=rand_quantize_dropout_fixed_seed)
        require_latents(x)
        depth = self.depth.draw(rand_quantize_dropout_fixed_seed, x.device, training=self.training)
        residual, vectors, indices, losses = x, [], [], []
        for layer in self._levels()[:depth]:
            quantized, codes, loss = layer(residual)
            residual = residual - quantized.detach()
            vectors.append(quantized)
            indices.append(codes)
            losses.append(loss)
        missing = self.num_quantizers - depth
        indices += [torch.full_like(indices[0], PADDING)] * missing
        losses += [torch.zeros_like(losses[0])] * missing
        all_indices = torch.stack(indices, dim=-1)
        result = (self._total(vectors), all_indices, torch.stack(losses, dim=-1))
        if return_all_codes:
            return *result, self.get_codes_from_indices(all_indices)
        return result

    def _levels(self) -> list[SimVQ]:
        return [layer for layer in self.layers if isinstance(layer, SimVQ)]

    def _total(self, vectors: list[torch.Tensor]) -> torch.Tensor:
        """Add in the order of the levels, so that decoding gives the same bits."""
        total = vectors[0]
        for each in vectors[1:]:
            total = total + each
        return total
