"""The original's `FSP`.

In: latents (b, ..., d) or (b, d, ...). Out: vectors, indices, the loss on the moments and what was
measured on the way. Must not find bins by itself.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

from certvq import nn as families
from certvq.compat.vector_quantize_pytorch._checks import FLAG, checked, require
from certvq.compat.vector_quantize_pytorch._module import Translated
from certvq.compat.vector_quantize_pytorch._names import names_of
from certvq.compat.vector_quantize_pytorch._tensors import (
    mapped_back,
    narrow,
    outward,
    projections,
    restored,
    rows_of,
    through,
)
from certvq.errors import OptionError, ShapeError
from certvq.nn._core.codes import require_integers, require_range
from certvq.nn._scalar.radix import join_digits, split_codes
from certvq.nn._torch.modes import sizes

__getattr__ = names_of(__name__)

_PRESETS: dict[str, families.Moments | None] = {
    "none": None,
    "var": families.Moments.spread(1.0),
    "kurt": families.Moments(),
    "var_tanh": families.Moments.spread(0.8225),
    "var_sigmoid": families.Moments.spread(3.29),
    "var_laplace": families.Moments.spread(2.0),
}


class FSP(Translated):
    """Bin features, or shake them in train mode; see `certvq.nn.FSP`.

    Keywords are the original's. `vector_norm` is ``"none"``, ``"var"``, ``"kurt"``,
    ``"var_tanh"``, ``"var_sigmoid"`` or ``"var_laplace"``.

    Guarantee: that of `certvq.nn.FSP`, for the latents as projected.
    """

    fixed = frozenset(["act_name", "quantize_rate", "need_inv_act", "has_projections"])

    @checked(channel_first=FLAG)
    def __init__(
        self,
        levels: Sequence[int],
        dim: int | None = None,
        channel_first: bool = False,
        projection_has_bias: bool = True,
        act_name: str = "tanh",
        quantize_rate: float = 0.0,
        need_inv_act: bool = False,
        vector_norm: str = "var_tanh",
    ) -> None:
        super().__init__()
        if vector_norm not in _PRESETS:
            known = ", ".join(map(repr, _PRESETS))
            text = f"vector_norm must be one of {known}; got {vector_norm!r}"
            raise OptionError(text)
        self.quantizer = families.FSP(
            levels,
            activation=act_name,
            quantize_rate=quantize_rate,
            invert=need_inv_act,
            moments=_PRESETS[vector_norm],
        )
        self.codebook_dim = len(self.quantizer.levels)
        self.dim = self.codebook_dim if dim is None else dim
        self.channel_first = channel_first
        self.codebook_size = self.quantizer.codebook_size
        self.act_name = act_name
        self.quantize_rate = quantize_rate
        self.need_inv_act = need_inv_act
        self.has_projections = self.dim != self.codebook_dim
        self.project_in, self.project_out = projections(
            self.dim, self.codebook_dim, bias=projection_has_bias
        )

    def level_indices_to_indices(self, level_indices: torch.Tensor) -> torch.Tensor:
        """Return the indices (...) of bins (..., codebook_dim)."""
        if level_indices.shape[-1] != self.codebook_dim:
            text = (
                f"level_indices must have {self.codebook_dim} features, got shape "
                f"{tuple(level_indices.shape)}"
            )
            raise ShapeError(text)
        bins = require_range(level_indices.long(), self.quantizer.levels).movedim(-1, 0)
        return narrow(join_digits(bins, self.quantizer.levels), self.codebook_size)

    def indices_to_level_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the bins (..., codebook_dim) of indices (...)."""
        wide = require_range(require_integers(indices), self.codebook_size)
        bins = split_codes(wide, self.quantizer.levels)
        return narrow(bins.movedim(0, -1), self.codebook_size)

    def indices_to_act_value(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the midpoints of the bins, in [0, 1]."""
        sizes = torch.tensor(self.quantizer.levels, device=indices.device)
        return (self.indices_to_level_indices(indices).float() + 0.5) / sizes

    def indices_to_codes(self, indices: torch.Tensor, eps: float = 1e-6) -> torch.Tensor:
        """Return the vectors of indices (b, ...)."""
        self._require_eps(eps)
        wide = require_integers(indices).reshape(1, -1)
        vectors = outward(self.project_out, self.quantizer.decode(wide)[0])
        return restored(vectors, tuple(indices.shape), first=self.channel_first)

    def forward(
        self, z: torch.Tensor, eps: float | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Return vectors as z, indices (b, ...), the loss and a dictionary of figures."""
        self._require_eps(eps)
        tokens, shape, grid = rows_of(z, self.dim, first=self.channel_first)
        tokens = through(self.project_in, tokens)
        quantized, codes, loss = self.quantizer(tokens[None])
        level_indices = self.indices_to_level_indices(codes).reshape(*shape, self.codebook_dim)
        figures: dict[str, Any] = {
            "level_indices": level_indices.to(tokens.dtype),
            "norm_info": _moments(tokens),
        }
        if "inside" in self.quantizer.latest:
            figures["p_accept_prob"] = self.quantizer.latest["inside"].float()
        vectors = grid.restore(mapped_back(self.project_out, quantized[0], z.dtype), shape)
        return vectors, narrow(codes, self.codebook_size).reshape(shape), loss, figures

    def _require_eps(self, eps: float | None) -> None:
        require(eps=eps)
        least = 1 / (2 * max(self.quantizer.levels))
        if eps is not None and eps >= least:
            text = (
                f"eps must be below {least:.3g}, half a bin, so that it moves no midpoint, got "
                f"{eps}; see docs/migration.md"
            )
            raise OptionError(text)


def _moments(tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return mean, variance, skewness and excess kurtosis of each feature; NaN without tokens."""
    count = sizes(tokens)[0]
    if not count:
        unknown = tokens.new_full(tokens.shape[1:], math.nan)
        return dict.fromkeys(("mean", "variance", "skewness", "kurtosis"), unknown)
    variance, mean = torch.var_mean(tokens, dim=0, correction=int(count > 1))
    score = (tokens - mean) / variance.sqrt().clamp_min(1e-8)
    return {
        "mean": mean,
        "variance": variance,
        "skewness": score.pow(3).mean(dim=0),
        "kurtosis": score.pow(4).mean(dim=0) - 3.0,
    }
