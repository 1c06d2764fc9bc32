"""The original's `LFQ`.

In: latents (b, ..., d) or (b, d, ...). Out: corners of a cube, their indices and the loss. Must not
take signs by itself.
"""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from certvq.compat.vector_quantize_pytorch._checks import checked, require
from certvq.compat.vector_quantize_pytorch._module import Codebooks
from certvq.compat.vector_quantize_pytorch._names import names_of
from certvq.compat.vector_quantize_pytorch._tensors import (
    keep_codebooks,
    mapped_back,
    outward,
    restored,
    rows_of,
    spread_mask,
    through,
    wide_type,
)
from certvq.errors import OptionError
from certvq.nn import LFQ as _Mapped
from certvq.nn import exchange
from certvq.nn._core.latents import kept_rows
from certvq.nn._scalar.bit_entropy import MOST_BITS, batch_entropy, sample_entropy
from certvq.nn._torch.modes import recorded

__getattr__ = names_of(__name__)

_GROUP_BITS = 16


class Return(NamedTuple):
    """What `LFQ` returns."""

    quantized: torch.Tensor
    indices: torch.Tensor
    entropy_aux_loss: torch.Tensor


class LossBreakdown(NamedTuple):
    """The terms of the loss, without their weights."""

    per_sample_entropy: torch.Tensor
    batch_entropy: torch.Tensor
    commitment: torch.Tensor


class CosineSimLinear(nn.Module):
    """Scaled cosines of latents and the columns of a matrix.

    Args:
        dim_in: number of features.
        dim_out: number of columns.
        scale: what cosines are multiplied by.
    """

    def __init__(self, dim_in: int, dim_out: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.randn(dim_in, dim_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (..., dim_out)."""
        columns = functional.normalize(self.weight, dim=0)
        return (functional.normalize(x, dim=-1) @ columns) * self.scale


class LFQ(Codebooks):
    """Take signs of features as bits; see `certvq.nn.LFQ`.

    Keywords are the original's. `codebook_size` is a power of two, up to 2^63, None for
    ``2 ** dim``; `force_quantization_f32` has no effect, as codes are exact either way.

    Guarantee: that of `certvq.nn.LFQ` for the latents after the map and the rotation, as computed.
    The entropy of a batch is exact up to 2^20 codes, and the sum over groups of 16 bits beyond.
    """

    fixed = frozenset(["has_projections", "spherical", "force_quantization_f32", "codebook_scale"])

    renames: ClassVar[dict[str, str | None]] = {"mask": None}

    @checked()
    def __init__(
        self,
        *,
        dim: int | None = None,
        codebook_size: int | None = None,
        entropy_loss_weight: float = 0.1,
        commitment_loss_weight: float = 0.0,
        diversity_gamma: float = 1.0,
        straight_through_activation: Callable[[torch.Tensor], torch.Tensor] | None = None,
        num_codebooks: int = 1,
        keep_num_codebooks_dim: bool | None = None,
        codebook_scale: float = 1.0,
        frac_per_sample_entropy: float = 1.0,
        has_projections: bool | None = None,
        projection_has_bias: bool = True,
        soft_clamp_input_value: float | None = None,
        cosine_sim_project_in: bool = False,
        cosine_sim_project_in_scale: float | None = None,
        channel_first: bool | None = None,
        experimental_softplus_entropy_loss: bool = False,
        entropy_loss_offset: float = 5.0,
        spherical: bool = False,
        force_quantization_f32: bool = True,
        orthogonal_rotation: bool = False,
    ) -> None:
        super().__init__()
        bits = _require_bits(dim, codebook_size)
        _require_clamp(soft_clamp_input_value, codebook_scale)
        self.keep_num_codebooks_dim = keep_codebooks(keep_num_codebooks_dim, num_codebooks)
        self.quantizer = _Mapped(bits, scale=codebook_scale, spherical=spherical, entropy=None)
        self.codebook_size = 2**bits
        self.codebook_dim = bits
        self.num_codebooks = num_codebooks
        inner = bits * num_codebooks
        self.dim = inner if dim is None else dim
        self.has_projections = self.dim != inner if has_projections is None else has_projections
        self.project_in: nn.Module = nn.Identity()
        self.project_out: nn.Module = nn.Identity()
        if self.has_projections:
            scale = cosine_sim_project_in_scale
            self.project_in = (
                CosineSimLinear(self.dim, inner, scale=codebook_scale if scale is None else scale)
                if cosine_sim_project_in
                else nn.Linear(self.dim, inner, bias=projection_has_bias)
            )
            self.project_out = nn.Linear(inner, self.dim, bias=projection_has_bias)
        self.activation = straight_through_activation or nn.Identity()
        self.entropy_loss_weight = entropy_loss_weight
        self.commitment_loss_weight = commitment_loss_weight
        self.diversity_gamma = diversity_gamma
        self.codebook_scale = codebook_scale
        self.frac_per_sample_entropy = frac_per_sample_entropy
        self.soft_clamp_input_value = soft_clamp_input_value
        self.channel_first = channel_first
        self.experimental_softplus_entropy_loss = experimental_softplus_entropy_loss
        self.entropy_loss_offset = entropy_loss_offset
        self.spherical = spherical
        self.force_quantization_f32 = force_quantization_f32
        self.rotate(orthogonal_rotation)

    @property
    def codebook(self) -> torch.Tensor:
        """All corners of the cube, (codebook_size, bits), not normalised, made at each call."""
        bits = self.quantizer.bits(self.every_index())
        return (bits * 2 - 1) * self.codebook_scale

    @property
    def dtype(self) -> torch.dtype:
        """Type of number of the codes."""
        return self.quantizer.kind

    def bits_to_codes(self, bits: torch.Tensor) -> torch.Tensor:
        """Return corners of the cube, not normalised, for bits 0 and 1."""
        return bits * self.codebook_scale * 2 - self.codebook_scale

    def indices_to_codes(self, indices: torch.Tensor, project_out: bool = True) -> torch.Tensor:
        """Return what `forward` returned for indices, in its layout.

        Args:
            indices: (b, ...), with an axis for the codebooks where they have one.
            project_out: whether codes pass the last map.
        """
        wide, shape = self.read_indices(indices)
        codes = self.corners(wide).reshape(-1, self.codebook_dim * self.num_codebooks)
        out = outward(self.project_out, codes) if project_out else codes
        return restored(out, shape, first=self.channel_first)

    def corners(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the vectors (N, bits) of indices (N,), rotated back, before the last map."""
        return self.turned_back(self.quantizer.decode_tokens(indices))

    def forward(
        self,
        x: torch.Tensor,
        inv_temperature: float = 100.0,
        return_loss_breakdown: bool = False,
        mask: torch.Tensor | None = None,
    ) -> Return | tuple[Return, LossBreakdown]:
        """Quantize.

        Args:
            x: (b, n, d) or (b, d, ...).
            inv_temperature: of the distributions of the entropies.
            return_loss_breakdown: whether the terms of the loss are returned as well.
            mask: bool (b, ...), True for the tokens that losses are about; others are quantized
                like them. (b,) is one for all tokens of a sample, and images take (b, places) too.
        """
        tokens, shape, grid = rows_of(x, self.dim, first=self.channel_first)
        kept = kept_rows(spread_mask(mask, shape), shape, x.device)
        require(inv_temperature=inv_temperature)
        latents = through(self.project_in, tokens)
        if self.soft_clamp_input_value is not None:
            limit = self.soft_clamp_input_value
            latents = (latents / limit).tanh() * limit
        rows = latents.reshape(-1, self.codebook_dim)
        rows = self.turned(rows.to(torch.promote_types(rows.dtype, torch.float32)))
        self._require_losses(rows.detach(), kept)
        indices = self.quantizer.encode_tokens(rows.detach())
        corners = self.quantizer.decode_tokens(indices)
        scaled = self.quantizer.latents(rows)
        breakdown = self._terms(scaled, corners, inv_temperature, kept)
        codes = exchange(self.activation(scaled) if self.training else scaled, corners)
        codes = self.turned_back(codes).to(latents.dtype)
        codes = codes.reshape(-1, self.codebook_dim * self.num_codebooks)
        loss = self._entropies(breakdown) * self.entropy_loss_weight
        result = Return(
            grid.restore(mapped_back(self.project_out, codes, x.dtype), shape),
            self.shaped(indices, shape, kind=torch.int64),
            loss + breakdown.commitment * self.commitment_loss_weight,
        )
        return (result, breakdown) if return_loss_breakdown else result

    def _require_losses(self, rows: torch.Tensor, kept: torch.Tensor | None) -> None:
        """Refuse latents of which a loss in train mode could overflow; see `certvq.nn.LFQ`."""
        if not self.training or recorded():  # `encode_tokens` looks for NaN either way
            return
        if kept is not None:
            rows = rows.unflatten(0, (-1, self.num_codebooks))[kept].flatten(0, 1)
        error = self.quantizer.token_error(rows)
        if error is not None:
            raise error

    def _terms(
        self,
        scaled: torch.Tensor,
        corners: torch.Tensor,
        inv_temperature: float,
        kept: torch.Tensor | None,
    ) -> LossBreakdown:
        zero = torch.zeros((), dtype=wide_type(scaled), device=scaled.device)
        if not self.training:
            return LossBreakdown(zero, zero, zero)
        shape = (-1, self.num_codebooks, self.codebook_dim)
        scaled, corners = scaled.reshape(shape), corners.reshape(shape)
        if kept is not None:
            scaled, corners = scaled[kept], corners[kept]
        commitment = zero
        if self.commitment_loss_weight > 0.0:
            squares = (scaled - corners.to(scaled.dtype)).square()
            commitment = squares.sum() / max(1, squares.numel())
        if self.frac_per_sample_entropy < 1.0:
            count = max(1, int(len(scaled) * self.frac_per_sample_entropy))
            scaled = scaled[(torch.randn(len(scaled)).argsort() < count).to(scaled.device)]
        logits = scaled * (4.0 * inv_temperature * self.quantizer.corner)
        groups = _GROUP_BITS if self.codebook_dim > MOST_BITS else None
        batch = [batch_entropy(part, group_bits=groups) for part in logits.unbind(1)]
        sample = sample_entropy(logits.reshape(-1, self.codebook_dim))
        return LossBreakdown(sample, torch.stack(batch).mean(), commitment)

    def _entropies(self, terms: LossBreakdown) -> torch.Tensor:
        total = terms.per_sample_entropy - self.diversity_gamma * terms.batch_entropy
        if self.training and self.experimental_softplus_entropy_loss:
            return functional.softplus(total + self.entropy_loss_offset)
        return total


def _require_bits(dim: int | None, codebook_size: int | None) -> int:
    if codebook_size is None:
        if dim is None:
            text = "dim or codebook_size must be given, got neither"
            raise OptionError(text)
        return dim
    if codebook_size < 2 or codebook_size & (codebook_size - 1):
        text = (
            f"codebook_size must be a power of 2, at least 2, got {codebook_size}; "
            f"{1 << max(1, codebook_size).bit_length()} is the next one"
        )
        raise OptionError(text)
    return codebook_size.bit_length() - 1


def _require_clamp(soft_clamp: float | None, scale: float) -> None:
    if soft_clamp is not None and soft_clamp < scale:
        text = f"soft_clamp_input_value must be at least codebook_scale={scale}, got {soft_clamp}"
        raise OptionError(text)
