"""The original's `ResidualFSQ` and `GroupedResidualFSQ`.

In: latents (b, ..., d) or (b, d, ...). Out: sums of points of grids, and the indices of all levels.
Must not round by itself.
"""

from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._checks import SIZE, checked
from certvq.compat.vector_quantize_pytorch._levels import Groups, ScalarLevels
from certvq.compat.vector_quantize_pytorch._names import names_of
from certvq.compat.vector_quantize_pytorch._tensors import Given, rows_of
from certvq.compat.vector_quantize_pytorch.finite_scalar_quantization import FSQ
from certvq.errors import OptionError
from certvq.nn._core.latents import require_finite_latents
from certvq.nn._core.usage import Place
from certvq.nn._torch.constants import Constants

__getattr__ = names_of(__name__)


class ResidualFSQ(ScalarLevels, Constants):
    """Round to a grid, and what is left over to finer grids; see `certvq.nn.ResidualFSQ`.

    Keywords are the original's; `options` are those of every level's `FSQ`.

    Guarantee: each level's index is the nearest point of its grid to the level's bounded residual,
    with the guarantee of `certvq.nn.FSQ` for the quotient as computed. In eval mode, and in train
    mode without noise, ``get_output_from_indices`` gives what `forward` gave, bit for bit where
    there is no map and latents are no wider than the layer's type of number.
    """

    fixed = ScalarLevels.fixed | {"levels"}

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
            [layer.codebook_size for layer in layers],
            dropout=quantize_dropout,
            cutoff=quantize_dropout_cutoff_index,
            multiple_of=quantize_dropout_multiple_of,
        )
        self.layers = nn.ModuleList(layers)
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

    @property
    def codebooks(self) -> torch.Tensor:
        """The grids of all levels before scaling, (q, codebook_size, d)."""
        return torch.stack([layer.implicit_codebook for layer in self.layers])

    def levels_last(self, indices: Given) -> torch.Tensor:
        """Return indices (b, ..., q) of (b, q, ...), as `forward` returns with `is_channel_first`.

        Where axis 1 has no number of levels they are taken for (b, ..., q), as the original does.
        """
        last = super().levels_last(indices)
        return last.movedim(1, -1) if self._levels_first(indices) else last

    def get_output_from_indices(self, indices: Given) -> torch.Tensor:
        """Return what `forward` returned; (b, ..., d) for indices (b, ..., q)."""
        out = self.decoded(indices)
        return out.movedim(-1, 1) if self._levels_first(indices) else out

    def level_vectors(
        self, level: int, places: torch.Tensor, total: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the scaled points of a level; see `Levels`."""
        del total
        layer = self.layers[level]
        digits = layer.indices_to_level_indices(places).T
        wide = torch.promote_types(self.kind, torch.float32)
        points = layer.quantizer.points(digits, dtype=wide)
        return layer.turned_back(points) * self._scales(points.device)[level]

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
        """
        tokens, _, grid = rows_of(x, self.dim, first=self.is_channel_first)
        rows = require_finite_latents(self.inward(tokens))
        limit, scales = self._limit(x.device), self._scales(x.device)
        if limit is not None:
            rows = (rows / limit).tanh() * limit

        def step(
            level: int, residual: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            vectors, codes = self.layers[level](residual / scales[level])
            return vectors * scales[level], codes, residual.new_zeros(())

        seed, kind = rand_quantize_dropout_fixed_seed, torch.promote_types(x.dtype, self.kind)
        vectors, codes, _ = self.descended(x, rows, grid, seed, step, kind=kind)
        result = (vectors, codes.movedim(codes.ndim - 1, 1) if self.is_channel_first else codes)
        return (*result, self.level_codes(codes).to(self.kind)) if return_all_codes else result

    def _scales(self, device: torch.device) -> torch.Tensor:
        return self.constant("scales", device).to(self.kind)

    def _limit(self, device: torch.device) -> torch.Tensor | None:
        limit = self.constant("limit", device) if self._clamped else None
        return limit.to(self.kind) if limit is not None and limit.is_floating_point() else limit

    def _levels_first(self, indices: Given) -> TypeGuard[torch.Tensor]:
        if not self.is_channel_first or not isinstance(indices, torch.Tensor):
            return False
        return indices.ndim > 2 and 1 <= indices.shape[1] <= self.num_quantizers

    def _places(self, codes: torch.Tensor) -> dict[str, Place]:
        return super()._places(codes.movedim(1, -1) if self.is_channel_first else codes)


class GroupedResidualFSQ(Groups):
    """Slices of features, each with a `ResidualFSQ` of its own; see `Groups`.

    With `accept_image_fmap` give `is_channel_first` as well.
    """

    part = ResidualFSQ

    def options_of(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Require one layout; see `Groups`."""
        first = bool(kwargs.get("is_channel_first"))
        if self.accept_image_fmap != first:
            text = (
                "accept_image_fmap and is_channel_first must agree on whether features are on axis "
                f"1, got {self.accept_image_fmap} and {first}"
            )
            raise OptionError(text)
        return kwargs

    def forward(self, x: torch.Tensor, return_all_codes: bool = False) -> tuple[Any, ...]:
        """Return vectors as x, indices (g, b, ..., q), and if asked for each group's codes."""
        return self.quantize(x, return_all_codes=return_all_codes)


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
