"""The original's `ResidualFSQ` and `GroupedResidualFSQ`.

In: latents (b, ..., d) or (b, d, ...). Out: sums of points of grids, and the indices of all levels.
Must not round by itself.
"""

from collections.abc import Sequence
from typing import Any, TypeGuard

import torch

from certvq.compat.vector_quantize_pytorch._checks import SIZE, checked, require
from certvq.compat.vector_quantize_pytorch._depth import draw_seed
from certvq.compat.vector_quantize_pytorch._features import require_latents
from certvq.compat.vector_quantize_pytorch._fsq import FSQ
from certvq.compat.vector_quantize_pytorch._given_indices import Given
from certvq.compat.vector_quantize_pytorch._groups import Groups
from certvq.compat.vector_quantize_pytorch._maps import mapped_back, through
from certvq.compat.vector_quantize_pytorch._scalar_levels import ScalarLevels
from certvq.errors import OptionError, ShapeError
from certvq.nn._core.latents import require_finite_latents
from certvq.nn._levels.grouped_residual import slice_width
from certvq.nn._torch.constants import Constants


class ResidualFSQ(ScalarLevels, Constants):
    """Round to a grid, and what is left over to finer grids; see `certvq.nn.ResidualFSQ`.

    Args:
        levels: number of levels of each feature.
        num_quantizers: how many grids.
        dim: size of the feature axis; None for ``len(levels)``.
        is_channel_first: whether latents are (b, d, ...).
        quantize_dropout: whether only the first grids are used in train mode, a random number.
        quantize_dropout_cutoff_index: place of the last grid that is always used.
        quantize_dropout_multiple_of: numbers of grids are multiples of this.
        soft_clamp_input_value: latents are bounded by tanh to these values.
        bound_hard_clamp: clamp what a grid is given, and choose the soft clamp to suit.
        options: of every level's `FSQ`.

    Raises:
        OptionError: an option out of its range, or options that contradict one another.

    Guarantee: each level's index is the nearest point of its grid to the level's bounded residual,
    with the guarantee of `certvq.nn.FSQ` for the quotient as computed. In eval mode, and in train
    mode without noise, ``get_output_from_indices`` gives what `forward` gave, bit for bit where
    there is no map.
    """

    fixed = frozenset(
        {
            "has_projections",
            "num_quantizers",
            "levels",
            "quantize_dropout",
            "quantize_dropout_cutoff_index",
            "quantize_dropout_multiple_of",
        }
    )

    @checked(num_quantizers=SIZE)
    def __init__(
        self,
        *,
        levels: Sequence[int],
        num_quantizers: int,
        dim: int | None = None,
        is_channel_first: bool = False,
        quantize_dropout: bool = False,
        quantize_dropout_cutoff_index: int = 0,
        quantize_dropout_multiple_of: int = 1,
        soft_clamp_input_value: float | Sequence[float] | torch.Tensor | None = None,
        bound_hard_clamp: bool = True,
        **options: Any,
    ) -> None:
        _require_options(options, soft_clamp_input_value, hard=bound_hard_clamp)
        layers = [
            FSQ(levels, preserve_symmetry=True, bound_hard_clamp=bound_hard_clamp, **options)
            for _ in range(num_quantizers)
        ]
        super().__init__(
            len(levels) if dim is None else dim,
            len(levels),
            layers,
            layers[0].codebook_size,
            quantize_dropout=quantize_dropout,
            quantize_dropout_cutoff_index=quantize_dropout_cutoff_index,
            quantize_dropout_multiple_of=quantize_dropout_multiple_of,
        )
        self.is_channel_first = is_channel_first
        self.levels = levels
        counts = torch.tensor(list(levels), device="cpu")
        scales = torch.stack([counts.float() ** -level for level in range(num_quantizers)])
        self.register_constant("scales", scales)
        limit: Any = soft_clamp_input_value
        if bound_hard_clamp:
            limit = 1 + 1 / (counts - 1)
        self._clamped = limit is not None
        if self._clamped:
            self.register_constant("limit", torch.as_tensor(limit, device="cpu"))

    @property
    def scales(self) -> torch.Tensor:
        """What each level's grid is multiplied by, (q, d)."""
        return self._scales(self.home)

    @property
    def soft_clamp_input_value(self) -> torch.Tensor | None:
        """To what latents are bounded by tanh, or None."""
        return self._limit(self.home)

    def _scales(self, device: torch.device) -> torch.Tensor:
        return self.constant("scales", device).to(self.kind)

    def _limit(self, device: torch.device) -> torch.Tensor | None:
        limit = self.constant("limit", device) if self._clamped else None
        return limit.to(self.kind) if limit is not None and limit.is_floating_point() else limit

    @property
    def codebooks(self) -> torch.Tensor:
        """The grids of all levels before scaling, (q, codebook_size, d)."""
        return torch.stack(
            [self._fsq(level).implicit_codebook for level in range(len(self.layers))]
        )

    def levels_last(self, indices: Given) -> torch.Tensor:
        """Return indices (b, ..., q) of (b, q, ...), as `forward` returns with `is_channel_first`.

        Where axis 1 has no number of levels they are taken for (b, ..., q), as the original does.
        """
        return (
            indices.movedim(1, -1) if self._levels_first(indices) else super().levels_last(indices)
        )

    def get_output_from_indices(self, indices: Given) -> torch.Tensor:
        """Return what `forward` returned; (b, ..., d) for indices (b, ..., q)."""
        out = self.decoded(indices)
        return out.movedim(-1, 1) if self._levels_first(indices) else out

    def _levels_first(self, indices: Given) -> TypeGuard[torch.Tensor]:
        if not self.is_channel_first or not isinstance(indices, torch.Tensor):
            return False
        return indices.ndim > 2 and 1 <= indices.shape[1] <= self.num_quantizers

    def level_vectors(self, level: int, places: torch.Tensor) -> torch.Tensor:
        """Return the scaled points (N, d) of a level's indices (N,)."""
        layer = self._fsq(level)
        digits = layer.indices_to_level_indices(places).T
        wide = torch.promote_types(self.kind, torch.float32)
        points = layer.quantizer.points(digits, dtype=wide)
        return layer.turned_back(points) * self._scales(points.device)[level]

    def number_type(self) -> torch.dtype:
        """Return the type that the layer was converted to."""
        return self.kind

    def forward(
        self,
        x: torch.Tensor,
        return_all_codes: bool = False,
        rand_quantize_dropout_fixed_seed: int | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Quantize.

        Args:
            x: (b, n, d), or (b, d, ...) with `is_channel_first`.
            return_all_codes: whether the levels' vectors are returned as well.
            rand_quantize_dropout_fixed_seed: decides how many levels are used.

        Returns:
            Vectors as x, indices (b, ..., q) with -1 for levels left out, (b, q, ...) with
            `is_channel_first`, and if asked for, the levels' vectors (q, b, ..., d).

        Raises:
            ShapeError: another size of the feature axis.
            NonFiniteError: NaN or infinity.
        """
        require_latents(x)
        first = self.is_channel_first
        tokens = x.movedim(1, x.ndim - 1) if first else x
        if tokens.shape[-1] != self.dim:
            text = f"latents must have dim={self.dim} features, got shape {tuple(x.shape)}"
            raise ShapeError(text)
        grid = tokens.shape[:-1]
        rows = through(self.project_in, tokens.reshape(1, -1, self.dim))
        residual = rows.to(torch.promote_types(rows.dtype, torch.float32))
        require_finite_latents(residual.detach()[0])
        limit, scales = self._limit(x.device), self._scales(x.device)
        if limit is not None:
            residual = (residual / limit).tanh() * limit
        require(rand_quantize_dropout_fixed_seed=rand_quantize_dropout_fixed_seed)
        learns = self.training and torch.is_grad_enabled()
        depth = self.depth.draw(rand_quantize_dropout_fixed_seed, x.device, training=learns)
        total, indices = residual.new_zeros(()), []
        for level in range(depth):
            vectors, found = self._fsq(level)(residual / scales[level])
            vectors = vectors * scales[level]
            residual = residual - vectors.detach()
            total = total + vectors
            indices.append(found)
        indices += [torch.full_like(indices[0], -1)] * (self.num_quantizers - depth)
        kind = torch.promote_types(x.dtype, self.kind)
        out = mapped_back(self.project_out, self.rounded(total), kind)
        out = out.reshape(*grid, out.shape[-1])
        codes = torch.stack(indices, dim=-1).reshape(*grid, self.num_quantizers)
        result = (
            (out.movedim(out.ndim - 1, 1), codes.movedim(codes.ndim - 1, 1))
            if first
            else (out, codes)
        )
        return (*result, self.level_codes(codes)) if return_all_codes else result

    def _fsq(self, level: int) -> FSQ:
        layer = self.layers[level]
        assert isinstance(layer, FSQ)
        return layer


class GroupedResidualFSQ(Groups):
    """Slices of features, each with a `ResidualFSQ` of its own.

    Args:
        dim: size of the feature axis, a multiple of `groups`.
        groups: how many slices.
        accept_image_fmap: whether features are on axis 1; give `is_channel_first` as well.
        options: of every group's `ResidualFSQ`.

    Raises:
        OptionError: an option out of its range.
    """

    @checked()
    def __init__(
        self, *, dim: int, groups: int = 1, accept_image_fmap: bool = False, **options: Any
    ) -> None:
        first = bool(options.get("is_channel_first"))
        if accept_image_fmap != first:
            text = (
                "accept_image_fmap and is_channel_first must agree on whether features are on axis "
                f"1, got {accept_image_fmap} and {first}"
            )
            raise OptionError(text)
        width = slice_width(dim, groups)
        parts = [ResidualFSQ(dim=width, **options) for _ in range(groups)]
        super().__init__(dim, parts, accept_image_fmap=accept_image_fmap)
        self.codebook_size = parts[0].codebook_size

    def get_output_from_indices(self, indices: Given) -> torch.Tensor:
        """Return the vectors of all groups side by side, along `split_dim`; see `Groups`."""
        pairs = zip(self.parts, self.each_group(indices), strict=True)
        pieces = [part.decoded(own) for part, own in pairs]
        return torch.cat(pieces, dim=-1).movedim(-1, self.split_dim)

    def forward(self, x: torch.Tensor, return_all_codes: bool = False) -> tuple[Any, ...]:
        """Return vectors as x, indices (g, b, ..., q), and if asked for each group's codes.

        Raises:
            ShapeError: another size of the feature axis.
            NonFiniteError: NaN or infinity.
        """
        pieces = self.pieces(x)
        seed = draw_seed(x.device) if self.training else None
        pairs = zip(self.parts, pieces, strict=True)
        results = [part(piece, return_all_codes, seed) for part, piece in pairs]
        quantized, indices, *codes = zip(*results, strict=True)
        return torch.cat(quantized, dim=self.split_dim), torch.stack(indices), *codes


def _require_options(options: dict[str, Any], soft_clamp: object, *, hard: bool) -> None:
    if hard and soft_clamp is not None:
        text = (
            "soft_clamp_input_value follows from the levels where bound_hard_clamp is True, "
            f"got {soft_clamp}"
        )
        raise OptionError(text)
    for name in ("num_codebooks", "dim", "channel_first", "keep_num_codebooks_dim"):
        if options.get(name) not in (None, False, 1):
            text = f"levels of a ResidualFSQ take no {name}, got {options[name]}"
            raise OptionError(text)
    if not options.get("return_indices", True):
        text = "levels of a ResidualFSQ return their indices, got return_indices=False"
        raise OptionError(text)
