"""The original's `LatentQuantize`.

In: latents (b, d, ...). Out: learned values, their indices and the loss. Must not search by itself.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.optim import Optimizer

from certvq.compat.vector_quantize_pytorch._checks import SIZES, WEIGHT, checked, integer, optional
from certvq.compat.vector_quantize_pytorch._module import Codebooks
from certvq.compat.vector_quantize_pytorch._names import names_of
from certvq.compat.vector_quantize_pytorch._tensors import (
    all_indices,
    keep_codebooks,
    mapped_back,
    narrow,
    outward,
    projections,
    restored,
    rows_of,
    through,
    wide_type,
)
from certvq.errors import OptionError, TransformError
from certvq.nn import LatentQuantize as _Mapped
from certvq.nn import exchange
from certvq.nn._torch.modes import beyond_backward, own_graph, recomputing, transforming

__getattr__ = names_of(__name__)


class _LevelsError(OptionError, RuntimeError):
    """An `OptionError` for code that catches what the original raises."""


class LatentQuantize(Codebooks):
    """Replace each feature by the nearest of its values; see `certvq.nn.LatentQuantize`.

    Keywords are the original's. `in_place_codebook_optimizer` makes an optimiser of the values,
    which steps within `forward` before the values are looked up; the loss then teaches the encoder
    alone.

    Guarantee: that of `certvq.nn.LatentQuantize` for the latents after the map, as computed.
    Indices are exact, int32 up to 2^31 codes and int64 up to 2^63, and decode to the values that
    they were found with.
    """

    fixed = frozenset(["has_projections"])

    frozen: bool = False

    @checked(
        levels=SIZES,
        codebook_dim=integer(),
        commitment_loss_weight=optional(WEIGHT),
        quantization_loss_weight=optional(WEIGHT),
    )
    def __init__(
        self,
        levels: Sequence[int] | int,
        dim: int,
        commitment_loss_weight: float | None = 0.1,
        quantization_loss_weight: float | None = 0.1,
        num_codebooks: int = 1,
        codebook_dim: int = -1,
        keep_num_codebooks_dim: bool | None = None,
        optimize_values: bool | None = True,
        in_place_codebook_optimizer: Callable[..., Optimizer] | None = None,
    ) -> None:
        super().__init__()
        counts = _require_levels(levels, codebook_dim)
        if in_place_codebook_optimizer is not None and not optimize_values:
            text = "in_place_codebook_optimizer needs optimize_values=True, got False"
            raise OptionError(text)
        self.keep_num_codebooks_dim = keep_codebooks(keep_num_codebooks_dim or None, num_codebooks)
        self.quantizer = _Mapped(counts, learn_values=bool(optimize_values))
        self.dim = dim
        self.codebook_dim = len(counts)
        self.num_codebooks = num_codebooks
        self.effective_codebook_dim = self.codebook_dim * num_codebooks
        self.codebook_size = self.quantizer.codebook_size
        self.project_in, self.project_out = projections(dim, self.effective_codebook_dim)
        self.has_projections = dim != self.effective_codebook_dim
        self.commitment_loss_weight = commitment_loss_weight or 0.0
        self.quantization_loss_weight = quantization_loss_weight or 0.0
        self.optimize_values = bool(optimize_values)
        self.in_place_codebook_optimizer = (
            None
            if in_place_codebook_optimizer is None
            else in_place_codebook_optimizer([self.quantizer.values])
        )

    @property
    def at_rest(self) -> bool:
        """Whether train mode changes nothing; see `freeze`."""
        return self.frozen

    @property
    def values_per_latent(self) -> tuple[torch.Tensor, ...]:
        """The values of each feature."""
        return self.quantizer.values.split(self.quantizer.levels)

    @property
    def implicit_codebook(self) -> torch.Tensor:
        """All points of the grid of the values as they are now, (codebook_size, codebook_dim)."""
        indices = all_indices(self.codebook_size, self.quantizer.values.device)
        return self.quantizer.decode(indices[None])[0].detach()

    def quantization_loss(
        self, z: torch.Tensor, zhat: torch.Tensor, reduce: str = "mean"
    ) -> torch.Tensor:
        """Return the mean squared error, with a gradient for z alone."""
        return _error(zhat.detach(), z, reduce)

    def commitment_loss(
        self, z: torch.Tensor, zhat: torch.Tensor, reduce: str = "mean"
    ) -> torch.Tensor:
        """Return the mean squared error, with a gradient for zhat alone."""
        return _error(z.detach(), zhat, reduce)

    def quantize(self, z: torch.Tensor) -> torch.Tensor:
        """Return the nearest values, straight through.

        Args:
            z: (..., codebook_dim).
        """
        rows = z.reshape(-1, self.codebook_dim)
        values = self.quantizer.decode_tokens(self.quantizer.encode_tokens(rows.detach()))
        return exchange(rows, values.detach().to(z.dtype)).reshape(z.shape)

    def codes_to_indices(self, zhat: torch.Tensor) -> torch.Tensor:
        """Return the indices of the nearest points of the grid.

        Args:
            zhat: (..., codebook_dim).
        """
        indices = self.quantizer.encode_tokens(self.read_points(zhat).detach())
        return narrow(indices, self.codebook_size).reshape(zhat.shape[:-1])

    def indices_to_codes(self, indices: torch.Tensor, project_out: bool = True) -> torch.Tensor:
        """Return what `forward` returned for indices, (b, d, ...).

        Args:
            indices: (b, ...), with an axis for the codebooks where they have one.
            project_out: whether codes pass the last map.
        """
        wide, shape = self.read_indices(indices)
        codes = self.quantizer.decode_tokens(wide).reshape(-1, self.effective_codebook_dim)
        out = outward(self.project_out, codes) if project_out else codes
        return restored(out, shape, first=True)

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return vectors as z (b, d, ...), indices (b, ...) and the weighted loss."""
        tokens, shape, grid = rows_of(z, self.dim, first=True)
        rows = through(self.project_in, tokens).reshape(-1, self.codebook_dim)
        learns = self.training and len(rows) > 0  # the mean over no latents is NaN
        inner = self.in_place_codebook_optimizer
        if learns and inner is not None and not (self.frozen or recomputing()):
            self._learn(rows.detach(), inner)
        indices = self.quantizer.encode_tokens(rows.detach())
        values = self.quantizer.decode_tokens(indices)
        if self.in_place_codebook_optimizer is not None:
            values = values.detach()
        codes = exchange(rows, values.detach())
        width = (-1, self.effective_codebook_dim)
        kind = torch.promote_types(z.dtype, values.dtype)
        out = mapped_back(self.project_out, codes.reshape(width), kind)
        loss = torch.zeros((), dtype=wide_type(z), device=z.device)
        if learns:
            learning = mapped_back(self.project_out, values.reshape(width), kind)
            if self.commitment_loss_weight:
                taught = self.commitment_loss(tokens, learning)
                loss = loss + self.commitment_loss_weight * taught
            if self.quantization_loss_weight:
                taught = self.quantization_loss(tokens, out)
                loss = loss + self.quantization_loss_weight * taught
        return grid.restore(out, shape), self.shaped(indices, shape), loss

    @torch.enable_grad()
    def _learn(self, rows: torch.Tensor, optimizer: Optimizer) -> None:
        if transforming():
            text = (
                "a layer must change nothing under torch.func, got LatentQuantize in train mode "
                "with in_place_codebook_optimizer, which steps at each batch; call .eval() on it "
                "for codes and derivatives, and train it outside of torch.func"
            )
            raise TransformError(text)
        with own_graph():
            values = self.quantizer.decode_tokens(self.quantizer.encode_tokens(rows))
            loss = _error(values, rows, "mean")
        (gradient,) = torch.autograd.grad(loss, self.quantizer.values)
        _follow(optimizer, self.quantizer.values)
        self.quantizer.values.grad = gradient
        optimizer.step()
        optimizer.zero_grad()

    def translate(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Read the original's values, one entry for each feature, where there are any."""
        names = [f"{prefix}values_per_latent.{d}" for d in range(self.codebook_dim)]
        own = f"{prefix}quantizer.values"
        if all(name in state_dict for name in names):
            state_dict[own] = torch.cat([state_dict.pop(name) for name in names])
        elif own not in state_dict and not self.optimize_values:
            state_dict[own] = self.quantizer.values


def _follow(optimizer: Optimizer, values: torch.Tensor) -> None:
    """Let an optimiser go on with a parameter that a loader has put in place of its own."""
    group = optimizer.param_groups[0]
    before = group["params"][0]
    if before is not values:
        group["params"] = [values]
        optimizer.state[values] = optimizer.state.pop(before, {})


def _error(left: torch.Tensor, right: torch.Tensor, reduce: str) -> torch.Tensor:
    wide = wide_type(left, right)
    if reduce == "mean" and beyond_backward():  # torch's has no derivative of second order there
        return (left.to(wide) - right.to(wide)).square().mean()
    return functional.mse_loss(left.to(wide), right.to(wide), reduction=reduce)


def _require_levels(levels: Sequence[int] | int, codebook_dim: int) -> tuple[int, ...]:
    if isinstance(levels, int):
        if codebook_dim < 1:
            text = f"codebook_dim must be at least 1 where levels is one number, got {codebook_dim}"
            raise _LevelsError(text)
        return (levels,) * codebook_dim
    if codebook_dim not in (-1, len(levels)):
        text = f"codebook_dim must be the number of levels, {len(levels)}, got {codebook_dim}"
        raise OptionError(text)
    return tuple(levels)
