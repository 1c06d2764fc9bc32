"""The original's `ResidualFSQ` and `GroupedResidualFSQ`.

In: latents (b, ..., d) or (b, d, ...). Out: sums of points of grids, and the indices of all levels.
Must not round by itself.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._checks import SIZE, checked, require
from certvq.compat.vector_quantize_pytorch._depth import Depth, shared_seed
from certvq.compat.vector_quantize_pytorch._features import require_latents
from certvq.compat.vector_quantize_pytorch._fsq import FSQ
from certvq.compat.vector_quantize_pytorch._grid_options import in_features, projections
from certvq.compat.vector_quantize_pytorch._level_indices import vectors_of
from certvq.compat.vector_quantize_pytorch._loaded import Loaded
from certvq.compat.vector_quantize_pytorch._maps import mapped_back, through
from certvq.errors import OptionError, ShapeError
from certvq.nn._core.finite import require_finite_latents
from certvq.nn._families.grouped_residual import slice_width


class ResidualFSQ(Loaded):
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

    scales: torch.Tensor
    soft_clamp_input_value: torch.Tensor | None

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
        super().__init__()
        inner = len(levels)
        self.dim = inner if dim is None else dim
        _require_options(options, soft_clamp_input_value, hard=bound_hard_clamp)
        self.depth = Depth(
            num_quantizers,
            dropout=quantize_dropout,
            cutoff=quantize_dropout_cutoff_index,
            multiple_of=quantize_dropout_multiple_of,
        )
        self.project_in, self.project_out = projections(self.dim, inner)
        self.has_projections = self.dim != inner
        self.is_channel_first = is_channel_first
        self.num_quantizers = num_quantizers
        self.levels = levels
        self.layers = nn.ModuleList(
            FSQ(levels, preserve_symmetry=True, bound_hard_clamp=bound_hard_clamp, **options)
            for _ in range(num_quantizers)
        )
        self.codebook_size = self._fsq(0).codebook_size
        self.quantize_dropout = self.depth.dropout
        self.quantize_dropout_cutoff_index = quantize_dropout_cutoff_index
        self.quantize_dropout_multiple_of = quantize_dropout_multiple_of
        counts = torch.tensor(list(levels))
        scales = torch.stack([counts.float() ** -level for level in range(num_quantizers)])
        self.register_buffer("scales", scales, persistent=False)
        limit: Any = soft_clamp_input_value
        if bound_hard_clamp:
            limit = 1 + 1 / (counts - 1)
        if limit is not None and not isinstance(limit, torch.Tensor):
            limit = torch.tensor(limit)
        self.register_buffer("soft_clamp_input_value", limit, persistent=False)

    @property
    def codebooks(self) -> torch.Tensor:
        """The grids of all levels before scaling, (q, codebook_size, d)."""
        return torch.stack(
            [self._fsq(level).implicit_codebook for level in range(len(self.layers))]
        )

    def get_codes_from_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the scaled vectors of each level, zero where a level was left out.

        Args:
            indices: (b, ..., q), q up to the number of levels; also with `is_channel_first`.

        Returns:
            (num_quantizers, b, ..., d) before the last map.

        Raises:
            ShapeError: more levels than there are.
            CodeRangeError: an index out of range.
        """
        found = vectors_of(indices, levels=len(self.layers), codebook_size=self.codebook_size)
        vectors = []
        for level, (places, dropped) in enumerate(found):
            layer = self._fsq(level)
            digits = layer.indices_to_level_indices(places.reshape(-1)).T
            points = layer.quantizer.points(digits, dtype=self.scales.dtype)
            codes = layer.turned_back(points) * self.scales[level]
            codes = codes.reshape(*places.shape, codes.shape[-1])
            vectors.append(codes.masked_fill(dropped.unsqueeze(-1), 0.0))
        missing = len(self.layers) - len(vectors)
        return torch.stack([*vectors, *[torch.zeros_like(vectors[0])] * missing])

    def get_output_from_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the sum of the levels' vectors after the last map, (b, ..., d)."""
        total = torch.zeros(())
        for vectors in self.get_codes_from_indices(indices):
            total = total.to(vectors.device) + vectors
        return in_features(total, self.project_out)

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
        tokens = x.movedim(1, -1) if first else x
        if tokens.shape[-1] != self.dim:
            text = f"latents must have dim={self.dim} features, got shape {tuple(x.shape)}"
            raise ShapeError(text)
        grid = tokens.shape[:-1]
        rows = through(self.project_in, tokens.reshape(1, -1, self.dim))
        residual = rows.to(torch.promote_types(rows.dtype, torch.float32))
        require_finite_latents(residual.detach()[0])
        if self.soft_clamp_input_value is not None:
            limit = self.soft_clamp_input_value
            residual = (residual / limit).tanh() * limit
        require(rand_quantize_dropout_fixed_seed=rand_quantize_dropout_fixed_seed)
        learns = self.training and torch.is_grad_enabled()
        depth = self.depth.draw(rand_quantize_dropout_fixed_seed, x.device, training=learns)
        total, indices = residual.new_zeros(()), []
        for level in range(depth):
            vectors, found = self._fsq(level)(residual / self.scales[level])
            vectors = vectors * self.scales[level]
            residual = residual - vectors.detach()
            total = total + vectors
            indices.append(found)
        indices += [torch.full_like(indices[0], -1)] * (self.num_quantizers - depth)
        kind = torch.promote_types(x.dtype, self.scales.dtype)
        inner = torch.promote_types(rows.dtype, self.scales.dtype)
        out = mapped_back(self.project_out, total.to(inner), kind)
        out = out.reshape(*grid, out.shape[-1])
        codes = torch.stack(indices, dim=-1).reshape(*grid, self.num_quantizers)
        result = (out.movedim(-1, 1), codes.movedim(-1, 1)) if first else (out, codes)
        return (*result, self.get_codes_from_indices(codes)) if return_all_codes else result

    def _fsq(self, level: int) -> FSQ:
        layer = self.layers[level]
        assert isinstance(layer, FSQ)
        return layer


class GroupedResidualFSQ(Loaded):
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
        super().__init__()
        first = bool(options.get("is_channel_first"))
        if accept_image_fmap != first:
            text = (
                "accept_image_fmap and is_channel_first must agree on whether features are on axis "
                f"1, got {accept_image_fmap} and {first}"
            )
            raise OptionError(text)
        width = slice_width(dim, groups)
        self.dim = dim
        self.groups = groups
        self.accept_image_fmap = accept_image_fmap
        self.rvqs = nn.ModuleList(ResidualFSQ(dim=width, **options) for _ in range(groups))
        self.codebook_size = self.rvqs[0].codebook_size

    @property
    def codebooks(self) -> torch.Tensor:
        """The codebooks of all groups, (g, q, codebook_size, d)."""
        return torch.stack([self._group(g).codebooks for g in range(self.groups)])

    @property
    def split_dim(self) -> int:
        """The feature axis."""
        return 1 if self.accept_image_fmap else -1

    def get_codes_from_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """Return (g, q, b, ..., d) for indices (g, b, ..., q)."""
        parts = zip(range(self.groups), indices, strict=True)
        return torch.stack([self._group(g).get_codes_from_indices(part) for g, part in parts])

    def get_output_from_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """Return (b, ..., d) for indices (g, b, ..., q), or with the features on `split_dim`."""
        parts = zip(range(self.groups), indices, strict=True)
        outputs = [self._group(g).get_output_from_indices(part) for g, part in parts]
        return torch.cat(outputs, dim=-1).movedim(-1, self.split_dim)

    def forward(self, x: torch.Tensor, return_all_codes: bool = False) -> tuple[Any, ...]:
        """Return vectors as x, indices (g, b, ..., q), and if asked for each group's codes.

        Raises:
            ShapeError: another size of the feature axis.
            NonFiniteError: NaN or infinity.
        """
        require_latents(x)
        if x.shape[self.split_dim] != self.dim:
            text = f"latents must have dim={self.dim} features, got shape {tuple(x.shape)}"
            raise ShapeError(text)
        seed = shared_seed(x.device) if self.training else None
        pieces = x.chunk(self.groups, dim=self.split_dim)
        results = [self._group(g)(piece, return_all_codes, seed) for g, piece in enumerate(pieces)]
        quantized, indices, *codes = zip(*results, strict=True)
        return torch.cat(quantized, dim=self.split_dim), torch.stack(indices), *codes

    def _group(self, group: int) -> ResidualFSQ:
        part = self.rvqs[group]
        assert isinstance(part, ResidualFSQ)
        return part


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
