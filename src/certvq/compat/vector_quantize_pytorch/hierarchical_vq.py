"""The original's `HierarchicalVQ`.

In: latents on a grid of one to three axes. Out: vectors, the indices of each scale and a loss. Must
not search by itself.
"""

import random
from collections.abc import Sequence
from typing import Any, Final, cast

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._checks import FLAG, SIZES, checked, require
from certvq.compat.vector_quantize_pytorch._codebook import take_layer_state
from certvq.compat.vector_quantize_pytorch._layer import Call, Layer, asked
from certvq.compat.vector_quantize_pytorch._levels import draw_seed
from certvq.compat.vector_quantize_pytorch._module import Translated
from certvq.compat.vector_quantize_pytorch._names import names_of
from certvq.compat.vector_quantize_pytorch._options import Options
from certvq.compat.vector_quantize_pytorch._tensors import (
    grid_of_latents,
    mask_of_lengths,
    require_one_layout,
)
from certvq.compat.vector_quantize_pytorch.vector_quantize_pytorch import VectorQuantize
from certvq.errors import OptionError, ShapeError
from certvq.nn import PADDING
from certvq.nn._core.codes import require_integers, require_range
from certvq.nn._core.latents import kept_rows
from certvq.nn._core.uncompiled import refuse_transforms
from certvq.nn._core.usage import Place
from certvq.nn._levels import scales as _scales
from certvq.nn._levels.pyramid import Pyramid, tokens_of
from certvq.nn._levels.refine import Refine, Refinement
from certvq.nn._torch.distributed import peers_of, raise_together
from certvq.nn._torch.modes import sizes

__getattr__ = names_of(__name__)

_DEFAULTS: Final[dict[str, Any]] = {
    "decay": 0.99,
    "rotation_trick": False,
    "kmeans_init": True,
    "threshold_ema_dead_code": 2,
    "sample_codebook_temp": 0.1,
    "orthogonal_reg_max_codes": 128,
}

_KEYWORDS: Final = _DEFAULTS.keys() | {
    "sync_codebook",
    "commitment_weight",
    "kmeans_iters",
    "stochastic_sample_codes",
    "orthogonal_reg_weight",
    "orthogonal_reg_active_codes_only",
}


class HierarchicalVQ(Translated):
    """Quantize coarse averages of the latents, then what is left over on finer grids.

    Keywords are the original's; `keywords` are some of `VectorQuantize`, with its defaults here.

    Guarantee: each code is the nearest one to the average as computed.
    """

    fixed = frozenset(["scales", "shared_codebook"])
    learns = True

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
        self.options = Options({**VectorQuantize.keywords, **_DEFAULTS, **keywords})
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
        own = self.codebook_sizes[:1] if shared_codebook else self.codebook_sizes
        self.parts = nn.ModuleList(Layer(dim, size, self.options) for size in own)
        count = None if share_quant_resi <= 0 else int(share_quant_resi)
        refine = Refine(ratio=abs(quant_resi), count=count)
        self.refinement = Refinement(dim, axes, self.num_levels, refine, generator=None)

    @property
    def levels(self) -> tuple[Layer, ...]:
        """The quantizer of each scale."""
        parts = cast("tuple[Layer, ...]", tuple(self.parts))
        return parts * self.num_levels if self.shared_codebook else parts

    @property
    def vq(self) -> Layer | None:
        """The quantizer of all scales, or None where each has its own."""
        return self.get_vq(0) if self.shared_codebook else None

    @property
    def vqs(self) -> tuple[Layer, ...] | None:
        """The quantizer of each scale, or None where all share one."""
        return None if self.shared_codebook else tuple(map(self.get_vq, range(self.num_levels)))

    def get_vq(self, level_index: int) -> Layer:
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
        return self._pyramid.refined(q, level_index, tuple(full_shape))

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
        """
        require(sample_codebook_temp=sample_codebook_temp)
        if indices is not None:
            text = "indices are decoded by get_output_from_indices, not by forward"
            raise OptionError(text)
        maps, mask = self._read(x, mask, lens)
        tokens, pyramid = tokens_of(maps.detach()), self._pyramid
        tokens = tokens if mask is None else tokens[mask.reshape(-1)]
        if self.training:
            refuse_transforms(self)
            raise_together(self, pyramid.token_error(tokens), x.device)

        def step() -> tuple[Any, ...]:
            if self.training:
                pyramid.learn(maps.detach(), mask, self.num_levels)
            steps = pyramid.descend(maps, mask, self.num_levels)
            cutoff = self.sample_nested_cutoff(x.device)
            used = steps if cutoff is None else steps[: cutoff + 1]
            total = used[0].maps
            for each in used[1:]:
                total = total + each.maps
            if mask is not None:
                total = total.masked_fill(~mask[:, None], 0.0)
            out = total.to(x.dtype)
            loss = torch.stack([each.found.loss for each in used]).mean()
            codes = tuple(
                each.codes.reshape(x.shape[0], *scale)
                for each, scale in zip(steps, self.level_shapes, strict=True)
            )
            result = (out if self.channel_first else out.movedim(1, out.ndim - 1), codes, loss)
            return (*result, cutoff) if return_cutoff else result

        call = Call(temperature=sample_codebook_temp)
        layers = cast("list[Layer]", list(self.parts))
        calls = [call] * len(layers)
        return self._whole(tokens, lambda: asked(layers, calls, step))

    def get_output_from_indices(
        self,
        indices: Sequence[torch.Tensor],
        full_shape: int | Sequence[int] | None = None,
    ) -> torch.Tensor:
        """Return the vectors of indices, (b, c, ...) or channel last.

        Args:
            indices: one tensor (b, ...) for each scale; -1 is a cell without a latent.
            full_shape: size of the whole grid; None is that of the finest scale.
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
        pieces = []
        for each, codebook_size in zip(indices, self.codebook_sizes, strict=True):
            absent = each.long() == PADDING
            rows = require_range(each.long().masked_fill(absent, 0), codebook_size)
            pieces.append((rows, absent))
        total = self._pyramid.decode(pieces, full)
        return total if self.channel_first else total.movedim(1, total.ndim - 1)

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
        """Replace the original's names by ours; see `Translated`."""
        for level, part in enumerate(self.levels[: len(self.parts)]):
            old = "vq." if self.shared_codebook else f"vqs.{level}."
            take_layer_state(state_dict, f"{prefix}{old}", {f"{prefix}parts.{level}.": part})
        for name in [name for name in state_dict if name.startswith(f"{prefix}phi_")]:
            place, _, kind = name.removeprefix(f"{prefix}phi_").partition(".conv.")
            number = place.partition(".")[2] or "0"
            state_dict[f"{prefix}refinement.convolutions.{number}.{kind}"] = state_dict.pop(name)

    def _books(self) -> tuple[Layer, ...]:
        return self.levels

    @property
    def _pyramid(self) -> Pyramid:
        return Pyramid(
            self.level_shapes, self.levels, self.shared_codebook, self.refinement, each=True
        )

    def _read(
        self, x: torch.Tensor, mask: torch.Tensor | None, lens: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the latents as (b, c, ...), zero where there is none, and the mask."""
        grid_of_latents(x, first=self.channel_first)
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
            mask = mask_of_lengths(lens, grid)
        if mask is None:
            return maps, None
        kept_rows(mask, grid, x.device)
        mask = mask.to(x.device)
        return maps.masked_fill(~mask[:, None], 0.0), mask

    def _places(self, codes: Any) -> dict[str, Place]:
        pairs = zip(codes, self.codebook_sizes, strict=True)
        return {f"scale{scale}/": Place(own, size) for scale, (own, size) in enumerate(pairs)}

    def _shares(self) -> bool:
        return self.shared_codebook


def _sizes(codebook_size: int | tuple[int, ...], levels: int, *, shared: bool) -> tuple[int, ...]:
    sizes = (codebook_size,) * levels if isinstance(codebook_size, int) else tuple(codebook_size)
    if len(sizes) != levels or (shared and len(set(sizes)) > 1):
        text = (
            f"codebook_size must be one number, or one for each of {levels} scales that do not "
            f"share a codebook, got {sizes}"
        )
        raise OptionError(text)
    return sizes
