"""Residual finite scalar quantization: grids within the cells of grids.

In: numbers of levels and options. Out: a `Residual` whose parts are `FSQ` layers. Must not search
for codes.
"""

from collections.abc import Sequence
from fractions import Fraction

import torch

from certvq.errors import OptionError
from certvq.nn._core.features import by_feature
from certvq.nn._core.latents import LayoutName, require_finite_latents
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import Found
from certvq.nn._estimators.each_level import EachLevel
from certvq.nn._estimators.estimator import Estimator, StraightThrough
from certvq.nn._levels.grouped_residual import GroupedResidual
from certvq.nn._levels.level_dropout import LevelDropout
from certvq.nn._levels.residual import Residual
from certvq.nn._levels.scaled import Scaled
from certvq.nn._scalar.fsq import FSQ

_STRAIGHT = StraightThrough()


@checked
class ResidualFSQ(Residual):
    """Round to a grid, and what is left over to finer and finer grids.

    Mathematics: with L levels in feature d, ``u_d = c tanh(z_d / c)``, ``c = 1 + 1 / (L - 1)``, is
    quantized by a `Residual` of symmetric grids, clamped to [-1, 1], that level l scales by
    ``L^-l``: a cell of one level is about as wide as all of the next. Gradients pass the soft
    clamp; the estimator is applied to u.

    Args:
        levels: number of levels of each feature, 2 to 4096 each, at most 2^63 codes in all.
        num_quantizers: Q, how many grids, >= 1.
        soft_clamp: whether latents pass through u; without it they should lie within about [-1, 1].
        dropout: how many grids are used in train mode, or None for all.
        estimator: as for `Residual`; with `EachLevel` gradients are those of the grids.
        layout: ``"b n d"``, ``"b d n"``, ``"b c h w"`` or ``"b c t h w"``, of ``len(levels)``
            features.
        generator: source of the random depth.

    Raises:
        OptionError: an option out of its range.

    Guarantee: each level's code is nearest to the clamped ``r / scale`` as computed in floating
    point, with the guarantee of `FSQ`; the rest is that of `Residual`.
    Ties: the lowest index, at each level.

    Example:
        >>> layer = ResidualFSQ((8, 5, 3), 4).eval()
        >>> quantized, codes, loss = layer(torch.randn(2, 10, 3))
        >>> codes.shape, layer.codebook_size
        (torch.Size([2, 10, 4]), 120)
        >>> torch.equal(quantized, layer.decode(codes))
        True

    References:
        Zeghidour et al., "SoundStream: An End-to-End Neural Audio Codec", 2021, algorithm 1;
        Mentzer, Minnen, Agustsson, Tschannen, "Finite Scalar Quantization", 2023.
    """

    def __init__(
        self,
        levels: Sequence[int],
        num_quantizers: int,
        *,
        soft_clamp: bool = True,
        dropout: LevelDropout | None = None,
        estimator: Estimator | EachLevel = _STRAIGHT,
        layout: LayoutName = "b n d",
        generator: torch.Generator | None = None,
    ) -> None:
        if num_quantizers < 1:
            text = f"num_quantizers must be at least 1, got {num_quantizers}"
            raise OptionError(text)
        parts = [
            Scaled(FSQ(tuple(levels), preserve_symmetry=True, hard_clamp=True), scales)
            for scales in level_scales(levels, num_quantizers)
        ]
        super().__init__(
            parts, dropout=dropout, estimator=estimator, layout=layout, generator=generator
        )
        self.soft_clamp = soft_clamp
        ends = [1.0 + 1.0 / (count - 1) for count in levels]
        reach = torch.tensor(ends, dtype=torch.float32, device="cpu")
        self.register_constant("reach", reach)

    def quantize_levels(self, tokens: torch.Tensor, depth: int) -> Found:
        """Quantize what the soft clamp leaves; see `Residual`."""
        return super().quantize_levels(self.clamped(require_finite_latents(tokens)), depth)

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the codes of what the soft clamp leaves; see `Quantizer`."""
        return super().encode_tokens(self.clamped(require_finite_latents(tokens)))

    def clamped(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return u, in float32 at least; differentiable.

        Args:
            tokens: (..., D).
        """
        if not self.soft_clamp:
            return tokens
        reach = self.constant("reach", tokens.device)
        wide = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
        return by_feature(torch.mul, by_feature(torch.div, wide, reach).tanh(), reach)


@checked
class GroupedResidualFSQ(GroupedResidual):
    """Cut the features into slices of one size, each with a `ResidualFSQ` of its own.

    Args:
        levels: number of levels of each feature of a slice.
        num_quantizers: Q, how many grids, >= 1.
        groups: how many slices, >= 1.
        soft_clamp: as for `ResidualFSQ`.
        dropout: how many grids are used in train mode, the same number in all groups.
        layout: ``"b n d"``, ``"b d n"``, ``"b c h w"`` or ``"b c t h w"``, of
            ``groups * len(levels)`` features.
        generator: source of the random depth.

    Raises:
        OptionError: an option out of its range.

    Guarantee: that of `ResidualFSQ` in each group. Codes have axes for the group and the level.
    Ties: the lowest index, in each group and at each level.

    Example:
        >>> layer = GroupedResidualFSQ((8, 5), 3, groups=2).eval()
        >>> layer(torch.randn(1, 10, 4)).codes.shape
        torch.Size([1, 10, 2, 3])
    """

    def __init__(
        self,
        levels: Sequence[int],
        num_quantizers: int,
        *,
        groups: int,
        soft_clamp: bool = True,
        dropout: LevelDropout | None = None,
        layout: LayoutName = "b n d",
        generator: torch.Generator | None = None,
    ) -> None:
        if groups < 1:
            text = f"groups must be at least 1, got {groups}"
            raise OptionError(text)
        parts = [ResidualFSQ(levels, num_quantizers, soft_clamp=soft_clamp) for _ in range(groups)]
        super().__init__(parts, dropout=dropout, layout=layout, generator=generator)


def level_scales(levels: Sequence[int], num_quantizers: int) -> list[list[float]]:
    """Return the scale of each feature at each level, ``L^-l`` rounded to float64."""
    return [
        [float(Fraction(1, count**level)) for count in levels] for level in range(num_quantizers)
    ]
