"""The original's `VectorQuantize`.

In: latents (b, n, d), or in the original's other layouts. Out: what the original returns, with
certified codes. Must not search by itself.
"""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from certvq.compat.vector_quantize_pytorch._layer import Hit, Keeping, Layer, Search
from certvq.compat.vector_quantize_pytorch._layout import Grid, find_grid
from certvq.compat.vector_quantize_pytorch._losses import Losses
from certvq.compat.vector_quantize_pytorch._options import Options
from certvq.compat.vector_quantize_pytorch._state import BUFFERS, MOMENTS, has_layer, layer_state
from certvq.compat.vector_quantize_pytorch._view import CodebookView
from certvq.errors import OptionError, ShapeError
from certvq.nn import PADDING, Gradient, Gumbel, Reparam, RotationTrick, straight_through
from certvq.nn._core.batch import finite_error
from certvq.nn._core.codes import require_codes, require_range
from certvq.nn._core.distributed import raise_together

_NAMES = frozenset(field.name for field in fields(Options))


class VectorQuantize(Losses):
    """Replace latents by the nearest code vectors; see `certvq.nn.VectorQuantize`.

    Keywords, methods, layouts and returned tuples are those of vector-quantize-pytorch 1.32, whose
    state dicts it loads. What deliberately differs is listed in docs/migration.md. `sync_codebook`,
    `sync_kmeans` and `sync_affine_param` have no effect: processes of `torch.distributed` always
    share the codebook.

    Args:
        dim: size of the feature axis.
        codebook_size: number of codes.
        **options: keywords of the original, with its defaults.

    Raises:
        OptionError: keywords that contradict each other, or are out of range.

    Guarantee: that of `certvq.assign` for every code that is not drawn at random, between the
        latents behind the projection, as computed, and the code vectors in use.
    Ties: the lowest index.

    Example:
        >>> layer = VectorQuantize(256, 512, decay=0.8, commitment_weight=1.0)
        >>> quantized, indices, loss = layer(torch.randn(1, 1024, 256))
        >>> quantized.shape, indices.shape, loss.shape
        (torch.Size([1, 1024, 256]), torch.Size([1, 1024]), torch.Size([]))
    """

    def __init__(  # noqa: PLR0915 (the original's keywords)
        self,
        dim: int,
        codebook_size: int,
        codebook_dim: int | None = None,
        heads: int = 1,
        separate_codebook_per_head: bool = False,
        *,
        freeze_codebook: bool = False,
        sync_kmeans: bool = True,
        layernorm_after_project_in: bool = False,
        channel_last: bool = True,
        accept_image_fmap: bool = False,
        accept_3d_fmap: bool = False,
        commitment_weight: float = 1.0,
        commitment_use_cross_entropy_loss: bool = False,
        orthogonal_reg_weight: float = 0.0,
        orthogonal_reg_active_codes_only: bool = False,
        orthogonal_reg_max_codes: int | None = None,
        codebook_diversity_loss_weight: float = 0.0,
        codebook_diversity_temperature: float = 100.0,
        stochastic_sample_codes: bool = False,
        sample_codebook_temp: float = 1.0,
        directional_reparam_variance: float = 5e-3,
        sync_codebook: bool | None = None,
        sync_affine_param: bool = False,
        manual_ema_update: bool = False,
        manual_in_place_optimizer_update: bool = False,
        return_zeros_for_masked_padding: bool = True,
        route_gradients_to_input: bool = True,
        **options: Any,
    ) -> None:
        super().__init__()
        del sync_kmeans, sync_codebook, sync_affine_param
        unknown = sorted(options.keys() - _NAMES)
        if unknown:
            text = f"VectorQuantize has no keyword {unknown[0]!r}; it takes those of version 1.32"
            raise OptionError(text)
        if dim == 1:
            options.setdefault("rotation_trick", False)
        self.options = Options(**options)
        self.dim = dim
        self.codebook_size = codebook_size
        self.heads = heads
        self.separate_codebook_per_head = separate_codebook_per_head
        self.freeze_codebook = freeze_codebook
        self.channel_last = channel_last
        self.accept_image_fmap = accept_image_fmap
        self.accept_3d_fmap = accept_3d_fmap
        self.commitment_weight = commitment_weight
        self.commitment_use_cross_entropy_loss = commitment_use_cross_entropy_loss
        self.has_commitment_loss = commitment_weight > 0.0 and not self.options.directional_reparam
        self.orthogonal_reg_weight = orthogonal_reg_weight
        self.orthogonal_reg_active_codes_only = orthogonal_reg_active_codes_only
        self.orthogonal_reg_max_codes = orthogonal_reg_max_codes
        self.codebook_diversity_loss_weight = codebook_diversity_loss_weight
        self.codebook_diversity_temperature = codebook_diversity_temperature
        self.stochastic_sample_codes = stochastic_sample_codes
        self.sample_codebook_temp = sample_codebook_temp
        self.directional_reparam_variance = directional_reparam_variance
        self.return_zeros_for_masked_padding = return_zeros_for_masked_padding
        self.route_gradients_to_input = route_gradients_to_input
        self.learnable_codebook = self.options.learns

        width = codebook_dim or dim
        inside = width * heads
        self.has_projections = inside != dim
        self.project_in: nn.Module = nn.Identity()
        self.project_out: nn.Module = nn.Identity()
        if self.has_projections:
            self.project_in = nn.Linear(dim, inside)
            if layernorm_after_project_in:
                self.project_in = nn.Sequential(self.project_in, nn.LayerNorm(inside))
            self.project_out = nn.Linear(inside, dim)
        bridge = self.options.vq_bridge
        self.vq_bridge = bridge
        made = self.options.layer(width, codebook_size)
        count = heads if separate_codebook_per_head else 1
        self.layers = nn.ModuleList(
            Layer(width, codebook_size, decay=self.options.decay, bridge=bridge, **made)
            for _ in range(count)
        )
        for layer in self._each():
            layer.by_hand = manual_ema_update or manual_in_place_optimizer_update
            if orthogonal_reg_weight > 0.0 and not isinstance(layer.codebook, nn.Parameter):
                codebook = layer.codebook
                del layer.codebook
                layer.codebook = nn.Parameter(codebook)

    @property
    def ema_update(self) -> bool:
        """Whether the codebook is a moving average."""
        return self.options.averages

    @property
    def _codebook(self) -> CodebookView:
        return CodebookView(self._each())

    @property
    def codebook(self) -> torch.Tensor:
        """Return the code vectors as stored, (K, d), or (h, K, d) with separate codebooks."""
        embed = self._codebook.embed
        return embed if self.separate_codebook_per_head else embed[0]

    @codebook.setter
    def codebook(self, codes: torch.Tensor) -> None:
        whole = codes if self.separate_codebook_per_head else codes[None]
        with torch.no_grad():
            for layer, one in zip(self._each(), whole, strict=True):
                layer.codebook.copy_(one)

    def train(self, mode: bool = True) -> "VectorQuantize":
        """Switch the mode; what waits of the latest training batch is taken in before eval mode."""
        if not mode:
            for layer in self._each():
                layer.settle()
        return super().train(mode)

    def get_codes_from_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """Return code vectors, before `project_out`, in the layout of the latents.

        Raises:
            CodeRangeError: an index outside ``range(K)``, -1 among them.
        """
        rows, grid = self._rows(indices.long())
        require_range(rows, self.codebook_size)
        return self._grid(len(grid) + 1).restore(self._decode(rows), grid)

    def get_output_from_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """Return what `forward` returned for indices.

        Raises:
            CodeRangeError: an index outside ``range(K)``, -1 among them.
        """
        rows, grid = self._rows(indices.long())
        require_range(rows, self.codebook_size)
        return self._grid(len(grid) + 1).restore(self.project_out(self._decode(rows)), grid)

    def update_in_place_optimizer(self) -> None:
        """Let the inner optimiser take the step that `manual_in_place_optimizer_update` put off."""
        for layer in self._each():
            layer.step()

    def expire_codes_(self, x: torch.Tensor) -> None:
        """Replace dead codes by some of the given tokens (b, n, d), in train mode."""
        if self.training:
            rows = x.reshape(-1, x.shape[-1])
            for layer, part in zip(self._each(), self._parts(rows), strict=True):
                layer.expire(part)

    def update_indices(
        self, x: torch.Tensor, indices: torch.Tensor, mask: torch.Tensor | None = None
    ) -> None:
        """Learn at once from latents whose codes are given; -1 is left out."""
        grid = find_grid(self, x.ndim)
        rows = grid.tokens(x, self.dim)
        codes = indices.reshape(len(rows), -1)
        kept = (codes >= 0).all(dim=1)
        if mask is not None:
            kept &= mask.reshape(-1)
        rows, codes = self.project_in(rows[kept]).detach(), codes[kept]
        require_range(codes, self.codebook_size)
        layers = self._each()
        raise_together(finite_error(rows, "latents"), rows.device)
        for layer, part, own in zip(layers, self._parts(rows), self._own(codes), strict=True):
            layer.feed(part, own)

    update_ema_indices = update_indices

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
        ema_update_weight: torch.Tensor | Callable[..., torch.Tensor] | None = None,
        accum_ema_update: bool = False,
        ema_update: bool | None = None,
    ) -> Any:
        """Quantize as the original's `forward` does; see docs/migration.md for what differs.

        Raises:
            ShapeError: wrong latents or mask.
            OptionError: arguments that contradict each other.
            NonFiniteError: NaN or infinity; no state has changed then.
        """
        frozen = self.freeze_codebook if freeze_codebook is None else freeze_codebook
        count = self._count(topk)
        grid = find_grid(self, x.ndim)
        rows = grid.tokens(x, self.dim)
        shape = grid.of(x)
        kept = _kept(mask, lens, shape)
        raise_together(
            finite_error((rows if kept is None else rows[kept]).detach(), "latents"), x.device
        )
        wanted = None if indices is None else self._wanted(indices, len(rows), kept)
        inside = self.project_in(rows if kept is None else rows[kept])
        temperature = (
            self.sample_codebook_temp if sample_codebook_temp is None else sample_codebook_temp
        )
        search = Search(
            count, self._sample(temperature), self._transform(codebook_transform_fn, shape, kept)
        )
        hits = self._search(inside, search, frozen=frozen)
        averages = self.ema_update if ema_update is None else ema_update
        if self.training and not frozen and count is None:
            self._keep(hits, Keeping(averages, accum_ema_update, ema_update_weight))
        vectors = self._together([self._estimate(hit, x, temperature) for hit in hits])
        codes = self._codes(hits)
        if wanted is not None:
            quantized = self._restored(vectors, x, grid, shape, kept)
            return quantized, self._cross_entropy(hits, wanted)
        terms = self._losses(hits, codes, shape, kept, frozen=frozen)
        loss = self._total(terms, x)
        quantized = self._restored(vectors, x, grid, shape, kept)
        if count is not None and terms.commitment.ndim:
            loss = _among(loss, kept, len(rows), 0.0).reshape(*shape, count)
        extra = () if count is None else (count,)
        if self.heads > 1:
            extra = (self.heads,)
        found = _among(codes, kept, len(rows), PADDING).reshape(*shape, *extra)
        result = (quantized, found, loss)
        return (*result, terms) if return_loss_breakdown else result

    def _wanted(self, indices: torch.Tensor, count: int, kept: torch.Tensor | None) -> torch.Tensor:
        """Read the codes that a cross entropy is wanted of, (N, h), before anything is learned."""
        if indices.numel() != count * self.heads:
            text = (
                f"indices must hold {self.heads} for each of {count} latents, got shape "
                f"{tuple(indices.shape)}"
            )
            raise ShapeError(text)
        wide = require_codes(indices, indices.ndim)
        require_range(wide.masked_fill(wide == PADDING, 0), self.codebook_size)
        flat = wide.reshape(count, self.heads)
        return flat if kept is None else flat[kept]

    def _count(self, topk: int | None) -> int | None:
        if topk is None:
            return None
        losing = self.training and (
            self.commitment_use_cross_entropy_loss
            or self.options.in_place_codebook_optimizer is not None
        )
        if self.heads > 1 or topk < 1 or losing:
            text = (
                f"topk={topk} must be at least 1, and needs heads=1 (got {self.heads}) and in "
                "train mode neither cross entropy commitment nor an in-place optimizer"
            )
            raise OptionError(text)
        return min(int(topk), self.codebook_size)

    def _sample(self, temperature: float) -> Gumbel | None:
        if not (self.training and self.stochastic_sample_codes and temperature > 0.0):
            return None
        return Gumbel(temperature, cosine=self.options.use_cosine_sim)

    def _transform(
        self,
        given: Callable[[torch.Tensor], torch.Tensor] | None,
        shape: tuple[int, ...],
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

        del shape
        return own

    def _search(self, inside: torch.Tensor, search: Search, *, frozen: bool) -> list[Hit]:
        layers, parts = self._each(), self._parts(inside)
        if self.training:
            errors = [
                layer.token_error(part.detach()) for layer, part in zip(layers, parts, strict=True)
            ]
            first = next((error for error in errors if error is not None), None)
            raise_together(first, inside.device)
            for layer, part in zip(layers, parts, strict=True):
                layer.refresh(part.detach(), frozen=frozen)
        return [layer.find(part, search) for layer, part in zip(layers, parts, strict=True)]

    def _keep(self, hits: list[Hit], keeping: Keeping) -> None:
        if not keeping.writes and self.options.threshold_ema_dead_code <= 0:
            return
        for place, (layer, hit) in enumerate(zip(self._each(), hits, strict=True)):
            weight = keeping.weight
            if isinstance(weight, torch.Tensor) and weight.ndim == 2 and len(weight) > 1:
                weight = weight[place]
            layer.keep(hit, Keeping(keeping.writes, keeping.accumulate, weight))

    def _estimate(self, hit: Hit, x: torch.Tensor, temperature: float) -> torch.Tensor:
        """Return the vectors that go on, with the gradient that the original gives them."""
        learns = isinstance(self._each()[0].codebook, nn.Parameter)
        plain = hit.vectors if learns else hit.vectors.detach()
        if not self.training:
            return plain
        points, vectors = hit.points, hit.vectors
        if vectors.ndim == 3:
            points = points[:, None].expand_as(vectors)
        points, flat = points.reshape(-1, points.shape[-1]), vectors.reshape(-1, vectors.shape[-1])
        rows = torch.arange(len(flat), device=flat.device)
        options = self.options
        if not (x.requires_grad and self.route_gradients_to_input):
            if options.straight_through and temperature > 0.0 and hit.codes.ndim == 1:
                soft = Gumbel(temperature, soft=True, cosine=options.use_cosine_sim)
                return soft.estimate(hit.points, hit.book, hit.codes, None)
            return plain
        if options.rotates:
            result = RotationTrick().estimate(points, flat, rows, None)
        elif options.directional_reparam:
            result = Reparam(self.directional_reparam_variance).estimate(points, flat, rows, None)
        else:
            result = straight_through(points, flat, rows)
        if options.sync_update_v > 0.0:
            result = result + options.sync_update_v * (result - result.detach())
        return result.reshape(vectors.shape)

    def _restored(
        self,
        vectors: torch.Tensor,
        x: torch.Tensor,
        grid: Grid,
        shape: tuple[int, ...],
        kept: torch.Tensor | None,
    ) -> torch.Tensor:
        outside = self.project_out(vectors).to(x.dtype)
        if kept is not None:
            count = grid.tokens(x, self.dim).shape[0]
            if self.return_zeros_for_masked_padding:
                whole = outside.new_zeros(count, *outside.shape[1:])
            else:
                whole = grid.tokens(x, self.dim)
                if outside.ndim == 3:
                    whole = whole[:, None].expand(-1, *outside.shape[1:])
            outside = whole.index_copy(0, kept, outside)
        return grid.restore(outside, shape)

    def _parts(self, inside: torch.Tensor) -> list[torch.Tensor]:
        """Cut tokens (N, h d) into those of each codebook."""
        width = inside.shape[1] // self.heads
        if self.separate_codebook_per_head:
            return list(inside.unflatten(1, (self.heads, width)).unbind(dim=1))
        return [inside.reshape(len(inside) * self.heads, width)]

    def _codes(self, hits: list[Hit]) -> torch.Tensor:
        """Return codes (N,), (N, h), or (N, count)."""
        if self.separate_codebook_per_head:
            return torch.stack([hit.codes for hit in hits], dim=1)
        return hits[0].codes if self.heads == 1 else hits[0].codes.reshape(-1, self.heads)

    def _together(self, vectors: list[torch.Tensor]) -> torch.Tensor:
        """Undo `_parts`."""
        if self.separate_codebook_per_head:
            return torch.cat(vectors, dim=-1)
        one = vectors[0]
        return (
            one
            if self.heads == 1
            else one.reshape(len(one) // self.heads, self.heads * one.shape[1])
        )

    def _rows(self, indices: torch.Tensor) -> tuple[torch.Tensor, tuple[int, ...]]:
        """Return indices (N, h), and the shape without the axis of the heads."""
        grid = tuple(indices.shape if self.heads == 1 else indices.shape[:-1])
        if self.heads > 1 and indices.shape[-1] != self.heads:
            text = (
                f"indices must have a last axis of size heads={self.heads}, got shape "
                f"{tuple(indices.shape)}"
            )
            raise ShapeError(text)
        return indices.reshape(-1, self.heads), grid

    def _decode(self, rows: torch.Tensor) -> torch.Tensor:
        return self._together(
            [
                functional.embedding(own, layer.code_vectors())
                for layer, own in zip(self._each(), self._own(rows), strict=True)
            ]
        )

    def _grid(self, rank: int) -> Grid:
        """Return the layout for decoding: any number of axes."""
        first = not self.channel_last or self.accept_image_fmap or self.accept_3d_fmap
        return Grid(1 if first and rank > 2 else rank - 1)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        if has_layer(state_dict, prefix):
            self._translate(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _translate(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Put our names in the place of the original's."""
        for place, layer in enumerate(self._each()):
            found = layer_state(state_dict, prefix, head=place)
            if isinstance(layer.update, Gradient):
                found |= {name: found[name][:, :0] for name in found if name.endswith("sums")}
            for name, own in layer.state_dict().items():
                value = found.get(name, own)
                state_dict[f"{prefix}layers.{place}.{name}"] = value
        start = f"{prefix}_codebook."
        for name in [name for name in state_dict if name.startswith(start)]:
            own = name.removeprefix(start)
            if own.startswith("vq_bridge."):
                state_dict[prefix + own] = state_dict.pop(name)
            elif own.removesuffix("_needs_init") in {*BUFFERS, *MOMENTS}:
                del state_dict[name]


def _kept(
    mask: torch.Tensor | None, lens: torch.Tensor | None, shape: tuple[int, ...]
) -> torch.Tensor | None:
    """Return the rows that a mask, or lengths, keep."""
    if mask is not None and lens is not None:
        text = "mask and lens say the same thing; give one of them"
        raise OptionError(text)
    if lens is not None and len(shape) == 2:
        mask = torch.arange(shape[1], device=lens.device) < lens[:, None]
    if mask is None:
        return None
    if len(shape) != 2 or tuple(mask.shape) != shape:
        text = f"mask must have the shape (b, n) of the latents, {shape}, got {tuple(mask.shape)}"
        raise ShapeError(text)
    return torch.nonzero(mask.bool().reshape(-1)).squeeze(1)


def _among(
    rows: torch.Tensor, kept: torch.Tensor | None, count: int, padding: float
) -> torch.Tensor:
    if kept is None:
        return rows
    return rows.new_full((count, *rows.shape[1:]), padding).index_copy(0, kept, rows)
