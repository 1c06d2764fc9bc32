"""What the original's `VectorQuantize` does with a batch.

In: latents (b, n, d), or in the original's other layouts. Out: what the original returns, with
certified codes. Must not search by itself.
"""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._checks import require
from certvq.compat.vector_quantize_pytorch._features import require_latents
from certvq.compat.vector_quantize_pytorch._given_indices import as_returned
from certvq.compat.vector_quantize_pytorch._gradients import Gradients
from certvq.compat.vector_quantize_pytorch._layer import Hit, Keeping, Search, Weight
from certvq.compat.vector_quantize_pytorch._layout import Grid, find_grid
from certvq.compat.vector_quantize_pytorch._losses import LossBreakdown, Losses
from certvq.compat.vector_quantize_pytorch._maps import mapped_back, through
from certvq.compat.vector_quantize_pytorch._padding import among, counted
from certvq.errors import NonFiniteError, OptionError, ShapeError
from certvq.nn import PADDING, Gumbel
from certvq.nn._core.codes import require_range
from certvq.nn._core.latents import finite_error, require_finite_latents
from certvq.nn._core.uncompiled import refuse_graphs, refuse_transforms
from certvq.nn._torch.distributed import raise_together
from certvq.nn._torch.modes import exporting, holds_numbers, is_differentiated, transforming
from certvq.nn._torch.transaction import all_or_nothing


class Forward(Losses):
    """The forward pass of `VectorQuantize`; its attributes are keywords of the original."""

    dim: int
    channel_last: bool
    accept_image_fmap: bool
    accept_3d_fmap: bool
    freeze_codebook: bool
    stochastic_sample_codes: bool
    sample_codebook_temp: float
    directional_reparam_variance: float
    return_zeros_for_masked_padding: bool
    route_gradients_to_input: bool
    project_in: nn.Module
    project_out: nn.Module

    def forward(
        self,
        x: torch.Tensor,
        indices: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
        lens: torch.Tensor | None = None,
        topk: int | None = None,
        sample_codebook_temp: float | None = None,
        freeze_codebook: bool | None = None,
        return_loss_breakdown: bool = False,
        codebook_transform_fn: Callable[[torch.Tensor], torch.Tensor] | None = None,
        ema_update_weight: Weight | None = None,
        accum_ema_update: bool = False,
        ema_update: bool | None = None,
    ) -> Any:
        """Quantize as the original's `forward` does; see docs/migration.md for what differs.

        Raises:
            ShapeError: wrong latents or mask.
            OptionError: arguments that contradict each other, or are out of range.
            NonFiniteError: NaN or infinity; no state has changed then.
            TransformError: under `torch.func`, where this forward would change the layer, or with a
                mask of its own for each sample of `vmap`.
        """
        require(
            topk=topk,
            sample_codebook_temp=sample_codebook_temp,
            freeze_codebook=freeze_codebook,
            codebook_transform_fn=codebook_transform_fn,
            accum_ema_update=accum_ema_update,
            ema_update=ema_update,
        )
        frozen = self.freeze_codebook if freeze_codebook is None else freeze_codebook
        count = self._count(topk)
        require_latents(x)
        grid = find_grid(self, x.ndim)
        rows = grid.tokens(x, self.dim)
        shape = grid.of(x)
        kept = counted(mask, lens, shape, x.device)
        latents, error = self._looked_at(rows if kept is None else rows[kept], frozen=frozen)
        wanted = None if indices is None else self._wanted(indices, shape)
        if wanted is not None and kept is not None:
            wanted = wanted[kept]
        if ema_update_weight is not None and not callable(ema_update_weight):
            self._require_weight(ema_update_weight)
        inside = through(self.project_in, latents)
        temperature = (
            self.sample_codebook_temp if sample_codebook_temp is None else sample_codebook_temp
        )
        search = Search(
            count, self._sample(temperature), self._transform(codebook_transform_fn, kept)
        )
        averages = self.options.averages if ema_update is None else ema_update
        keeping = Keeping(averages, accum_ema_update, ema_update_weight)
        if self.training and transforming():
            self._require_rest(keeping, frozen=frozen)
        gradients = self._gradients(x, temperature)
        if self.training:
            self._refuse(error, inside, frozen=frozen)

        def step() -> Any:
            hits = self._search(inside, search, frozen=frozen)
            vectors = self._heads.together([gradients.of(h, training=self.training) for h in hits])
            quantized = self._restored(vectors, x, grid, shape, kept)
            codes = self._heads.codes([hit.codes for hit in hits])
            if wanted is None:
                terms = self._losses(hits, codes, shape, kept, frozen=frozen)
            else:
                terms = self._cross_entropy(hits, wanted)
            if self.training and not frozen and count is None:
                self._keep(hits, keeping)
            if not isinstance(terms, LossBreakdown):
                return quantized, terms
            loss = self._total(terms)
            if count is not None and terms.commitment.ndim:
                loss = among(loss, kept, rows.shape[0], 0.0).reshape(*shape, count)
            extra = () if count is None else (count,)
            if self.heads > 1:
                extra = (self.heads,)
            found = among(codes, kept, rows.shape[0], PADDING).reshape(*shape, *extra)
            result = (quantized, found, loss)
            return (*result, terms) if return_loss_breakdown else result

        return all_or_nothing(self, inside, step)

    def _looked_at(
        self, latents: torch.Tensor, *, frozen: bool
    ) -> tuple[torch.Tensor, NonFiniteError | None]:
        """Return latents, and an error that other processes have to hear of before it is raised."""
        if self.training and exporting():
            refuse_graphs(self)
        if exporting() or not (self.training or holds_numbers(latents)):
            return require_finite_latents(latents), None
        error = finite_error(latents.detach(), "latents")
        if error is not None and (frozen or not self.training):
            raise error
        return latents, error

    def _wanted(self, indices: torch.Tensor, grid: tuple[int, ...]) -> torch.Tensor:
        """Read the codes that a batch is given, (N, h), before anything is learned."""
        rows = as_returned(indices, grid, (self.heads,) if self.heads > 1 else ())
        wide = indices.long()
        require_range(wide.masked_fill(wide == PADDING, 0), self.codebook_size)
        return rows.reshape(-1, self.heads)

    def _count(self, topk: int | None) -> int | None:
        if topk is None:
            return None
        losing = self.training and (
            self.commitment_use_cross_entropy_loss
            or self.options.in_place_codebook_optimizer is not None
        )
        if self.heads > 1 or losing:
            text = (
                f"topk={topk} needs heads=1 (got {self.heads}) and in train mode neither cross "
                "entropy commitment nor an in-place optimizer"
            )
            raise OptionError(text)
        if topk > self.codebook_size:
            text = f"topk must be at most codebook_size={self.codebook_size}, got {topk}"
            raise OptionError(text)
        return int(topk)

    def _require_weight(self, weight: object) -> torch.Tensor:
        """Read how much each code moves, (h, K), or (1, K) for one codebook."""
        size = self.codebook_size
        if isinstance(weight, Real) and math.isfinite(weight):
            device = self._each()[0].codebook.device
            return torch.full((1, size), float(weight), device=device)
        shapes = [(size,), (1, size)]
        if self._heads.separate:
            shapes.append((self.heads, size))
        got = tuple(weight.shape) if isinstance(weight, torch.Tensor) else type(weight).__name__
        if not isinstance(weight, torch.Tensor) or got not in shapes:
            text = (
                f"ema_update_weight must be a number, of a shape in {shapes}, or callable and "
                f"return one of these, got {got}"
            )
            raise ShapeError(text)
        shares = weight.detach().reshape(-1, size)
        error = finite_error(shares, "ema_update_weight")
        if error is not None:
            raise error
        return shares

    def _gradients(self, x: torch.Tensor, temperature: float) -> Gradients:
        return Gradients(
            self.options,
            variance=self.directional_reparam_variance,
            routed=is_differentiated(x) and self.route_gradients_to_input,
            learns="codebook" in dict(self._each()[0].named_parameters(recurse=False)),
            temperature=temperature,
        )

    def _sample(self, temperature: float) -> Gumbel | None:
        if not (self.training and self.stochastic_sample_codes and temperature > 0.0):
            return None
        return Gumbel(temperature, cosine=self.options.use_cosine_sim)

    def _transform(
        self,
        given: Callable[[torch.Tensor], torch.Tensor] | None,
        kept: torch.Tensor | None,
    ) -> Callable[[torch.Tensor], torch.Tensor] | None:
        if given is None:
            return None
        if self.heads > 1:
            text = f"codebook_transform_fn needs heads=1, got {self.heads}; see docs/migration.md"
            raise OptionError(text)

        def own(book: torch.Tensor) -> torch.Tensor:
            books = given(book[None])
            flat = books.reshape(-1, *books.shape[-2:])
            return flat if kept is None else flat[kept]

        return own

    def _require_rest(self, keeping: Keeping, *, frozen: bool) -> None:
        """Require that this forward changes nothing, as `torch.func` needs it."""
        if not frozen and any(layer.moves(keeping) for layer in self._each()):
            refuse_transforms(self)
        for layer in self._each():
            layer.require_settled()

    def _refuse(self, error: NonFiniteError | None, inside: torch.Tensor, *, frozen: bool) -> None:
        """Raise an error, or what the layers find wrong, here or where others learn from it."""
        for layer, part in zip(self._each(), self._heads.parts(inside), strict=True):
            error = error or layer.token_error(part.detach())
        raise_together(self.project_in if frozen else self, error, inside.device)

    def _search(self, inside: torch.Tensor, search: Search, *, frozen: bool) -> list[Hit]:
        pairs = list(zip(self._each(), self._heads.parts(inside), strict=True))
        if self.training:
            for layer, part in pairs:
                layer.refresh(part.detach(), frozen=frozen)
        return [layer.find(part, search) for layer, part in pairs]

    def _keep(self, hits: list[Hit], keeping: Keeping) -> None:
        if not keeping.writes and self.options.threshold_ema_dead_code <= 0:
            return
        layers, weight = self._each(), keeping.weight
        before = [layer.pending() for layer in layers] if callable(weight) else []
        for layer, hit in zip(layers, hits, strict=True):
            layer.keep(hit, keeping)
        if callable(weight):
            after = [layer.pending() for layer in layers]
            fresh = [
                torch.stack([new[kind] - old[kind] for new, old in zip(after, before, strict=True)])
                for kind in (0, 1)
            ]
            weight = weight(*fresh)
        if weight is not None and not keeping.accumulate:
            shares = self._require_weight(weight)
            for layer, share in zip(layers, shares.expand(len(layers), -1), strict=True):
                layer.weigh(share)

    def _restored(
        self,
        vectors: torch.Tensor,
        x: torch.Tensor,
        grid: Grid,
        shape: tuple[int, ...],
        kept: torch.Tensor | None,
    ) -> torch.Tensor:
        outside = mapped_back(self.project_out, vectors, x.dtype)
        if kept is not None:
            whole = grid.tokens(x, self.dim)
            kind = torch.promote_types(whole.dtype, outside.dtype)
            whole = whole.to(kind)
            if outside.ndim == 3:
                whole = whole[:, None].expand(-1, *outside.shape[1:])
            if self.return_zeros_for_masked_padding:
                whole = torch.zeros_like(whole)
            outside = whole.index_copy(0, kept, outside.to(kind))
        return grid.restore(outside, shape)
