"""The original's `VectorQuantize`.

In: its keywords. Out: a layer with its methods, on layers of certvq. Must not search by itself.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from certvq.compat.vector_quantize_pytorch._attributes import Attributes
from certvq.compat.vector_quantize_pytorch._checks import checked
from certvq.compat.vector_quantize_pytorch._forward import Forward
from certvq.compat.vector_quantize_pytorch._heads import Heads
from certvq.compat.vector_quantize_pytorch._layer import Layer
from certvq.compat.vector_quantize_pytorch._layout import Grid, find_grid, require_one_layout
from certvq.compat.vector_quantize_pytorch._level_state import take_layer_state
from certvq.compat.vector_quantize_pytorch._maps import outward, through
from certvq.compat.vector_quantize_pytorch._options import Options
from certvq.compat.vector_quantize_pytorch._readable import code_vectors_given
from certvq.compat.vector_quantize_pytorch._view import CodebookView
from certvq.errors import NonFiniteError
from certvq.nn import PADDING
from certvq.nn._core.codes import require_codes, require_range
from certvq.nn._core.finite import finite_error
from certvq.nn._core.mask import kept_rows
from certvq.nn._torch.distributed import OF_ANOTHER
from certvq.nn._torch.transaction import all_or_nothing


class VectorQuantize(Forward, Attributes):
    """Replace latents by the nearest code vectors; see `certvq.nn.VectorQuantize`.

    Keywords, methods, layouts and returned tuples are those of vector-quantize-pytorch 1.32, whose
    state dicts it loads. What deliberately differs is listed in docs/migration.md. Processes of
    `torch.distributed` share the codebook in train mode unless `sync_codebook` is False;
    `sync_kmeans` and `sync_affine_param` have no effect. Keywords that are not explained here mean
    what they mean in the original.

    Args:
        dim: size of the feature axis.
        codebook_size: number of codes.

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

    fixed = frozenset({"has_projections", "manual_in_place_optimizer_update", "learnable_codebook"})

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
        super().__init__()
        del sync_kmeans, sync_affine_param
        require_one_layout(accept_image_fmap=accept_image_fmap, accept_3d_fmap=accept_3d_fmap)
        self.options = Options(
            decay=decay,
            eps=eps,
            kmeans_init=kmeans_init,
            kmeans_iters=kmeans_iters,
            use_cosine_sim=use_cosine_sim,
            threshold_ema_dead_code=threshold_ema_dead_code,
            straight_through=straight_through,
            rotation_trick=False if dim == 1 and rotation_trick is None else rotation_trick,
            directional_reparam=directional_reparam,
            ema_update=ema_update,
            vq_bridge=vq_bridge,
            learnable_codebook=learnable_codebook,
            in_place_codebook_optimizer=in_place_codebook_optimizer,
            affine_param=affine_param,
            affine_param_batch_decay=affine_param_batch_decay,
            affine_param_codebook_decay=affine_param_codebook_decay,
            sync_update_v=sync_update_v,
            sync_codebook=sync_codebook,
        )
        self.dim = dim
        self.codebook_size = codebook_size
        self.heads = heads
        self.separate_codebook_per_head = separate_codebook_per_head
        self._heads = Heads(heads, separate_codebook_per_head)
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
        self.vq_bridge = vq_bridge
        self.manual_in_place_optimizer_update = manual_in_place_optimizer_update
        made = self.options.layer(width, codebook_size)
        count = heads if separate_codebook_per_head else 1
        self.layers = nn.ModuleList(
            Layer(width, codebook_size, decay=decay, bridge=vq_bridge, **made) for _ in range(count)
        )
        for layer in self._each():
            layer.by_hand = manual_ema_update or manual_in_place_optimizer_update
            if orthogonal_reg_weight > 0.0:
                layer.free()

    @property
    def _codebook(self) -> CodebookView:
        return CodebookView(self._each())

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
        layers = self._each()
        one = layers[0].codebook
        like = one.expand(len(layers), -1, -1) if self.separate_codebook_per_head else one
        given = code_vectors_given(codes, like, "codebook")
        for layer, own in zip(layers, given.reshape(-1, *one.shape), strict=True):
            layer.give(own)

    def train(self, mode: bool = True) -> "VectorQuantize":
        """Switch the mode; what waits of the latest training batch is taken in before eval mode."""
        if not mode:
            self._learn(lambda layer: layer.settle())
        return super().train(mode)

    def get_codes_from_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """Return code vectors, before `project_out`, in the layout of the latents.

        Raises:
            CodeRangeError: an index outside ``range(K)``, -1 among them.
        """
        rows, grid = self._read(indices)
        return self._grid(len(grid) + 1).restore(self._decode(rows), grid)

    def get_output_from_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """Return what `forward` returned for indices.

        Raises:
            CodeRangeError: an index outside ``range(K)``, -1 among them.
        """
        rows, grid = self._read(indices)
        vectors = outward(self.project_out, self._decode(rows))
        return self._grid(len(grid) + 1).restore(vectors, grid)

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
        self._learn(lambda layer: layer.step())

    def _learn(self, step: Callable[[Layer], None]) -> None:
        def steps() -> None:
            for layer in self._each():
                step(layer)

        all_or_nothing(self, self._each()[0].codebook, steps, learns=True)

    def expire_codes_(self, x: torch.Tensor) -> None:
        """Replace dead codes by some of the given tokens (b, n, d), in train mode."""
        if self.training:
            parts = self._heads.parts(x.reshape(-1, x.shape[-1]))
            each = dict(zip(self._each(), parts, strict=True))
            self._learn(lambda layer: layer.expire(each[layer]))

    def update_indices(
        self, x: torch.Tensor, indices: torch.Tensor, mask: torch.Tensor | None = None
    ) -> None:
        """Learn at once from latents whose codes are given; -1 is left out.

        Raises:
            ShapeError, DTypeError: latents, indices or a mask that do not fit together.
            CodeRangeError: an index outside ``range(K)`` that is not -1.
            NonFiniteError: NaN or infinity.
        """
        grid = find_grid(self, x.ndim)
        rows = grid.tokens(x, self.dim)
        codes = self._wanted(indices, grid.of(x))
        kept = (codes != PADDING).all(dim=1)
        among = kept_rows(mask, grid.of(x), x.device)
        if among is not None:
            kept &= torch.zeros_like(kept).index_fill(0, among, value=True)
        rows, codes = through(self.project_in, rows[kept]).detach(), codes[kept]
        error = finite_error(rows, "latents")
        if self._each()[0].peers.any(error is not None, rows.device):
            raise error or NonFiniteError(OF_ANOTHER)
        pairs = zip(self._heads.parts(rows), self._heads.own(codes), strict=True)
        each = dict(zip(self._each(), pairs, strict=True))
        self._learn(lambda layer: layer.feed(*each[layer]))

    update_ema_indices = update_indices

    def _read(self, indices: torch.Tensor) -> tuple[torch.Tensor, tuple[int, ...]]:
        wide = require_range(require_codes(indices, indices.ndim), self.codebook_size)
        return self._heads.rows(wide)

    def _decode(self, rows: torch.Tensor) -> torch.Tensor:
        return self._heads.together(
            [
                functional.embedding(own, layer.code_vectors())
                for layer, own in zip(self._each(), self._heads.own(rows), strict=True)
            ]
        )

    def _grid(self, rank: int) -> Grid:
        """Return the layout for decoding: any number of axes."""
        first = not self.channel_last or self.accept_image_fmap or self.accept_3d_fmap
        return Grid(1 if first and rank > 2 else rank - 1)

    def translate(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Replace the original's names by ours; see `Loaded`."""
        bridge = f"{prefix}_codebook.vq_bridge."
        for name in [name for name in state_dict if name.startswith(bridge)]:
            state_dict[f"{prefix}vq_bridge.{name.removeprefix(bridge)}"] = state_dict.pop(name)
        places = [f"{prefix}layers.{place}." for place in range(len(self.layers))]
        take_layer_state(state_dict, prefix, dict(zip(places, self._each(), strict=True)))
