"""Residual quantization with learned maps of frozen vectors.

In: sizes and options. Out: a `Residual` whose levels are `SimVQ` layers. Must not search for codes.
"""

from typing import Any

import torch

from certvq.errors import OptionError
from certvq.nn._core.latents import LayoutName
from certvq.nn._core.options import checked
from certvq.nn._estimators.each_level import EachLevel
from certvq.nn._estimators.estimator import Estimator, StraightThrough
from certvq.nn._levels.beam import Beam
from certvq.nn._levels.level_dropout import LevelDropout
from certvq.nn._levels.residual import Residual
from certvq.nn._vector.sim_vq import SimVQ

_STRAIGHT = StraightThrough()


@checked
class ResidualSimVQ(Residual):
    """Quantize by one mapped codebook what the codebooks before it left over.

    Mathematics, gradient, dropped levels and ties are those of `Residual`; each level is a `SimVQ`
    with frozen vectors and a map of its own.

    Args:
        dim: D, size of the feature axis, >= 1.
        codebook_size: K of every level.
        num_quantizers: Q, how many levels, >= 1.
        dropout: how many levels are used in train mode, or None for all.
        beam: a search over the levels, or None for the greedy choice.
        estimator: as for `Residual`; with `EachLevel` the levels are straight through.
        layout: names of the axes of latents, one of `LayoutName`.
        generator: source of every random choice.
        options: of every level's `SimVQ`: `code_dim`, `commitment_weight`, ... but no `transform`,
            which would be one map for all levels.

    Raises:
        OptionError: an option out of its range, or a `transform`.

    Guarantee: without a beam each level's code is the nearest of its mapped code vectors to that
    level's residual, both as computed (`SimVQ`); with one, see `Beam`. The rest is that of
    `Residual`.
    Ties: the lowest index, at each level.

    Example:
        >>> layer = ResidualSimVQ(4, 16, num_quantizers=3)
        >>> quantized, codes, loss = layer(torch.randn(2, 10, 4))
        >>> codes.shape, torch.equal(quantized, layer.decode(codes))
        (torch.Size([2, 10, 3]), True)

    References:
        Zhu et al., 2024, arXiv 2411.02038; Zeghidour et al., "SoundStream", 2021, algorithm 1.
    """

    def __init__(  # noqa: PLR0913 (independent options, all of them keyword-only)
        self,
        dim: int,
        codebook_size: int,
        *,
        num_quantizers: int,
        dropout: LevelDropout | None = None,
        beam: Beam | None = None,
        estimator: Estimator | EachLevel = _STRAIGHT,
        layout: LayoutName = "b n d",
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> None:
        if "transform" in options:
            text = (
                "each level of ResidualSimVQ has a map of its own, got one transform for all; "
                "build Residual([SimVQ(..., transform=...), ...]) with a map for each level"
            )
            raise OptionError(text)
        parts = [
            SimVQ(dim, codebook_size, generator=generator, **options) for _ in range(num_quantizers)
        ]
        super().__init__(
            parts,
            dropout=dropout,
            beam=beam,
            estimator=estimator,
            layout=layout,
            generator=generator,
        )
