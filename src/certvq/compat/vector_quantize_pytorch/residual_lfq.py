"""The original's `ResidualLFQ` and `GroupedResidualLFQ`.

In: latents (b, n, d). Out: sums of corners of cubes, the indices of all levels and their losses.
Must not take signs by itself.
"""

from typing import Any

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._checks import SIZE, checked
from certvq.compat.vector_quantize_pytorch._levels import Groups, ScalarLevels
from certvq.compat.vector_quantize_pytorch._names import names_of
from certvq.compat.vector_quantize_pytorch._tensors import rows_of, spread_mask
from certvq.compat.vector_quantize_pytorch.lookup_free_quantization import LFQ
from certvq.errors import OptionError
from certvq.nn._core.latents import kept_rows

__getattr__ = names_of(__name__)


class ResidualLFQ(ScalarLevels):
    """Signs, and signs of what is left over, at half the scale; see `certvq.nn.ResidualLFQ`.

    Keywords are the original's; `options` are those of every level's `LFQ`.
    `soft_clamp_input_value` is that of the first level, halved from level to level.

    Guarantee: each level's index is nearest to its residual as computed, with the guarantee of
    `certvq.nn.LFQ`. ``get_output_from_indices`` gives what `forward` gave, bit for bit where there
    is no map.
    """

    @checked(num_quantizers=SIZE, codebook_size=SIZE)
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
            (codebook_size,) * num_quantizers,
            dropout=quantize_dropout,
            cutoff=quantize_dropout_cutoff_index,
            multiple_of=quantize_dropout_multiple_of,
        )
        self.layers = nn.ModuleList(layers)
        self.channel_first = channel_first

    @property
    def codebooks(self) -> torch.Tensor:
        """The corners of all levels, (q, codebook_size, d)."""
        return torch.stack([layer.codebook for layer in self.layers])

    def level_vectors(
        self, level: int, places: torch.Tensor, total: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the corners of a level, in float32 or wider; see `Levels`."""
        del total
        corners = self.layers[level].corners(places)
        return corners.to(torch.promote_types(corners.dtype, torch.float32))

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
        """
        tokens, shape, grid = rows_of(x, self.dim, first=self.channel_first)
        mask = spread_mask(mask, shape)
        kept_rows(mask, shape, x.device)
        among = None if mask is None else mask.reshape(-1)
        result = self.descended(
            x,
            self.inward(tokens),
            grid,
            rand_quantize_dropout_fixed_seed,
            lambda level, rest: self.layers[level](rest, mask=among),
            kind=x.dtype,
        )
        return (*result, self.get_codes_from_indices(result[1])) if return_all_codes else result


class GroupedResidualLFQ(Groups):
    """Slices of features, each with a `ResidualLFQ` of its own; see `Groups`."""

    part = ResidualLFQ

    def options_of(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Require one layout; see `Groups`."""
        if self.accept_image_fmap and kwargs.get("channel_first") is False:
            text = "accept_image_fmap=True excludes channel_first=False; features are on axis 1"
            raise OptionError(text)
        return kwargs

    def forward(
        self,
        x: torch.Tensor,
        mask: torch.Tensor | None = None,
        return_all_codes: bool = False,
    ) -> tuple[Any, ...]:
        """Return vectors as x, indices (g, b, n, q), losses (g, q), and each group's codes."""
        return self.quantize(x, mask=mask, return_all_codes=return_all_codes)
