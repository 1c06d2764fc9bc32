"""The original's `FSQ`.

In: latents (b, ..., d) or (b, d, ...). Out: points of a grid and their indices. Must not round by
itself.
"""

from collections.abc import Sequence

import torch

from certvq.compat.vector_quantize_pytorch._checks import FLAG, checked
from certvq.compat.vector_quantize_pytorch._features import (
    as_features,
    as_tokens,
    require_latents,
)
from certvq.compat.vector_quantize_pytorch._grid_options import (
    all_indices,
    grid_of,
    index_type,
    keep_codebooks,
    projections,
)
from certvq.compat.vector_quantize_pytorch._loaded import Loaded
from certvq.compat.vector_quantize_pytorch._maps import mapped_back, outward, through
from certvq.errors import CodeRangeError, ShapeError
from certvq.nn import FSQ as Mapped
from certvq.nn import NoiseDropout
from certvq.nn._core.codes import require_range
from certvq.nn._core.latents import all_rows, require_finite_latents
from certvq.nn._estimators.through_bound import through_bound
from certvq.nn._levels.rotated import Rotated, multiply
from certvq.nn._scalar.radix import join_digits, split_codes
from certvq.nn._torch.modes import widest

_DTYPES = (torch.float32, torch.float64)


class FSQ(Loaded):
    """Round each feature to one of a few levels; see `certvq.nn.FSQ`.

    Args:
        levels: number of levels of each feature of a codebook.
        dim: size of the feature axis; None for what the codebooks need.
        num_codebooks: how many slices of features are quantized.
        keep_num_codebooks_dim: whether indices have an axis for the codebooks.
        scale: kept, as in the original, where it has no effect.
        allowed_dtypes: accepted; codes are those of the latents as they are, of any float type.
        channel_first: whether latents of three axes are (b, d, n).
        projection_has_bias: whether the maps to other numbers of features have biases.
        return_indices: whether `forward` returns indices, else None in their place.
        force_quantization_f32: accepted; codes are exact either way.
        preserve_symmetry: levels that divide [-1, 1] evenly.
        noise_dropout: share of the entries that get noise in train mode.
        bound_hard_clamp: bound by a clamp rather than by tanh.
        orthogonal_rotation: quantize in rotated coordinates.

    Raises:
        OptionError: an option out of its range, or options that contradict one another.

    Guarantee: that of `certvq.nn.FSQ` for the latents after the map and the rotation, as computed.
    Indices are exact, int32 up to 2^31 codes and int64 up to 2^63.
    """

    fixed = frozenset(
        {
            "has_projections",
            "scale",
            "allowed_dtypes",
            "force_quantization_f32",
            "noise_dropout",
            "bound_hard_clamp",
            "preserve_symmetry",
        }
    )

    orthogonal_rot: torch.Tensor

    @checked(channel_first=FLAG)
    def __init__(
        self,
        levels: Sequence[int],
        dim: int | None = None,
        num_codebooks: int = 1,
        keep_num_codebooks_dim: bool | None = None,
        scale: float | None = None,
        allowed_dtypes: tuple[torch.dtype, ...] = _DTYPES,
        channel_first: bool = False,
        projection_has_bias: bool = True,
        return_indices: bool = True,
        force_quantization_f32: bool = True,
        preserve_symmetry: bool = False,
        noise_dropout: float = 0.0,
        bound_hard_clamp: bool = False,
        orthogonal_rotation: bool = False,
    ) -> None:
        super().__init__()
        self.keep_num_codebooks_dim = keep_codebooks(keep_num_codebooks_dim, num_codebooks)
        self.quantizer = Mapped(
            tuple(levels),
            preserve_symmetry=preserve_symmetry,
            hard_clamp=bound_hard_clamp,
            noise=NoiseDropout(probability=noise_dropout) if noise_dropout else None,
        )
        self.codebook_dim = len(levels)
        self.codebook_size = self.quantizer.codebook_size
        self.num_codebooks = num_codebooks
        self.effective_codebook_dim = self.codebook_dim * num_codebooks
        self.dim = self.effective_codebook_dim if dim is None else dim
        self.project_in, self.project_out = projections(
            self.dim, self.effective_codebook_dim, bias=projection_has_bias
        )
        self.has_projections = self.dim != self.effective_codebook_dim
        self.scale = scale
        self.allowed_dtypes = allowed_dtypes
        self.channel_first = channel_first
        self.return_indices = return_indices
        self.force_quantization_f32 = force_quantization_f32
        self.preserve_symmetry = preserve_symmetry
        self.noise_dropout = noise_dropout
        self.bound_hard_clamp = bound_hard_clamp
        self.orthogonal_rotation = orthogonal_rotation
        if orthogonal_rotation:
            self.register_buffer("orthogonal_rot", Rotated(self.quantizer).rotation)

    @property
    def implicit_codebook(self) -> torch.Tensor:
        """All points of the grid, (codebook_size, len(levels)), made anew at each call."""
        indices = all_indices(self.codebook_size, self._device())
        return self.quantizer.decode(indices[None])[0]

    def quantize(self, z: torch.Tensor) -> torch.Tensor:
        """Return the nearest points of the grid; differentiable.

        Args:
            z: (..., len(levels)).

        Raises:
            NonFiniteError: NaN or infinity.
        """
        tokens = z.reshape(-1, self.codebook_dim)
        return self._found(tokens)[0].reshape(z.shape)

    def codes_to_indices(self, zhat: torch.Tensor) -> torch.Tensor:
        """Return the indices of points of the grid.

        Args:
            zhat: (..., len(levels)), points of the grid, rotated where the grid is, up to rounding.

        Raises:
            ShapeError: another number of features.
            CodeRangeError: a point outside the grid.
        """
        if zhat.shape[-1] != self.codebook_dim:
            text = f"codes must have {self.codebook_dim} features, got shape {tuple(zhat.shape)}"
            raise ShapeError(text)
        rows = zhat.reshape(-1, self.codebook_dim)
        if self.orthogonal_rotation:
            wide = rows.to(torch.promote_types(rows.dtype, torch.float32))
            rows = multiply(wide, self.orthogonal_rot)
        rows = rows.T.to(widest(zhat.device))
        counts = torch.tensor(self.quantizer.levels, device=zhat.device)[:, None]
        if self.preserve_symmetry:
            digits = ((rows + 1.0) * (counts - 1) / 2.0).round().long()
        else:
            digits = ((rows + 1.0) * (counts // 2)).round().long()
        bad = torch.nonzero(all_rows(((digits < 0) | (digits >= counts)).T))
        if len(bad):
            row, feature = map(int, bad[0])
            number = float(all_rows(rows.T)[row, feature])
            text = (
                f"codes must be points of the grid, got {number} at row {row}, "
                f"feature {feature}, of {self.quantizer.levels[feature]} levels"
            )
            raise CodeRangeError(text)
        return self._indices(digits).reshape(zhat.shape[:-1])

    def indices_to_level_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the place of each feature's level, (..., len(levels)).

        Raises:
            CodeRangeError: an index outside ``range(codebook_size)``.
        """
        kind = torch.promote_types(indices.dtype, torch.int32)
        return self.quantizer.level_indices(indices).to(kind)

    def indices_to_codes(self, indices: torch.Tensor) -> torch.Tensor:
        """Return what `forward` returned for indices, in its layout.

        Args:
            indices: (b, ...), with an axis for the codebooks where they have one.

        Raises:
            ShapeError: another number of codebooks.
            CodeRangeError: an index outside ``range(codebook_size)``.
        """
        grid = grid_of(indices, self.num_codebooks if self.keep_num_codebooks_dim else None)
        wide = require_range(indices, self.codebook_size)
        digits = split_codes(wide.reshape(-1), self.quantizer.levels)
        codes = self.turned_back(self.quantizer.points(digits, dtype=self._wide()))
        codes = codes if self.has_projections else codes.to(self._dtype())
        tokens = codes.reshape(1, -1, self.effective_codebook_dim)
        first = self.channel_first or len(grid) >= 3
        out = outward(self.project_out, tokens)
        return as_features(out, grid, channel_first=first)

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Quantize.

        Args:
            z: (b, n, d); (b, d, ...) with four and more axes, or with `channel_first`.

        Returns:
            Vectors as z, and indices (b, ...) or None.

        Raises:
            ShapeError: another size of the feature axis.
            NonFiniteError: NaN or infinity.
        """
        require_latents(z)
        first = self.channel_first or z.ndim >= 4
        tokens, grid = as_tokens(z, channel_first=first)
        if tokens.shape[-1] != self.dim:
            text = f"latents must have dim={self.dim} features, got shape {tuple(z.shape)}"
            raise ShapeError(text)
        latents = through(self.project_in, tokens)
        rows = latents.reshape(-1, self.codebook_dim)
        if self.orthogonal_rotation:
            wide = rows.to(torch.promote_types(rows.dtype, torch.float32))
            rows = multiply(wide, self.orthogonal_rot)
        codes, indices = self._found(rows)
        noise = self.quantizer.noise
        if self.training and noise is not None:
            codes = noise.disturb(codes, None)
        codes = self.turned_back(codes)
        out = mapped_back(
            self.project_out, codes.reshape(1, -1, self.effective_codebook_dim), z.dtype
        )
        quantized = as_features(out, grid, channel_first=first)
        if not self.return_indices:
            return quantized, None
        kept = (*grid, self.num_codebooks) if self.keep_num_codebooks_dim else grid
        return quantized, indices.to(index_type(self.codebook_size)).reshape(kept)

    def _found(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        wide = torch.promote_types(rows.dtype, torch.float32)
        dtype = self._wide() if self.has_projections else wide
        found = self.quantizer.cells(require_finite_latents(rows), dtype=dtype)
        return through_bound(rows, found.entries, self.quantizer.bound(rows.device)), found.codes

    def _indices(self, digits: torch.Tensor) -> torch.Tensor:
        return join_digits(digits, self.quantizer.levels).to(index_type(self.codebook_size))

    def turned_back(self, codes: torch.Tensor) -> torch.Tensor:
        """Return codes (N, len(levels)) in the coordinates of the latents."""
        return multiply(codes, self.orthogonal_rot.T) if self.orthogonal_rotation else codes

    def _dtype(self) -> torch.dtype:
        return next((p.dtype for p in self.parameters()), torch.get_default_dtype())

    def _wide(self) -> torch.dtype:
        return torch.promote_types(self._dtype(), torch.float32)

    def _device(self) -> torch.device:
        return next((p.device for p in self.parameters()), self.quantizer.home)
