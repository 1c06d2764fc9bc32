"""Residual lookup-free quantization: signs, and signs of what is left over.

In: sizes and options. Out: a `Residual` whose parts are `LFQ` layers. Must not search for codes.
"""

from typing import Any

import torch

from certvq.errors import OptionError
from certvq.nn._core.latents import LayoutName
from certvq.nn._core.options import checked
from certvq.nn._estimators.each_level import EachLevel
from certvq.nn._estimators.estimator import Estimator, StraightThrough
from certvq.nn._levels.grouped_residual import GroupedResidual, slice_width
from certvq.nn._levels.level_dropout import LevelDropout
from certvq.nn._levels.residual import Residual
from certvq.nn._scalar.lfq import LFQ

_STRAIGHT = StraightThrough()


@checked
class ResidualLFQ(Residual):
    """Take signs, and then the signs of what is left over, at half the scale.

    Mathematics, gradient, dropped levels and ties are those of `Residual`; level l is an `LFQ` with
    the scale ``2^-l scale`` and, if it has one, the soft clamp ``2^-l soft_clamp``.

    Args:
        dim: D, number of features and bits of each code, 1 to 63.
        num_quantizers: Q, how many levels, >= 1.
        scale: of the first level, > 0.
        soft_clamp: of the first level's latents in its losses, or None.
        dropout: how many levels are used in train mode, or None for all.
        estimator: as for `Residual`.
        layout: names of the axes of latents, one of `LayoutName`.
        generator: source of the random depth.
        options: of every level's `LFQ`: `spherical`, `entropy`, `commitment_weight`.

    Raises:
        OptionError: an option out of its range.

    Guarantee: each level's code is nearest to that level's residual as computed, with the guarantee
    of `LFQ`; the rest is that of `Residual`.
    Ties: the lowest index, at each level.

    Example:
        >>> layer = ResidualLFQ(4, 3).eval()
        >>> quantized, codes, loss = layer(torch.tensor([[[0.3, -0.8, 1.6, 0.1]]]))
        >>> codes
        tensor([[[11,  6,  2]]])
        >>> quantized
        tensor([[[ 0.2500, -0.7500,  1.7500,  0.2500]]])

    References:
        Zeghidour et al., "SoundStream: An End-to-End Neural Audio Codec", 2021, algorithm 1;
        Yu et al., "Language Model Beats Diffusion: Tokenizer is Key to Visual Generation", 2023.
    """

    def __init__(  # noqa: PLR0913 (independent options, all of them keyword-only)
        self,
        dim: int,
        num_quantizers: int,
        *,
        scale: float = 1.0,
        soft_clamp: float | None = None,
        dropout: LevelDropout | None = None,
        estimator: Estimator | EachLevel = _STRAIGHT,
        layout: LayoutName = "b n d",
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> None:
        if num_quantizers < 1:
            text = f"num_quantizers must be at least 1, got {num_quantizers}"
            raise OptionError(text)
        parts = [
            LFQ(
                dim,
                scale=scale / 2**level,
                soft_clamp=None if soft_clamp is None else soft_clamp / 2**level,
                **options,
            )
            for level in range(num_quantizers)
        ]
        super().__init__(
            parts, dropout=dropout, estimator=estimator, layout=layout, generator=generator
        )


@checked
class GroupedResidualLFQ(GroupedResidual):
    """Cut the features into slices of one size, each with a `ResidualLFQ` of its own.

    Args:
        dim: D, size of the feature axis, a multiple of `groups`.
        num_quantizers: Q, how many levels, >= 1.
        groups: how many slices, >= 1.
        dropout: how many levels are used in train mode, the same number in all groups.
        layout: names of the axes of latents, one of `LayoutName`.
        generator: source of the random depth.
        options: of every group's `ResidualLFQ`: `scale`, `soft_clamp`, and those of `LFQ`.

    Raises:
        OptionError: an option out of its range.

    Guarantee: that of `ResidualLFQ` in each group. Codes have axes for the group and the level.
    Ties: the lowest index, in each group and at each level.

    Example:
        >>> layer = GroupedResidualLFQ(8, 3, groups=2).eval()
        >>> layer(torch.randn(1, 10, 8)).codes.shape
        torch.Size([1, 10, 2, 3])
    """

    def __init__(
        self,
        dim: int,
        num_quantizers: int,
        *,
        groups: int,
        dropout: LevelDropout | None = None,
        layout: LayoutName = "b n d",
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> None:
        width = slice_width(dim, groups)
        parts = [ResidualLFQ(width, num_quantizers, **options) for _ in range(groups)]
        super().__init__(parts, dropout=dropout, layout=layout, generator=generator)
