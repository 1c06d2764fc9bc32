"""The original's `VectorQuantize`.

In: its keywords; latents (b, n, d), or in its other layouts. Out: what it returns, with certified
codes. Must not search by itself.
"""

import math
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from numbers import Real
from typing import Any, ClassVar, Final

import torch
from torch import nn
from torch.nn import functional
from torch.optim import Optimizer

from certvq.compat.vector_quantize_pytorch._checks import checked, require
from certvq.compat.vector_quantize_pytorch._codebook import (
    CodebookView,
    code_vectors_given,
    take_layer_state,
)
from certvq.compat.vector_quantize_pytorch._layer import (
    Call,
    Layer,
    Weight,
    asked,
    with_gradient,
)
from certvq.compat.vector_quantize_pytorch._module import Translated, rename
from certvq.compat.vector_quantize_pytorch._names import names_of
from certvq.compat.vector_quantize_pytorch._options import Options
from certvq.compat.vector_quantize_pytorch._tensors import (
    Grid,
    Heads,
    among_latents,
    as_returned,
    counted,
    grid_of_latents,
    mapped_back,
    outward,
    require_one_layout,
    restored,
    through,
)
from certvq.errors import NonFiniteError, OptionError, ShapeError
from certvq.nn import PADDING
from certvq.nn._core.codes import require_integers, require_range
from certvq.nn._core.latents import among_padding, finite_error, kept_rows, require_finite_latents
from certvq.nn._core.uncompiled import refuse_graphs, refuse_transforms
from certvq.nn._torch.distributed import OF_ANOTHER, raise_together
from certvq.nn._torch.modes import exporting, holds_numbers, is_differentiated, transforming

__getattr__ = names_of(__name__)

LossBreakdown = namedtuple(  # noqa: PYI024 (the original's tuple, name by name)
    "LossBreakdown", ["commitment", "codebook_diversity", "orthogonal_reg", "inplace_optimize"]
)

_ACTING: Final = frozenset(
    {
        "freeze_codebook",
        "commitment_weight",
        "commitment_use_cross_entropy_loss",
        "orthogonal_reg_weight",
        "orthogonal_reg_active_codes_only",
        "orthogonal_reg_max_codes",
        "codebook_diversity_loss_weight",
        "codebook_diversity_temperature",
        "stochastic_sample_codes",
        "sample_codebook_temp",
        "directional_reparam_variance",
        "route_gradients_to_input",
    }
)
"""Keywords that are attributes which can be set, and then act."""

_RESOLVED: Final = {
    "ema_update": "averages",
    "learnable_codebook": "learns",
    "rotation_trick": "rotates",
}
"""Keywords of which None means what others say."""

_LAYOUT: Final = {"channel_last", "accept_3d_fmap", "separate_codebook_per_head"}

_OUTSIDE: Final = {
    "self",
    "dim",
    "codebook_size",
    "codebook_dim",
    "heads",
    "accept_image_fmap",
    "return_zeros_for_masked_padding",
}
"""Arguments that are no `Options`, as a codebook knows nothing of them."""


class VectorQuantize(Translated):
    """Replace latents by the nearest code vectors; see `certvq.nn.VectorQuantize`.

    Keywords, methods, layouts and returned tuples are those of vector-quantize-pytorch 1.32, whose
    state dicts it loads. What deliberately differs is listed in docs/migration.md. Processes of
    `torch.distributed` share the codebook in train mode unless `sync_codebook` is False;
    `sync_kmeans` and `sync_affine_param` have no effect. Keywords that are not explained here mean
    what they mean in the original.

    Args:
        dim: size of the feature axis.
        codebook_size: number of codes.

    Guarantee: that of `certvq.assign` for every code that is not drawn at random, between the
        latents behind the projection, as computed, and the code vectors in use.
    Ties: the lowest index.

    Example:
        >>> layer = VectorQuantize(256, 512, decay=0.8, commitment_weight=1.0)
        >>> quantized, indices, loss = layer(torch.randn(1, 1024, 256))
        >>> quantized.shape, indices.shape, loss.shape
        (torch.Size([1, 1024, 256]), torch.Size([1, 1024]), torch.Size([]))
    """

    learns = True
    options: Options

    @checked()
    def __init__(
        self,
        dim: int,
        codebook_size: int,
        codebook_dim: int | None = None,
        heads: int = 1,
        separate_codebook_per_head: bool = False,
        decay: float = 0.8,
        eps: float = 1e-5,
        freeze_codebook: bool = False,
        kmeans_init: bool = False,
        kmeans_iters: int = 10,
        sync_kmeans: bool = True,
        use_cosine_sim: bool = False,
        layernorm_after_project_in: bool = False,
        threshold_ema_dead_code: float = 0,
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
        straight_through: bool = False,
        rotation_trick: bool | None = None,
        directional_reparam: bool = False,
        directional_reparam_variance: float = 5e-3,
        sync_codebook: bool | None = None,
        sync_affine_param: bool = False,
        ema_update: bool | None = None,
        vq_bridge: nn.Module | None = None,
        manual_ema_update: bool = False,
        learnable_codebook: bool | None = None,
        in_place_codebook_optimizer: Callable[..., Any] | None = None,
        manual_in_place_optimizer_update: bool = False,
        affine_param: bool = False,
        affine_param_batch_decay: float = 0.99,
        affine_param_codebook_decay: float = 0.9,
        sync_update_v: float = 0.0,
        return_zeros_for_masked_padding: bool = True,
        route_gradients_to_input: bool = True,
    ) -> None:
        given = locals()
        super().__init__()
        require_one_layout(accept_image_fmap=accept_image_fmap, accept_3d_fmap=accept_3d_fmap)
        self.dim = dim
        self.codebook_size = codebook_size
        self.heads = heads
        self.code_axes = ("head",) if heads > 1 else ()
        self.separate_codebook_per_head = separate_codebook_per_head
        self._heads = Heads(heads, separate_codebook_per_head)
        self.channel_last = channel_last
        self.accept_image_fmap = accept_image_fmap
        self.accept_3d_fmap = accept_3d_fmap
        self.return_zeros_for_masked_padding = return_zeros_for_masked_padding
        width = dim if codebook_dim is None else codebook_dim
        inside = width * heads
        self.has_projections = inside != dim
        self.project_in: nn.Module = nn.Identity()
        self.project_out: nn.Module = nn.Identity()
        if self.has_projections:
            self.project_in = nn.Linear(dim, inside)
            if layernorm_after_project_in:
                self.project_in = nn.Sequential(self.project_in, nn.LayerNorm(inside))
            self.project_out = nn.Linear(inside, dim)
        self.add_module("vq_bridge", vq_bridge)
        own = {name: given[name] for name in self.keywords}
        self.options = Options.read(own, self.keywords, dim=dim)
        self.layers = nn.ModuleList(
            Layer(width, codebook_size, self.options)
            for _ in range(heads if separate_codebook_per_head else 1)
        )

    keywords: ClassVar[dict[str, Any]] = {
        name: each.default
        for name, each in signature(__init__).parameters.items()
        if name not in _OUTSIDE
    }
    """`Options` and their defaults."""

    fixed = frozenset(
        (keywords.keys() - _ACTING - _LAYOUT - {"in_place_codebook_optimizer"})
        | {"has_projections"}
    )

    def __getattr__(self, name: str) -> Any:
        options = vars(self).get("options")
        if options is not None and name in self.keywords and name not in self._modules:
            return getattr(options, _RESOLVED.get(name, name))
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _ACTING:
            super().__setattr__(name, value)
            return
        self.options = Options({**self.options.given, name: value})
        for layer in self._books():
            layer.options = self.options
            layer.estimator = self.options.estimator()
            layer.commitment_weight = self.options.commitment_weight

    @property
    def has_commitment_loss(self) -> bool:
        """Whether the loss has a commitment term."""
        return self._books()[0].commits

    @has_commitment_loss.setter
    def has_commitment_loss(self, commits: bool) -> None:
        for layer in self._books():
            layer.commits = commits

    @property
    def has_codebook_diversity_loss(self) -> bool:
        """Whether the loss has a term for the diversity of codes."""
        return self.options.codebook_diversity_loss_weight > 0.0

    @property
    def has_codebook_orthogonal_loss(self) -> bool:
        """Whether the loss has a term for the orthogonality of code vectors."""
        return self.options.orthogonal_reg_weight > 0.0

    @property
    def in_place_codebook_optimizer(self) -> Optimizer | tuple[Optimizer, ...] | None:
        """The inner optimiser, or None; with separate codebooks one for each."""
        every = [layer.inner_optimizer for layer in self._books()]
        inner = [each.optimizer for each in every if each is not None]
        return None if not inner else inner[0] if len(inner) == 1 else tuple(inner)

    @property
    def _codebook(self) -> CodebookView:
        return CodebookView(self._books())

    @property
    def codebook(self) -> torch.Tensor:
        """The code vectors as stored, (K, d), or (h, K, d) with separate codebooks.

        They are those that the latest training batch has moved, as in the original; `forward` and
        decoding used the ones before until somebody reads this. What is set stays: averages go on
        from it. With several processes it has to be set on each.
        """
        embed = self._codebook.embed
        return embed if self.separate_codebook_per_head else embed[0]

    @codebook.setter
    def codebook(self, codes: torch.Tensor) -> None:
        layers = self._books()
        one = layers[0].codebook
        like = one.expand(len(layers), -1, -1) if self.separate_codebook_per_head else one
        given = code_vectors_given(codes, like, "codebook")
        for layer, own in zip(layers, given.reshape(-1, *one.shape), strict=True):
            layer.give(own)

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
        """Quantize as the original's `forward` does; see docs/migration.md for what differs."""
        require(
            topk=topk,
            sample_codebook_temp=sample_codebook_temp,
            freeze_codebook=freeze_codebook,
            codebook_transform_fn=codebook_transform_fn,
            accum_ema_update=accum_ema_update,
            ema_update=ema_update,
        )
        frozen = self.options.freeze_codebook if freeze_codebook is None else freeze_codebook
        count = self._count(topk)
        grid = self._layout(x)
        rows, shape = grid.tokens(x, self.dim), grid.of(x)
        kept = counted(mask, lens, shape, x.device)
        latents, error = self._looked_at(rows if kept is None else rows[kept], frozen=frozen)
        wanted = None if indices is None else self._wanted(indices, shape)
        if ema_update_weight is not None and not callable(ema_update_weight):
            self._require_weight(ema_update_weight)
        inside = through(self.project_in, latents)
        call = Call(
            frozen=frozen,
            averages=ema_update,
            accumulate=accum_ema_update,
            temperature=sample_codebook_temp,
            count=count,
            transform=self._transform(codebook_transform_fn, kept),
            grid=(shape[0], math.prod(shape[1:])) if kept is None else None,
            routed=is_differentiated(x),
        )
        layers, calls = self._books(), [call] * len(self.layers)
        if wanted is not None:
            each = self._heads.own(wanted if kept is None else wanted[kept])
            calls = [replace(call, wanted=own) for own in each]
        pairs = list(zip(layers, self._heads.parts(inside), strict=True))

        def step() -> Any:
            if self.training:
                self._learn_from(pairs, error)
            before = [layer.pending() for layer in layers] if callable(ema_update_weight) else []
            founds = [layer.find(part) for layer, part in pairs]
            if self.training and ema_update_weight is not None:
                self._weigh(before, ema_update_weight)
            vectors = self._heads.together([found.vectors for found in founds])
            outside = mapped_back(self.project_out, vectors, x.dtype)
            padding = torch.zeros_like(rows) if self.return_zeros_for_masked_padding else rows
            quantized = grid.restore(among_latents(outside, kept, padding), shape)
            if wanted is not None:
                given = torch.stack([found.figures["given"] for found in founds]).sum().clamp(min=1)
                return quantized, torch.stack([found.loss for found in founds]).sum() / given
            figures = [found.figures for found in founds]
            terms = figures[0]
            if len(figures) > 1:
                terms = {name: torch.stack([f[name] for f in figures]).mean() for name in terms}
            loss = layers[0].total(terms)
            if self.training:
                loss = with_gradient(loss)
            extra = () if count is None else (count,)
            if count is not None and terms["commitment"].ndim:
                loss = among_padding(loss, kept, rows.shape[0], 0).reshape(*shape, count)
                each = among_padding(terms["commitment"], kept, rows.shape[0], 0)
                terms = {**terms, "commitment": each.reshape(shape[0], -1, count)}
            codes = self._heads.codes([found.codes for found in founds])
            codes = among_padding(codes, kept, rows.shape[0], PADDING).reshape(
                *shape, *((self.heads,) if self.heads > 1 else extra)
            )
            if not return_loss_breakdown:
                return quantized, codes, loss
            steps = [layer.step_loss for layer in layers if layer.step_loss is not None]
            inner = terms["orthogonal_reg"] * 0.0
            if self.training and not frozen and steps:
                inner = torch.stack(steps).mean()
            return quantized, codes, loss, LossBreakdown(*[*terms.values(), inner])

        return self._whole(inside, lambda: asked(layers, calls, step))

    def get_codes_from_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """Return code vectors, before `project_out`, in the layout of the latents."""
        return self._decoded(indices, nn.Identity())

    def get_output_from_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """Return what `forward` returned for indices."""
        return self._decoded(indices, self.project_out)

    def maybe_split_heads_from_input(self, x: torch.Tensor) -> torch.Tensor:
        """Return (h, b, n, d) of (b, n, h d), (1, b h, n, d) with one codebook; x for one head."""
        if self.heads == 1:
            return x
        heads = x.unflatten(-1, (self.heads, -1))
        if self.separate_codebook_per_head:
            return heads.movedim(2, 0)
        return heads.movedim(2, 1).flatten(0, 1)[None]

    def update_in_place_optimizer(self) -> None:
        """Let the inner optimiser take the step that `manual_in_place_optimizer_update` put off."""
        self._change_books(lambda layer: layer.update_in_place_optimizer())

    def expire_codes_(self, x: torch.Tensor) -> None:
        """Replace dead codes by some of the given tokens (b, n, d), in train mode."""
        if self.training:
            parts = self._heads.parts(x.reshape(-1, x.shape[-1]))
            each = dict(zip(self._books(), parts, strict=True))
            self._change_books(lambda layer: layer.expire(each[layer]))

    def update_indices(
        self, x: torch.Tensor, indices: torch.Tensor, mask: torch.Tensor | None = None
    ) -> None:
        """Learn at once from latents whose codes are given; -1 is left out."""
        grid = self._layout(x)
        rows = grid.tokens(x, self.dim)
        codes = self._wanted(indices, grid.of(x))
        kept = (codes != PADDING).all(dim=1)
        among = kept_rows(mask, grid.of(x), x.device)
        if among is not None:
            kept &= torch.zeros_like(kept).index_fill(0, among, value=True)
        rows, codes = through(self.project_in, rows[kept]).detach(), codes[kept]
        error = finite_error(rows, "latents")
        if self._books()[0].peers.any(error is not None, rows.device):
            raise error or NonFiniteError(OF_ANOTHER)
        pairs = zip(self._heads.parts(rows), self._heads.own(codes), strict=True)
        each = dict(zip(self._books(), pairs, strict=True))
        self._change_books(lambda layer: layer.feed(*each[layer]))

    update_ema_indices = update_indices

    def translate(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Replace the original's names by ours; see `Translated`."""
        rename(state_dict, f"{prefix}_codebook.vq_bridge.", f"{prefix}vq_bridge.")
        places = [f"{prefix}layers.{place}." for place in range(len(self.layers))]
        take_layer_state(state_dict, prefix, dict(zip(places, self._books(), strict=True)))

    def _books(self) -> list[Layer]:
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    def _is_built_with(self, name: str) -> bool:
        return name in vars(self) or (name in self.keywords and "options" in vars(self))

    def _shares(self) -> bool:
        return not self.separate_codebook_per_head

    def _layout(self, x: torch.Tensor) -> Grid:
        """Say where the feature axis of latents is."""
        wanted = 4 if self.accept_image_fmap else 5 if self.accept_3d_fmap else 3
        grid = grid_of_latents(x, first=wanted > 3 or not self.channel_last)
        if x.ndim not in (2, wanted):
            text = f"latents must have {wanted} axes, or 2 for one token each, got {x.ndim}"
            raise ShapeError(text)
        return grid

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
        options = self.options
        losing = self.training and (
            options.commitment_use_cross_entropy_loss
            or options.in_place_codebook_optimizer is not None
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
            device = self._books()[0].codebook.device
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

    def _learn_from(
        self, pairs: list[tuple[Layer, torch.Tensor]], error: NonFiniteError | None
    ) -> None:
        """Let layers learn, or raise what is wrong, here or where others learn from the tokens."""
        if transforming():
            refuse_transforms(self)
        for layer, part in pairs:
            error = error or layer.token_error(part.detach())
        raise_together(self, error, pairs[0][1].device)
        for layer, part in pairs:
            layer.learn_tokens(part.detach())

    def _weigh(self, before: list[list[torch.Tensor]], weight: Weight) -> None:
        layers = self._books()
        if not layers[0].observes or layers[0].call.accumulate:
            return
        if callable(weight):
            after = [layer.pending() for layer in layers]
            pairs = list(zip(after, before, strict=True))
            weight = weight(*(torch.stack([a[k] - b[k] for a, b in pairs]) for k in (0, 1)))
        shares = self._require_weight(weight)
        for layer, share in zip(layers, shares.expand(len(layers), -1), strict=True):
            layer.weigh(share)

    def _decoded(self, indices: torch.Tensor, out: nn.Module) -> torch.Tensor:
        wide = require_range(require_integers(indices), self.codebook_size)
        rows, shape = self._heads.rows(wide)
        pairs = zip(self._books(), self._heads.own(rows), strict=True)
        each = [functional.embedding(own, layer.code_vectors()) for layer, own in pairs]
        first = not self.channel_last or self.accept_image_fmap or self.accept_3d_fmap
        vectors = outward(out, self._heads.together(each))
        return restored(vectors, shape, first=first and len(shape) > 1)
