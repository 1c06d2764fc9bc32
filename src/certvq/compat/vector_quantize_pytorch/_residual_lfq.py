"""The original's `ResidualLFQ` and `GroupedResidualLFQ`.

In: latents (b, n, d). Out: sums of corners of cubes, the indices of all levels and their losses.
Must not take signs by itself.
"""

from typing import Any

import torch

from certvq.compat.vector_quantize_pytorch._checks import SIZE, checked, require
from certvq.compat.vector_quantize_pytorch._depth import draw_seed
from certvq.compat.vector_quantize_pytorch._features import (
    as_features,
    as_tokens,
    require_latents,
)
from certvq.compat.vector_quantize_pytorch._groups import Groups
from certvq.compat.vector_quantize_pytorch._lfq import LFQ, Return
from certvq.compat.vector_quantize_pytorch._maps import mapped_back, through
from certvq.compat.vector_quantize_pytorch._padding import spread_mask
from certvq.compat.vector_quantize_pytorch._scalar_levels import ScalarLevels
from certvq.errors import OptionError, ShapeError
from certvq.nn._core.latents import kept_rows
from certvq.nn._levels.grouped_residual import slice_width


class ResidualLFQ(ScalarLevels):
    """Signs, and signs of what is left over, at half the scale; see `certvq.nn.ResidualLFQ`.

    Args:
        dim: size of the feature axis.
        num_quantizers: how many levels.
        codebook_size: of every level, a power of two.
        quantize_dropout: whether only the first levels are used in train mode, a random number.
        quantize_dropout_cutoff_index: place of the last level that is always used.
        quantize_dropout_multiple_of: numbers of levels are multiples of this.
        soft_clamp_input_value: of the first level; halved from level to level.
        channel_first: whether latents are (b, d, ...); None for where they have four axes or more.
        options: of every level's `LFQ`.

    Raises:
        OptionError: an option out of its range, or options that contradict one another.

    Guarantee: each level's index is nearest to its residual as computed, with the guarantee of
    `certvq.nn.LFQ`. ``get_output_from_indices`` gives what `forward` gave, bit for bit where there
    is no map.
    """

    fixed = frozenset(
        {
            "has_projections",
            "num_quantizers",
            "quantize_dropout",
            "quantize_dropout_cutoff_index",
            "quantize_dropout_multiple_of",
        }
    )

    @checked(num_quantizers=SIZE)
    def __init__(
        self,
        *,
        dim: int,
        num_quantizers: int,
        codebook_size: int,
        quantize_dropout: bool = False,
        quantize_dropout_cutoff_index: int = 0,
        quantize_dropout_multiple_of: int = 1,
        soft_clamp_input_value: float | None = None,
        channel_first: bool | None = None,
        **options: Any,
    ) -> None:
        if options.get("num_codebooks", 1) != 1 or options.get("keep_num_codebooks_dim"):
            text = f"levels of a ResidualLFQ have one codebook each, got {options}"
            raise OptionError(text)
        clamp = soft_clamp_input_value
        layers = [
            LFQ(
                codebook_size=codebook_size,
                codebook_scale=2.0**-level,
                soft_clamp_input_value=None if clamp is None else clamp * 0.5**level,
                **options,
            )
            for level in range(num_quantizers)
        ]
        super().__init__(
            dim,
            layers[0].codebook_dim,
            layers,
            codebook_size,
            quantize_dropout=quantize_dropout,
            quantize_dropout_cutoff_index=quantize_dropout_cutoff_index,
            quantize_dropout_multiple_of=quantize_dropout_multiple_of,
        )
        self.channel_first = channel_first

    @property
    def codebooks(self) -> torch.Tensor:
        """The corners of all levels, (q, codebook_size, d)."""
        return torch.stack([self._lfq(level).codebook for level in range(len(self.layers))])

    def level_vectors(self, level: int, places: torch.Tensor) -> torch.Tensor:
        """Return the corners (N, d) of a level's indices (N,), in float32 or wider."""
        corners = self._lfq(level).corners(places)
        return corners.to(torch.promote_types(corners.dtype, torch.float32))

    def number_type(self) -> torch.dtype:
        """Return the type that the levels were converted to."""
        return self._lfq(0).dtype

    def forward(
        self,
        x: torch.Tensor,
        mask: torch.Tensor | None = None,
        return_all_codes: bool = False,
        rand_quantize_dropout_fixed_seed: int | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Quantize.

        Args:
            x: (b, n, d), or (b, d, ...) with four axes and more or with `channel_first`.
            mask: bool (b, ...) or (b,), True for the tokens that losses are about; see `LFQ`.
            return_all_codes: whether the levels' vectors are returned as well.
            rand_quantize_dropout_fixed_seed: decides how many levels are used.

        Returns:
            Vectors as x, indices (b, ..., q) with -1 for levels left out, losses (q,), and if asked
            for, the levels' vectors (q, b, ..., d).

        Raises:
            ShapeError: another size of the feature axis.
            NonFiniteError: NaN or infinity.
        """
        require_latents(x)
        first = x.ndim >= 4 if self.channel_first is None else self.channel_first
        tokens, grid = as_tokens(x, channel_first=first)
        if tokens.shape[-1] != self.dim:
            text = f"latents must have dim={self.dim} features, got shape {tuple(x.shape)}"
            raise ShapeError(text)
        mask = spread_mask(mask, grid)
        kept_rows(mask, grid, x.device)
        among = None if mask is None else mask.reshape(1, -1)
        rows = through(self.project_in, tokens)
        residual = rows.to(torch.promote_types(rows.dtype, torch.float32))
        require(rand_quantize_dropout_fixed_seed=rand_quantize_dropout_fixed_seed)
        learns = self.training and torch.is_grad_enabled()
        depth = self.depth.draw(rand_quantize_dropout_fixed_seed, x.device, training=learns)
        total, indices, losses = residual.new_zeros(()), [], []
        for level in range(depth):
            found = self._lfq(level)(residual, mask=among)
            assert isinstance(found, Return)
            residual = residual - found.quantized.detach()
            total = total + found.quantized
            indices.append(found.indices)
            losses.append(found.entropy_aux_loss)
        missing = self.num_quantizers - depth
        indices += [torch.full_like(indices[0], -1)] * missing
        losses += [torch.zeros_like(losses[0])] * missing
        codes = torch.stack(indices, dim=-1).reshape(*grid, self.num_quantizers)
        out = mapped_back(self.project_out, self.rounded(total), x.dtype)
        out = as_features(out, grid, channel_first=first)
        result = (out, codes, torch.stack(losses, dim=-1))
        return (*result, self.get_codes_from_indices(codes)) if return_all_codes else result

    def _lfq(self, level: int) -> LFQ:
        layer = self.layers[level]
        assert isinstance(layer, LFQ)
        return layer


class GroupedResidualLFQ(Groups):
    """Slices of features, each with a `ResidualLFQ` of its own.

    Args:
        dim: size of the feature axis, a multiple of `groups`.
        groups: how many slices.
        accept_image_fmap: whether features are on axis 1.
        options: of every group's `ResidualLFQ`.

    Raises:
        OptionError: an option out of its range.
    """

    @checked()
    def __init__(
        self, *, dim: int, groups: int = 1, accept_image_fmap: bool = False, **options: Any
    ) -> None:
        if accept_image_fmap and options.get("channel_first") is False:
            text = "accept_image_fmap=True excludes channel_first=False; features are on axis 1"
            raise OptionError(text)
        width = slice_width(dim, groups)
        parts = [ResidualLFQ(dim=width, **options) for _ in range(groups)]
        super().__init__(dim, parts, accept_image_fmap=accept_image_fmap)

    def forward(
        self,
        x: torch.Tensor,
        mask: torch.Tensor | None = None,
        return_all_codes: bool = False,
    ) -> tuple[Any, ...]:
        """Return vectors as x, indices (g, b, n, q), losses (g, q), and each group's codes.

        Raises:
            ShapeError: another size of the feature axis.
            NonFiniteError: NaN or infinity.
        """
        pieces = self.pieces(x)
        seed = draw_seed(x.device) if self.training else None
        pairs = zip(self.parts, pieces, strict=True)
        results = [part(piece, mask, return_all_codes, seed) for part, piece in pairs]
        quantized, indices, losses, *codes = zip(*results, strict=True)
        whole = torch.cat(quantized, dim=self.split_dim)
        return whole, torch.stack(indices), torch.stack(losses), *codes
