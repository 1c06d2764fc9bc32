"""Residual quantizers of slices of the features, of one depth.

In: residual quantizers. Out: a `ProductQuantize` of them. Must not search for codes.
"""

from collections.abc import Sequence
from typing import cast

import torch

from certvq.errors import OptionError
from certvq.nn._core.latents import LayoutName
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import Found, Quantizer
from certvq.nn._levels.level_dropout import LevelDropout, require_min_levels
from certvq.nn._levels.product import ProductQuantize
from certvq.nn._levels.residual import Residual
from certvq.nn._torch.distributed import peers_of


@checked
class GroupedResidual(ProductQuantize):
    """Cut the features into slices, each with a residual quantizer of its own.

    Args:
        parts: residual quantizers of one number of levels, in the order of the slices.
        dropout: how many levels are used in train mode, the same number in all groups; the parts'
            own dropout plays no role.
        layout: names of the axes of latents, one of `LayoutName`.
        generator: source of the random depth.

    Raises:
        OptionError: no parts, parts of different code shapes, or more levels kept than there are.

    Guarantee: that of the parts in each group. Codes have axes for the group and the level;
    ``codes[..., :q]`` decodes the first q levels of all groups.
    Ties: those of the parts.
    """

    def __init__(
        self,
        parts: Sequence[Residual],
        *,
        dropout: LevelDropout | None = None,
        layout: LayoutName = "b n d",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(parts, layout=layout)
        require_min_levels(dropout, self.code_shape[1])
        self.dropout = dropout
        self.draw_from(generator)

    def quantize_tokens(self, tokens: torch.Tensor) -> Found:
        """Quantize each slice, all with one depth; see `Quantizer`."""
        depth = self.code_shape[1]
        if self.training and self.dropout is not None:
            depth = self.dropout.depth(depth, self.generator, tokens.device, peers=peers_of(self))
        return self.quantize_groups(tokens, depth)

    def quantize_groups(self, tokens: torch.Tensor, depth: int) -> Found:
        """Quantize each slice with its first levels only.

        Args:
            tokens: (N, D).
            depth: how many levels are used, in ``range(1, Q + 1)``.
        """

        def quantize(part: Quantizer, piece: torch.Tensor) -> Found:
            return cast("Residual", part).quantize_levels(piece, depth)

        return self.quantize_slices(tokens, quantize)


def slice_width(dim: int, groups: int) -> int:
    """Return the features of one of several equal slices.

    Raises:
        OptionError: no group, or a remainder.
    """
    if groups < 1 or dim % groups:
        text = f"dim must be a multiple of groups, which is at least 1; got {dim} and {groups}"
        raise OptionError(text)
    return dim // groups
