"""Several codes for each latent, all of one codebook.

In: any quantizer of D / heads features. Out: a quantizer of D features. Must not know which family
its part is of.
"""

from collections.abc import Callable

import torch

from certvq.errors import NonFiniteError, OptionError
from certvq.nn._core.codes import Sizes
from certvq.nn._core.latents import LayoutName, finite_error, require_finite_latents
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import Found, Quantizer


@checked
class Heads(Quantizer):
    """Cut each latent into slices and quantize all of them by one and the same quantizer.

    Mathematics: with ``z = (z_1, ..., z_H)``, the vectors are ``(q(z_1), ..., q(z_H))``. Each slice
    is a token of its own for the part: it counts, teaches and costs as one.

    Args:
        quantizer: the part, of d features; its own layout does not matter.
        heads: H, >= 1; a latent has ``D = H d`` features.
        layout: as for every quantizer.

    Raises:
        OptionError: an option out of its range.

    Guarantee: where the code of each slice is the nearest one, the H codes together are nearest
    among all ``K^H`` combinations (``product_isNearestCode``), with ties by the lowest index of the
    first slice, then of the second, and so on. ``quantized == decode(codes)`` where the part has
    that.

    Example:
        >>> from certvq.nn import VectorQuantize
        >>> layer = Heads(VectorQuantize(2, 16), 3)
        >>> layer(torch.zeros(1, 7, 6)).codes.shape
        torch.Size([1, 7, 3])

    References:
        Jegou, Douze, Schmid, "Product Quantization for Nearest Neighbor Search", 2011, with one
        codebook for all slices.
    """

    def __init__(self, quantizer: Quantizer, heads: int, *, layout: LayoutName = "b n d") -> None:
        if heads < 1:
            text = f"heads must be at least 1, got {heads}"
            raise OptionError(text)
        super().__init__(
            quantizer.dim * heads, layout=layout, code_shape=(heads, *quantizer.code_shape)
        )
        self.heads = heads
        self.quantizer = quantizer

    @property
    def codebook_size(self) -> Sizes:
        """That of the part."""
        return self.quantizer.codebook_size

    @property
    def width(self) -> int:
        """Number of features of the vectors: H times that of the part."""
        return self.heads * self.quantizer.width

    @property
    def code_axes(self) -> tuple[str, ...]:
        """Heads, and what the part has; see `Quantizer`."""
        return ("head", *self.quantizer.code_axes)

    @property
    def shares_codebook(self) -> bool:
        """Whether the part's codes look up one codebook."""
        return not self.quantizer.code_shape or self.quantizer.shares_codebook

    def quantize_tokens(self, tokens: torch.Tensor) -> Found:
        """Quantize all slices at once; see `Quantizer`."""
        return self._joined(self.quantizer.quantize_tokens(self._slices(tokens)))

    def learn_tokens(
        self, tokens: torch.Tensor, *, candidates: Callable[[], torch.Tensor] | None = None
    ) -> None:
        """Let the part learn from all slices; see `Quantizer`."""
        pick = None if candidates is None else lambda: self._slices(candidates())
        self.quantizer.learn_tokens(self._slices(tokens), candidates=pick)

    def choose_tokens(self, tokens: torch.Tensor) -> Found:
        """Let the part choose; see `Quantizer`."""
        return self._joined(self.quantizer.choose_tokens(self._slices(tokens)))

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the codes of all slices; see `Quantizer`."""
        latents = require_finite_latents(tokens.detach())  # named by the rows of the latents
        return self._together(self.quantizer.encode_tokens(self._slices(latents)))

    def decode_tokens(self, codes: torch.Tensor) -> torch.Tensor:
        """Decode all slices; see `Quantizer`."""
        slices = codes.reshape(-1, *self.quantizer.code_shape)
        return self.quantizer.decode_tokens(slices).reshape(-1, self.width)

    def require_coded(self, codes: torch.Tensor) -> torch.Tensor:
        """Ask the part; see `Quantizer`."""
        return self.quantizer.require_coded(codes)

    def token_error(self, tokens: torch.Tensor) -> NonFiniteError | None:
        """Ask the part; see `Quantizer`. Numbers that are too large are named by slice."""
        return finite_error(tokens, "latents") or self.quantizer.token_error(self._slices(tokens))

    def reach(self, largest: float) -> float:
        """Return the part's; see `Quantizer`."""
        return self.quantizer.reach(largest)

    def _slices(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens.reshape(-1, self.quantizer.dim)

    def _joined(self, found: Found) -> Found:
        vectors = found.vectors.reshape(-1, self.width)
        return Found(vectors, self._together(found.codes), found.loss, found.figures)

    def _together(self, codes: torch.Tensor) -> torch.Tensor:
        return codes.reshape(-1, *self.code_shape)
