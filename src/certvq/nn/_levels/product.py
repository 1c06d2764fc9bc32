"""Separate quantizers for slices of the features.

In: tokens. Out: for each token the codes of every slice, and their vectors side by side. Every
slice is found by its own part. Must not search for codes.
"""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import nn

from certvq.errors import CodeRangeError, NonFiniteError, OptionError
from certvq.nn._core.codes import Sizes, spread_sizes
from certvq.nn._core.latents import LayoutName
from certvq.nn._core.losses import mean_square
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import Found, Quantizer, require_distinct
from certvq.nn._torch.transaction import all_or_nothing


@checked
class ProductQuantize(Quantizer):
    """Cut the features into slices and quantize each by a quantizer of its own.

    Mathematics: ``z = (z_1, ..., z_G)``, ``quantized = (v_1(z_1), ..., v_G(z_G))``; ``loss = sum_g
    (D_g / D) loss_g``, so that mean squared errors of the slices add up to that of the whole.

    Args:
        parts: the quantizers, in the order of the slices; their dims say where to cut, their
            layouts play no role. All have one code shape.
        layout: names of the axes of latents, one of `LayoutName`.

    Attributes:
        parts: the quantizers, as an ``nn.ModuleList``.
        latest: the figures of each part as ``group0/...``; ``commitment_loss``, the mean squared
            error of the whole.

    Raises:
        OptionError: no parts, or parts of different code shapes.

    Guarantee: that of the parts, slice by slice. Where each part's code is the nearest one for its
    slice, the codes of all slices are together the nearest ones of the product codebook
    (``product_isNearestCode``, stated for slices of one size). ``quantized == decode(codes)`` bit
    for bit. Gradients are those of the parts.
    Ties: those of the parts: the lexicographically first among the tied tuples of codes.

    Example:
        >>> from certvq.nn import VectorQuantize
        >>> layer = ProductQuantize([VectorQuantize(2, 16), VectorQuantize(3, 32)]).eval()
        >>> quantized, codes, loss = layer(torch.zeros(1, 4, 5))
        >>> codes.shape, layer.codebook_size
        (torch.Size([1, 4, 2]), (16, 32))

    References:
        Jegou, Douze, Schmid, "Product Quantization for Nearest Neighbor Search", 2011.
    """

    def __init__(self, parts: Sequence[Quantizer], *, layout: LayoutName = "b n d") -> None:
        _require_parts(parts)
        self.widths = tuple(part.dim for part in parts)
        super().__init__(
            sum(self.widths), layout=layout, code_shape=(len(parts), *parts[0].code_shape)
        )
        self.parts = nn.ModuleList(parts)

    @property
    def groups(self) -> tuple[Quantizer, ...]:
        """The part of each slice."""
        return cast("tuple[Quantizer, ...]", tuple(self.parts))

    @property
    def codebook_size(self) -> Sizes:
        """K of the parts; a tuple where it differs between them."""
        sizes = [part.codebook_size for part in self.groups]
        return spread_sizes(sizes, self.code_shape[1:])

    @property
    def code_axes(self) -> tuple[str, ...]:
        """Groups, and what the parts have; see `Quantizer`."""
        return ("group", *self.groups[0].code_axes)

    def quantize_tokens(self, tokens: torch.Tensor) -> Found:
        """Quantize each slice; see `Quantizer`."""
        return self.quantize_slices(tokens, lambda part, piece: part.quantize_tokens(piece))

    def quantize_slices(
        self, tokens: torch.Tensor, quantize: Callable[[Quantizer, torch.Tensor], Found]
    ) -> Found:
        """Quantize each slice by a function of the part and its slice of the tokens.

        Args:
            tokens: (N, D).
            quantize: how a part finds the codes of its slice, (N, D_g).
        """
        pieces = self._slices(tokens)
        pairs = list(zip(self.groups, pieces, strict=True))
        founds = all_or_nothing(self, tokens, lambda: [quantize(*pair) for pair in pairs])
        vectors = torch.cat([found.vectors for found in founds], dim=1)
        figures = {
            f"group{group}/{name}": value
            for group, found in enumerate(founds)
            for name, value in found.figures.items()
        }
        figures["commitment_loss"] = mean_square(tokens.detach(), vectors.detach())
        losses = [
            found.loss * (width / self.dim)
            for found, width in zip(founds, self.widths, strict=True)
        ]
        codes = torch.stack([found.codes for found in founds], dim=1)
        return Found(vectors, codes, torch.stack(losses).sum(), figures)

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the codes of all slices; see `Quantizer`."""
        pieces = zip(self.groups, self._slices(tokens), strict=True)
        return torch.stack([part.encode_tokens(piece) for part, piece in pieces], dim=1)

    def decode_tokens(self, codes: torch.Tensor) -> torch.Tensor:
        """Put the vectors of the slices side by side; see `Quantizer`."""
        pieces = zip(self.groups, codes.unbind(dim=1), strict=True)
        return torch.cat([part.decode_tokens(piece) for part, piece in pieces], dim=1)

    def complete_codes(self, codes: torch.Tensor) -> torch.Tensor:
        """Let the first part complete them, as all have one code shape; see `Quantizer`."""
        return self.groups[0].complete_codes(codes)

    def require_coded(self, codes: torch.Tensor) -> torch.Tensor:
        """Let each part look at its own; see `Quantizer`."""
        axis = codes.ndim - len(self.code_shape)
        coded = []
        for group, (part, own) in enumerate(zip(self.groups, codes.unbind(axis), strict=True)):
            try:
                coded.append(part.require_coded(own))
            except CodeRangeError as error:  # noqa: PERF203 (groups are few)
                text = f"group {group} of {len(self.groups)}: {error}"
                raise CodeRangeError(text) from None
        return torch.stack(coded, dim=axis)

    def token_error(self, tokens: torch.Tensor) -> NonFiniteError | None:
        """Ask each part about its slice; see `Quantizer`."""
        for group, (part, piece) in enumerate(zip(self.groups, self._slices(tokens), strict=True)):
            error = part.token_error(piece)
            if error is not None:
                return NonFiniteError(f"group {group} of {len(self.groups)}: {error}")
        return None

    def reach(self, largest: float) -> float:
        """Return the greatest of the parts'; see `Quantizer`."""
        return max(part.reach(largest) for part in self.groups)

    def _slices(self, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tokens.split(self.widths, dim=1)


def _require_parts(parts: Sequence[Quantizer]) -> None:
    if not parts:
        text = "ProductQuantize needs at least one part, got none"
        raise OptionError(text)
    require_distinct(parts)
    for group, part in enumerate(parts):
        if part.code_shape != parts[0].code_shape:
            text = (
                f"all parts must have the code shape of the first one, {parts[0].code_shape}; part "
                f"{group} has {part.code_shape}"
            )
            raise OptionError(text)
