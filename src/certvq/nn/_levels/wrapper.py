"""Quantizers that work on changed latents and change the vectors back.

In: tokens. Out: what another quantizer finds for them, changed back. Must not know how codes are
found.
"""

import abc
from collections.abc import Callable

import torch

from certvq.errors import NonFiniteError
from certvq.nn._core.codes import Sizes
from certvq.nn._core.latents import LayoutName, finite_error, require_finite_latents
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import Found, Quantizer


@checked
class Wrapper(Quantizer):
    """A quantizer of one part, whose latents are changed, and whose vectors are changed back.

    Losses are those of the part, about the changed latents.

    Args:
        part: the quantizer; its layout plays no role.
        layout: names of the axes of latents, one of `LayoutName`.

    Attributes:
        part: as given.
    """

    part: Quantizer

    def __init__(self, part: Quantizer, *, layout: LayoutName = "b n d") -> None:
        super().__init__(part.dim, layout=layout, code_shape=part.code_shape)
        self.part = part

    @abc.abstractmethod
    def inward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return what the part is given, (N, D), differentiable."""

    @abc.abstractmethod
    def outward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return what becomes of the part's vectors (N, D), differentiable."""

    @property
    def codebook_size(self) -> Sizes:
        """K of the part."""
        return self.part.codebook_size

    @property
    def code_axes(self) -> tuple[str, ...]:
        """Those of the part; see `Quantizer`."""
        return self.part.code_axes

    @property
    def shares_codebook(self) -> bool:
        """Whether the part's codes look up one codebook."""
        return self.part.shares_codebook

    def quantize_tokens(self, tokens: torch.Tensor) -> Found:
        """Let the part quantize the changed tokens; see `Quantizer`."""
        return self._found(tokens, self.part.quantize_tokens)

    def choose_tokens(self, tokens: torch.Tensor) -> Found:
        """Let the part choose; see `Quantizer`."""
        return self._found(tokens, self.part.choose_tokens)

    def learn_tokens(
        self, tokens: torch.Tensor, *, candidates: Callable[[], torch.Tensor] | None = None
    ) -> None:
        """Let the part learn from the changed tokens; see `Quantizer`."""
        changed = None if candidates is None else lambda: self.inward(candidates())
        self.part.learn_tokens(self.inward(tokens), candidates=changed)

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the part's codes of the changed tokens; see `Quantizer`."""
        return self.part.encode_tokens(self.inward(require_finite_latents(tokens)))

    def decode_tokens(self, codes: torch.Tensor) -> torch.Tensor:
        """Change the part's vectors back; see `Quantizer`."""
        return self.outward(self.part.decode_tokens(codes))

    def token_error(self, tokens: torch.Tensor) -> NonFiniteError | None:
        """Ask the part about the changed tokens; see `Quantizer`."""
        return finite_error(tokens) or self.part.token_error(self.inward(tokens))

    def complete_codes(self, codes: torch.Tensor) -> torch.Tensor:
        """Let the part complete them; see `Quantizer`."""
        return self.part.complete_codes(codes)

    def require_coded(self, codes: torch.Tensor) -> torch.Tensor:
        """Let the part look at them; see `Quantizer`."""
        return self.part.require_coded(codes)

    def _found(self, tokens: torch.Tensor, find: Callable[[torch.Tensor], Found]) -> Found:
        if not self.training:
            tokens = require_finite_latents(tokens)
        found = find(self.inward(tokens))
        return Found(self.outward(found.vectors), found.codes, found.loss, found.figures)
