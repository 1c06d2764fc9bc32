"""Linear maps around a quantizer of fewer features.

In: any quantizer of d features. Out: a quantizer of D features. Must not know which family its part
is of.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from certvq.errors import NonFiniteError
from certvq.nn._core.codes import Sizes
from certvq.nn._core.latents import LayoutName, finite_error, require_finite_latents
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import Found, Quantizer
from certvq.nn._torch.modes import full_precision


@checked
class Project(Quantizer):
    """Map latents to fewer features, quantize there, and map back.

    Mathematics: ``B q(A z + a) + b``. A learns through the estimator and the loss of the part, B
    from whatever follows. Both maps are computed in the wider type of number of latents and
    weights, also under autocast.

    Args:
        quantizer: the part, of d features; its own layout does not matter.
        dim: D.
        norm: whether a LayerNorm follows the first map.
        bias: whether the maps have a and b.
        layout: as for every quantizer.

    Raises:
        OptionError: `dim` out of its range.

    Guarantee: what the part guarantees, for ``A z + a`` as computed, which may be rounded otherwise
    in a batch of another size. `decode` returns the bits of `quantized` for as many codes at once
    as there were latents; ``B q + b`` of other numbers of rows may differ by rounding.

    Example:
        >>> from certvq.nn import VectorQuantize
        >>> layer = Project(VectorQuantize(8, 512), 256)
        >>> layer(torch.randn(1, 600, 256)).quantized.shape
        torch.Size([1, 600, 256])

    References:
        Yu et al., "Vector-quantized Image Modeling with Improved VQGAN", 2021, section 3.2
        (factorized codes).
    """

    def __init__(
        self,
        quantizer: Quantizer,
        dim: int,
        *,
        norm: bool = False,
        bias: bool = True,
        layout: LayoutName = "b n d",
    ) -> None:
        super().__init__(dim, layout=layout, code_shape=quantizer.code_shape)
        self.quantizer = quantizer
        self.project_in = nn.Linear(dim, quantizer.dim, bias=bias)
        self.norm = nn.LayerNorm(quantizer.dim) if norm else None
        self.project_out = nn.Linear(quantizer.width, dim, bias=bias)

    @property
    def codebook_size(self) -> Sizes:
        """That of the part."""
        return self.quantizer.codebook_size

    @property
    def code_axes(self) -> tuple[str, ...]:
        """Those of the part; see `Quantizer`."""
        return self.quantizer.code_axes

    @property
    def shares_codebook(self) -> bool:
        """Whether the part's codes look up one codebook."""
        return self.quantizer.shares_codebook

    def quantize_tokens(self, tokens: torch.Tensor) -> Found:
        """Quantize between the maps; see `Quantizer`."""
        found = self.quantizer.quantize_tokens(self._inside(tokens))
        return Found(self._outside(found.vectors), found.codes, found.loss, found.figures)

    def learn_tokens(
        self, tokens: torch.Tensor, *, candidates: Callable[[], torch.Tensor] | None = None
    ) -> None:
        """Let the part learn from mapped tokens; see `Quantizer`."""
        pick = None if candidates is None else lambda: self._inside(candidates()).detach()
        self.quantizer.learn_tokens(self._inside(tokens).detach(), candidates=pick)

    def choose_tokens(self, tokens: torch.Tensor) -> Found:
        """Let the part choose; see `Quantizer`."""
        found = self.quantizer.choose_tokens(self._inside(tokens))
        return Found(self._outside(found.vectors), found.codes, found.loss, found.figures)

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the codes behind the first map; see `Quantizer`."""
        return self.quantizer.encode_tokens(self._inside(tokens))

    def decode_tokens(self, codes: torch.Tensor) -> torch.Tensor:
        """Map the vectors of codes back; see `Quantizer`."""
        return self._outside(self.quantizer.decode_tokens(codes))

    def complete_codes(self, codes: torch.Tensor) -> torch.Tensor:
        """Ask the part; see `Quantizer`."""
        return self.quantizer.complete_codes(codes)

    def require_coded(self, codes: torch.Tensor) -> torch.Tensor:
        """Ask the part; see `Quantizer`."""
        return self.quantizer.require_coded(codes)

    def token_error(self, tokens: torch.Tensor) -> NonFiniteError | None:
        """Ask the part about mapped tokens; see `Quantizer`."""
        error = finite_error(tokens, "latents")
        if error is not None:
            return error
        with torch.no_grad():
            return self.quantizer.token_error(self._inside(tokens))

    def _inside(self, tokens: torch.Tensor) -> torch.Tensor:
        known = require_finite_latents(tokens)  # before the map hides where NaN is
        mapped = _linear(known, self.project_in)
        if self.norm is None:
            return mapped
        weight, bias = self.norm.weight.to(mapped.dtype), self.norm.bias.to(mapped.dtype)
        return functional.layer_norm(mapped, (mapped.shape[1],), weight, bias, self.norm.eps)

    def _outside(self, vectors: torch.Tensor) -> torch.Tensor:
        return _linear(vectors.contiguous(), self.project_out).to(self.project_out.weight.dtype)


def _linear(rows: torch.Tensor, layer: nn.Linear) -> torch.Tensor:
    wide = torch.promote_types(rows.dtype, layer.weight.dtype)
    bias = None if layer.bias is None else layer.bias.to(wide)
    with full_precision(rows.device):
        return functional.linear(rows.to(wide), layer.weight.to(wide), bias)
