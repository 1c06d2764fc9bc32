"""The original's `ResidualSimVQ`.

In: latents (b, ..., d) or (b, d, ...). Out: sums of vectors, indices and losses of all levels. Must
not search by itself.
"""

from typing import Any

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._checks import FLAG, SIZE, checked
from certvq.compat.vector_quantize_pytorch._levels import Levels
from certvq.compat.vector_quantize_pytorch._names import names_of
from certvq.compat.vector_quantize_pytorch._tensors import Given, of_levels, rows_of
from certvq.compat.vector_quantize_pytorch.sim_vq import SimVQ
from certvq.errors import OptionError

__getattr__ = names_of(__name__)


class ResidualSimVQ(Levels):
    """Quantize by `SimVQ` what the levels before left over.

    Keywords are the original's; `sim_vq_kwargs` are those of every level. More than one head is
    refused, as by the original.

    Guarantee: each level's code is the nearest one to the residual as computed.
    """

    @checked(num_quantizers=SIZE, channel_first=FLAG, codebook_size=SIZE)
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
        if heads != 1:
            text = f"ResidualSimVQ has one head, got heads={heads}; see docs/migration.md"
            raise OptionError(text)
        super().__init__(
            dim,
            dim,
            (codebook_size,) * num_quantizers,
            dropout=quantize_dropout,
            cutoff=quantize_dropout_cutoff_index,
            multiple_of=quantize_dropout_multiple_of,
        )
        self.channel_first = channel_first
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

    @property
    def codebooks(self) -> torch.Tensor:
        """The mapped code vectors of all levels, (num_quantizers, codebook_size, dim)."""
        return torch.stack([layer.codebook for layer in self.layers])

    def get_codes_from_indices(self, indices: Given) -> torch.Tensor:
        """Return the vectors of each level, (q, b, ..., d) or channel first; see `Levels`."""
        vectors = self.level_codes(of_levels(indices))
        return vectors.movedim(-1, 2) if self.channel_first else vectors

    def get_output_from_indices(self, indices: Given) -> torch.Tensor:
        """Return the sum of the vectors of all levels, in the layout of the latents."""
        out = self.decoded(indices)
        return out.movedim(-1, 1) if self.channel_first else out

    def level_vectors(
        self, level: int, places: torch.Tensor, total: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the mapped vectors of a level; see `Levels`."""
        del total
        return self.layers[level].quantizer.decode_tokens(places)

    def forward(
        self,
        x: torch.Tensor,
        return_all_codes: bool = False,
        rand_quantize_dropout_fixed_seed: int | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Return vectors as x, indices (b, ..., q), losses (q,), and all vectors if wanted."""
        rows, _, grid = rows_of(x, self.dim, first=self.channel_first)
        seed = rand_quantize_dropout_fixed_seed
        result = self.descended(x, rows, grid, seed, lambda level, rest: self.layers[level](rest))
        return (*result, self.get_codes_from_indices(result[1])) if return_all_codes else result
