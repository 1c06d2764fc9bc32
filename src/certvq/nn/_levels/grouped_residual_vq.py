"""Residual vector quantization of slices of the features.

In: sizes and options. Out: a `ProductQuantize` whose parts are `ResidualVQ` layers. Must not search
for codes.
"""

from collections.abc import Sequence
from typing import Any

import torch

from certvq.nn._core.latents import LayoutName
from certvq.nn._core.options import checked
from certvq.nn._levels.grouped_residual import GroupedResidual, slice_width
from certvq.nn._levels.level_dropout import LevelDropout
from certvq.nn._levels.residual_vq import ResidualVQ


@checked
class GroupedResidualVQ(GroupedResidual):
    """Cut the features into slices of one size, each with a residual quantizer of its own.

    Args:
        dim: D, size of the feature axis, a multiple of `groups`.
        codebook_size: K of every level, or a sequence of one K for each level, in all groups.
        groups: how many slices, >= 1.
        num_quantizers: Q, as for `ResidualVQ`.
        dropout: how many levels are used in train mode, the same number in all groups.
        layout: names of the axes of latents, one of `LayoutName`.
        generator: source of every random choice.
        options: of every group's `ResidualVQ`: `shared`, `estimator`, and those of
            `VectorQuantize`.

    Raises:
        OptionError: an option out of its range, or sizes that contradict one another.

    Guarantee: that of `ResidualVQ` in each group. With one level the codes are the nearest ones of
    the product codebook (``product_isNearestCode``). Codes have axes for the group and the level;
    ``codes[..., :q]`` decodes the first q levels of all groups.
    Ties: the lowest index, in each group and at each level.

    Example:
        >>> layer = GroupedResidualVQ(8, 16, groups=2, num_quantizers=3).eval()
        >>> layer(torch.randn(1, 10, 8)).codes.shape
        torch.Size([1, 10, 2, 3])

    References:
        Yang et al., "HiFi-Codec: Group-residual Vector quantization for High Fidelity Audio
        Codec", 2023.
    """

    def __init__(
        self,
        dim: int,
        codebook_size: int | Sequence[int],
        *,
        groups: int,
        num_quantizers: int | None = None,
        dropout: LevelDropout | None = None,
        layout: LayoutName = "b n d",
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> None:
        width = slice_width(dim, groups)
        parts = [
            ResidualVQ(
                width,
                codebook_size,
                num_quantizers=num_quantizers,
                generator=generator,
                **options,
            )
            for _ in range(groups)
        ]
        super().__init__(parts, dropout=dropout, layout=layout, generator=generator)
