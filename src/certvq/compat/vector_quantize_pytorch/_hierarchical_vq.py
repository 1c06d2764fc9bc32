"""The original's `HierarchicalVQ`.

In: latents on a grid of one to three axes. Out: vectors, the indices of each scale and a loss. Must
not search by itself.
"""

import random
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._checks import FLAG, SIZES, checked, require
from certvq.compat.vector_quantize_pytorch._depth import draw_seed
from certvq.compat.vector_quantize_pytorch._features import require_latents
from certvq.compat.vector_quantize_pytorch._layout import require_one_layout
from certvq.compat.vector_quantize_pytorch._level import Level
from certvq.compat.vector_quantize_pytorch._level_keywords import LevelKeywords
from certvq.compat.vector_quantize_pytorch._level_state import take_layer_state
from certvq.compat.vector_quantize_pytorch._loaded import Loaded
from certvq.compat.vector_quantize_pytorch._maps import wide_type
from certvq.compat.vector_quantize_pytorch._padding import mask_of_lengths
from certvq.errors import NonFiniteError, OptionError, ShapeError
from certvq.nn import PADDING, Quantizer
from certvq.nn._core.codes import require_integers, require_range
from certvq.nn._core.mask import among_padding, kept_rows
from certvq.nn._levels import scales as _scales
from certvq.nn._levels.refine import Refine, Refinement
from certvq.nn._torch.distributed import peers_of, raise_together
from certvq.nn._torch.modes import sizes
from certvq.nn._torch.transaction import all_or_nothing


class HierarchicalVQ(Loaded):
    """Quantize coarse averages of the latents, then what is left over on finer grids.

    Args:
        dim: size of the feature axis.
        codebook_size: number of codes of each scale, or one for each.
        scales: sizes of the grids, coarse to fine.
        shared_codebook: whether all scales use one codebook.
        channel_first: latents are (b, c, ...), else (b, ..., c).
        quant_resi: share of the convolution after spreading.
        share_quant_resi: number of convolutions; 1 is one for all, 0 one for each scale.
        nested_dropout: probability of leaving out the last scales, in train mode.
        nested_dropout_min_levels: scales that are always used.
        accept_image_fmap: two axes.
        accept_3d_fmap: three axes.
        **keywords: as for `VectorQuantize`: `decay`, `commitment_weight`, `rotation_trick`,
            `kmeans_init`, `kmeans_iters`, `threshold_ema_dead_code`, `stochastic_sample_codes`,
            `sample_codebook_temp`, `orthogonal_reg_weight`, `orthogonal_reg_max_codes`,
            `orthogonal_reg_active_codes_only` and `sync_codebook`.

    Raises:
        OptionError: an option out of its range.

    Guarantee: each code is the nearest one to the average as computed.
    """

    fixed = frozenset({"scales", "shared_codebook"})

    @checked(codebook_size=SIZES, channel_first=FLAG)
    def __init__(
        self,
        *,
        dim: int,
        codebook_size: int | tuple[int, ...],
        scales: Sequence[int | Sequence[int]],
        shared_codebook: bool = True,
        channel_first: bool = True,
        quant_resi: float = 0.5,
        share_quant_resi: int = 1,
        nested_dropout: float = 0.0,
        nested_dropout_min_levels: int = 1,
        accept_image_fmap: bool = False,
        accept_3d_fmap: bool = False,
        **keywords: Any,
    ) -> None:
        super().__init__()
        require_one_layout(accept_image_fmap=accept_image_fmap, accept_3d_fmap=accept_3d_fmap)
        axes = 2 if accept_image_fmap else 3 if accept_3d_fmap else 1
        unknown = sorted(keywords.keys() - _KEYWORDS)
        if unknown:
            text = f"unexpected keyword arguments {unknown}"
            raise TypeError(text)
        self.keywords = LevelKeywords(**_DEFAULTS | keywords)
        self.dim = dim
        self.spatial_dims = axes
        self.channel_first = channel_first
        self.scales = tuple(scales)
        self.level_shapes = _scales.require_scales(scales, axes)
        self.num_levels = len(self.level_shapes)
        self.codebook_sizes = _sizes(codebook_size, self.num_levels, shared=shared_codebook)
        self.shared_codebook = shared_codebook
        self.nested_dropout = nested_dropout
        self.nested_dropout_min_levels = nested_dropout_min_levels
        self.parts = nn.ModuleList(
            self.keywords.build(dim, size)
            for size in (self.codebook_sizes[:1] if shared_codebook else self.codebook_sizes)
        )
        count = None if share_quant_resi <= 0 else int(share_quant_resi)
        refine = Refine(ratio=abs(quant_resi), count=count)
        self.refinement = Refinement(dim, axes, self.num_levels, refine, generator=None)

    @property
    def levels(self) -> tuple[Level, ...]:
        """The quantizer of each scale."""
        parts = cast("tuple[Level, ...]", tuple(self.parts))
        return parts * self.num_levels if self.shared_codebook else parts

    @property
    def vq(self) -> Level | None:
        """The quantizer of all scales, or None where each has its own."""
        return self.get_vq(0) if self.shared_codebook else None

    @property
    def vqs(self) -> tuple[Level, ...] | None:
        """The quantizer of each scale, or None where all share one."""
        return None if self.shared_codebook else tuple(map(self.get_vq, range(self.num_levels)))

    def get_vq(self, level_index: int) -> Level:
        """Return the quantizer of a scale, one of `levels`, the latest batch taken in."""
        level = self.levels[level_index]
        level.settle_for_readers()
        return level

    def pool_residual(
        self, t: torch.Tensor, level_shape: Sequence[int], mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the averages (b, c, ...) of latents (b, c, ...), and which of them there are."""
        kept_rows(mask, (t.shape[0], *t.shape[2:]), t.device)
        scale = tuple(level_shape)
        return _scales.average(t, mask, scale), _scales.present(mask, scale)

    def upsample_to_full(
        self, q: torch.Tensor, full_shape: Sequence[int], level_index: int
    ) -> torch.Tensor:
        """Return vectors (b, c, ...) of a scale on the whole grid, refined."""
        with torch.autocast(q.device.type, enabled=False):
            return self.refinement(_scales.spread(q, tuple(full_shape)), level_index)

    def train(self, mode: bool = True) -> "HierarchicalVQ":
        """Set the mode; on the way to eval mode, take in what the latest batch taught."""
        if self.training and not mode:

            def step() -> None:
                for level in self.levels:
                    level.settle()

            all_or_nothing(self, self.levels[0].codebook, step, learns=True)
        return super().train(mode)

    def forward(
        self,
        x: torch.Tensor,
        indices: None = None,
        mask: torch.Tensor | None = None,
        lens: torch.Tensor | None = None,
        sample_codebook_temp: float | None = None,
        return_cutoff: bool = False,
    ) -> tuple[Any, ...]:
        """Return vectors as x, a tuple of indices (b, ...), the loss, and the cutoff if wanted.

        Args:
            x: (b, c, ...), or channel last.
            indices: None; as in the original nothing else is supported.
            mask: bool (b, ...), True where there is a latent.
            lens: (b,), how many places hold latents, for one axis.
            sample_codebook_temp: of codes that are drawn, in place of the constructor's.
            return_cutoff: whether the last scale that is used is returned, None for all.

        Raises:
            ShapeError, DTypeError, NonFiniteError, TransformError: as for
                `certvq.nn.HierarchicalVQ`.
        """
        require(sample_codebook_temp=sample_codebook_temp)
        if indices is not None:
            text = "indices are decoded by get_output_from_indices, not by forward"
            raise OptionError(text)
        maps, mask = self._read(x, mask, lens)
        tokens = maps.detach().movedim(1, maps.ndim - 1)
        tokens = tokens.reshape(-1, self.dim) if mask is None else tokens[mask]
        if self.training:
            raise_together(self, self._error(tokens), x.device)

        def step() -> tuple[Any, ...]:
            partial, codes, losses = self._descend(maps, mask, sample_codebook_temp)
            cutoff = self.sample_nested_cutoff(x.device)
            used = self.num_levels if cutoff is None else cutoff + 1
            total, loss = partial[used - 1], torch.stack(losses[:used]).mean()
            if mask is not None:
                total = total.masked_fill(~mask[:, None], 0.0)
            total = total.to(x.dtype)
            out = total if self.channel_first else total.movedim(1, total.ndim - 1)
            result = (out, tuple(codes), loss)
            return (*result, cutoff) if return_cutoff else result

        return all_or_nothing(self, tokens, step)

    def get_output_from_indices(
        self,
        indices: Sequence[torch.Tensor],
        full_shape: int | Sequence[int] | None = None,
    ) -> torch.Tensor:
        """Return the vectors of indices, (b, c, ...) or channel last.

        Args:
            indices: one tensor (b, ...) for each scale; -1 is a cell without a latent.
            full_shape: size of the whole grid; None is that of the finest scale.

        Raises:
            ShapeError: another number of scales, or other shapes.
            CodeRangeError: an index out of range that is not -1.
        """
        for each in indices:
            require_integers(each)
        shapes = [tuple(each.shape) for each in indices]
        batch = shapes[0][:1] if shapes else ()
        if shapes != [(*batch, *shape) for shape in self.level_shapes]:
            text = (
                f"indices must be a list of one tensor for each scale, of shapes (b, ...) with "
                f"{list(self.level_shapes)} behind b, got {shapes}"
            )
            raise ShapeError(text)
        size = (full_shape,) * self.spatial_dims if isinstance(full_shape, int) else full_shape
        full = _scales.full_size(self.level_shapes, None, size)
        total = None
        for level, each in enumerate(indices):
            wide = each.long()
            absent = wide == PADDING
            rows = wide.masked_fill(absent, 0)
            require_range(rows, self.codebook_sizes[level])
            vectors = self.levels[level].decode_tokens(rows.reshape(-1))
            vectors = vectors.masked_fill(absent.reshape(-1, 1), 0.0)
            maps = self._spread(vectors, level, full)
            total = maps if total is None else total + maps
        total = cast("torch.Tensor", total)
        return total if self.channel_first else total.movedim(1, total.ndim - 1)

    def _read(
        self, x: torch.Tensor, mask: torch.Tensor | None, lens: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the latents as (b, c, ...), zero where there is none, and the mask."""
        require_latents(x)
        maps = x if self.channel_first else x.movedim(x.ndim - 1, 1)
        shape = sizes(maps)
        if len(shape) != self.spatial_dims + 2 or shape[1] != self.dim or 0 in shape[2:]:
            text = (
                f"x must have dim={self.dim} features and {self.spatial_dims} further axes beside "
                f"the batch, got shape {tuple(x.shape)}"
            )
            raise ShapeError(text)
        grid = (maps.shape[0], *maps.shape[2:])
        if lens is not None:
            if mask is not None or self.spatial_dims != 1:
                text = "lens goes with one axis and no mask"
                raise OptionError(text)
            mask = mask_of_lengths(lens.to(x.device), grid)
        if mask is None:
            return maps, None
        kept_rows(mask, grid, x.device)
        mask = mask.to(x.device)
        return maps.masked_fill(~mask[:, None], 0.0), mask

    def _error(self, tokens: torch.Tensor) -> NonFiniteError | None:
        error = self.levels[0].token_error(tokens)
        for part in self.levels[1:]:
            error = error or part.token_error(tokens[:0])
        return error

    def _descend(
        self, maps: torch.Tensor, mask: torch.Tensor | None, temperature: float | None
    ) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
        """Return the partial sums, the codes and the losses of all scales."""
        if self.training and self.shared_codebook:
            finest, _ = self._cells(maps.detach(), mask, self.level_shapes[-1])
            self.levels[0].learn_tokens(finest)
        residual, total = maps, None
        partial, codes, losses = [], [], []
        full = sizes(maps)[2:]
        for level, scale in enumerate(self.level_shapes):
            tokens, rows = self._cells(residual, mask, scale)
            part = self.levels[level]
            usual = part.estimator
            try:
                if temperature is not None:
                    part.estimator = self.keywords.estimator(self.dim, temperature)
                found = self._part(part, tokens)
            finally:
                part.estimator = usual
            count = maps.shape[0] * _scales.cells(self.level_shapes)[level]
            spread = self._spread(among_padding(found.vectors, rows, count, 0), level, full)
            residual = residual - spread
            total = spread if total is None else total + spread
            partial.append(total)
            every = among_padding(found.codes, rows, count, PADDING)
            codes.append(every.reshape(maps.shape[0], *scale))
            zero = tokens.new_zeros((), dtype=wide_type(tokens))
            losses.append(self.keywords.loss(part, tokens, found) if self.training else zero)
        return partial, codes, losses

    def _part(self, part: Quantizer, tokens: torch.Tensor) -> Any:
        return part.choose_tokens(tokens) if self.shared_codebook else part.quantize_tokens(tokens)

    def _cells(
        self, maps: torch.Tensor, mask: torch.Tensor | None, scale: tuple[int, ...]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        rows = _scales.average(maps, mask, scale).movedim(1, maps.ndim - 1).reshape(-1, self.dim)
        present = _scales.present(mask, scale)
        if present is None:
            return rows, None
        kept = torch.nonzero(present.reshape(-1)).squeeze(1)
        return rows[kept], kept

    def _spread(self, vectors: torch.Tensor, level: int, full: tuple[int, ...]) -> torch.Tensor:
        shape = self.level_shapes[level]
        maps = vectors.reshape(-1, *shape, self.dim).movedim(1 + len(shape), 1)
        return self.upsample_to_full(maps, full, level)

    def sample_nested_cutoff(self, device: torch.device) -> int | None:
        """Draw the last scale that is used, as the original does from a seed."""
        least = self.nested_dropout_min_levels
        if not self.training or self.nested_dropout <= 0.0 or least >= self.num_levels:
            return None
        draw = random.Random(draw_seed(device, peers_of(self)))  # noqa: S311 (a depth, no secret)
        if draw.random() >= self.nested_dropout:
            return None
        return draw.randrange(least - 1, self.num_levels - 1)

    def translate(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Replace the original's names by ours; see `Loaded`."""
        for level, part in enumerate(self.levels[: len(self.parts)]):
            old = "vq." if self.shared_codebook else f"vqs.{level}."
            take_layer_state(state_dict, f"{prefix}{old}", {f"{prefix}parts.{level}.": part})
        for name in [name for name in state_dict if name.startswith(f"{prefix}phi_")]:
            place, _, kind = name.removeprefix(f"{prefix}phi_").partition(".conv.")
            number = place.partition(".")[2] or "0"
            state_dict[f"{prefix}refinement.convolutions.{number}.{kind}"] = state_dict.pop(name)


_DEFAULTS: dict[str, Any] = {
    "decay": 0.99,
    "rotation_trick": False,
    "kmeans_init": True,
    "threshold_ema_dead_code": 2,
    "sample_codebook_temp": 0.1,
    "orthogonal_reg_max_codes": 128,
}

_KEYWORDS = _DEFAULTS.keys() | {
    "sync_codebook",
    "commitment_weight",
    "kmeans_iters",
    "stochastic_sample_codes",
    "orthogonal_reg_weight",
    "orthogonal_reg_active_codes_only",
}


def _sizes(codebook_size: int | tuple[int, ...], levels: int, *, shared: bool) -> tuple[int, ...]:
    sizes = (codebook_size,) * levels if isinstance(codebook_size, int) else tuple(codebook_size)
    if len(sizes) != levels or (shared and len(set(sizes)) > 1):
        text = (
            f"codebook_size must be one number, or one for each of {levels} scales that do not "
            f"share a codebook, got {sizes}"
        )
        raise OptionError(text)
    return sizes
