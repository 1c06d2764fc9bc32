"""Convolutions after the vectors of coarse scales have been spread over the whole grid.

In: feature maps. Out: feature maps of the same size. Must not know of codes.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from certvq.errors import OptionError
from certvq.nn._core.options import checked
from certvq.nn._torch import random as _random

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@checked
@dataclass(frozen=True)
class Refine:
    """Mix each spread map with a convolution of it: ``(1 - ratio) x + ratio conv(x)``.

    Attributes:
        ratio: share of the convolution (3 wide along each axis), in [0, 1].
        count: how many different convolutions the scales share, >= 1, at most one for each scale;
            None is one for each.

    Raises:
        OptionError: `ratio` or `count` out of range.

    References:
        Tian et al., "Visual Autoregressive Modeling" (VAR), 2024, section 3.2 and its
        implementation, there ``quant_resi`` and ``share_quant_resi``.
    """

    ratio: float = 0.5
    count: int | None = 1

    def __post_init__(self) -> None:
        if not 0.0 <= self.ratio <= 1.0:
            text = f"Refine ratio must lie in [0, 1], got {self.ratio}"
            raise OptionError(text)
        if self.count is not None and self.count < 1:
            text = f"Refine count must be at least 1, got {self.count}"
            raise OptionError(text)


class Refinement(nn.Module):
    """The convolutions of all scales.

    Args:
        dim: number of features.
        axes: number of spatial axes, 1 to 3.
        levels: number of scales.
        options: their ratio and number.
        generator: source of the numbers that they start with, uniform as torch would draw them.
    """

    def __init__(
        self,
        dim: int,
        axes: int,
        levels: int,
        options: Refine,
        *,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        self.ratio = options.ratio
        count = levels if options.count is None else min(levels, options.count)
        kind = _CONVOLUTIONS[axes - 1]
        self.convolutions = nn.ModuleList(
            kind(dim, dim, 3, padding=1, device="meta") for _ in range(count)
        )
        for convolution in self.convolutions:
            _random.start(convolution, 1.0 / math.sqrt(dim * 3**axes), generator)
        last = max(1, levels - 1)
        self.places = tuple(round(level / last * (count - 1)) for level in range(levels))

    def forward(self, maps: torch.Tensor, level: int) -> torch.Tensor:
        """Refine the maps (b, D, ...) of one scale; the dtype is that of the parameters."""
        convolution = cast("nn.Module", self.convolutions[self.places[level]])
        refined: torch.Tensor = maps.lerp(convolution(maps), self.ratio)
        return refined
