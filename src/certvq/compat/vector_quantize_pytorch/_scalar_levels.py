"""Levels of residual quantizers without a codebook, as the original's classes have them.

In: indices of all levels. Out: the vectors of each, and their sum. Must not quantize.
"""

from collections.abc import Iterable

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._depth import Depth
from certvq.compat.vector_quantize_pytorch._given_indices import Given, of_levels
from certvq.compat.vector_quantize_pytorch._grid_options import projections
from certvq.compat.vector_quantize_pytorch._level_indices import vectors_of
from certvq.compat.vector_quantize_pytorch._loaded import Loaded
from certvq.compat.vector_quantize_pytorch._maps import outward


class ScalarLevels(Loaded):
    """What residual quantizers of scalars have in common.

    Args:
        dim: size of the feature axis.
        inner: features of the levels' vectors.
        layers: the levels.
        codebook_size: of every level.
        quantize_dropout: whether only the first levels are used in train mode, a random number.
        quantize_dropout_cutoff_index: place of the last level that is always used.
        quantize_dropout_multiple_of: numbers of levels are multiples of this.

    Raises:
        OptionError: an option out of its range.
    """

    def __init__(
        self,
        dim: int,
        inner: int,
        layers: Iterable[nn.Module],
        codebook_size: int,
        *,
        quantize_dropout: bool,
        quantize_dropout_cutoff_index: int,
        quantize_dropout_multiple_of: int,
    ) -> None:
        super().__init__()
        self.project_in, self.project_out = projections(dim, inner)
        self.has_projections = dim != inner
        self.layers = nn.ModuleList(layers)
        self.num_quantizers = len(self.layers)
        self.depth = Depth(
            self.num_quantizers,
            dropout=quantize_dropout,
            cutoff=quantize_dropout_cutoff_index,
            multiple_of=quantize_dropout_multiple_of,
        )
        self.dim = dim
        self.codebook_size = codebook_size
        self.quantize_dropout = self.depth.dropout
        self.quantize_dropout_cutoff_index = quantize_dropout_cutoff_index
        self.quantize_dropout_multiple_of = quantize_dropout_multiple_of

    def level_vectors(self, level: int, places: torch.Tensor) -> torch.Tensor:
        """Return the vectors (N, d) of a level's indices (N,), each in range, as they are added."""
        raise NotImplementedError

    def number_type(self) -> torch.dtype:
        """Return the layer's type of number, that of the levels' vectors for those who ask."""
        raise NotImplementedError

    def rounded(self, total: torch.Tensor) -> torch.Tensor:
        """Round a sum to the layer's type of number, if that is narrower than float32."""
        kind = self.number_type()
        return total.to(kind) if kind.itemsize < torch.float32.itemsize else total

    def levels_last(self, indices: Given) -> torch.Tensor:
        """Return indices with the levels on the last axis, (b, ..., q)."""
        return of_levels(indices)

    def get_codes_from_indices(self, indices: Given) -> torch.Tensor:
        """Return the vectors of each level as they are added up, zero where it was left out.

        Args:
            indices: (b, ..., q) as `forward` returns them, or a list of (b, ...) for each level, q
                up to the number of levels.

        Returns:
            (num_quantizers, b, ..., d) before the last map.

        Raises:
            ShapeError: more levels than there are.
            CodeRangeError: an index out of range.
        """
        return self.level_codes(self.levels_last(indices))

    def level_codes(self, indices: torch.Tensor) -> torch.Tensor:
        """Return what `get_codes_from_indices` does, for indices (b, ..., q)."""
        return self._vectors(indices).to(self.number_type())

    def decoded(self, indices: Given) -> torch.Tensor:
        """Return the sum of the levels' vectors after the last map, (b, ..., d)."""
        total = torch.zeros(())
        for vectors in self._vectors(self.levels_last(indices)):
            total = total.to(vectors.device) + vectors
        return outward(self.project_out, self.rounded(total))

    def get_output_from_indices(self, indices: Given) -> torch.Tensor:
        """Return the sum of the levels' vectors after the last map, (b, ..., d)."""
        return self.decoded(indices)

    def _vectors(self, indices: torch.Tensor) -> torch.Tensor:
        found = vectors_of(indices, levels=len(self.layers), codebook_size=self.codebook_size)
        vectors = []
        for level, (places, dropped) in enumerate(found):
            codes = self.level_vectors(level, places.reshape(-1))
            codes = codes.reshape(*places.shape, codes.shape[-1])
            vectors.append(codes.masked_fill(dropped.unsqueeze(-1), 0.0))
        missing = len(self.layers) - len(vectors)
        return torch.stack([*vectors, *[torch.zeros_like(vectors[0])] * missing])
