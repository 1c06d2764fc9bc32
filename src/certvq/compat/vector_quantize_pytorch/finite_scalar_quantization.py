"""The original's `FSQ`.

In: latents (b, ..., d) or (b, d, ...). Out: points of a grid and their indices. Must not round by
itself.
"""

from collections.abc import Sequence

import torch

from certvq.compat.vector_quantize_pytorch._checks import FLAG, checked
from certvq.compat.vector_quantize_pytorch._module import Codebooks
from certvq.compat.vector_quantize_pytorch._names import names_of
from certvq.compat.vector_quantize_pytorch._tensors import (
    grid_of_latents,
    keep_codebooks,
    mapped_back,
    narrow,
    outward,
    projections,
    restored,
    through,
)
from certvq.errors import CodeRangeError
from certvq.nn import FSQ as _Mapped
from certvq.nn import NoiseDropout
from certvq.nn._core.latents import all_rows, require_finite_latents
from certvq.nn._estimators.through_bound import through_bound
from certvq.nn._scalar.radix import join_digits, split_codes
from certvq.nn._torch.modes import widest

__getattr__ = names_of(__name__)


class FSQ(Codebooks):
    """Round each feature to one of a few levels; see `certvq.nn.FSQ`.

    Keywords are the original's. `scale`, `allowed_dtypes` and `force_quantization_f32` have no
    effect: indices are those of the latents as they are, of any float type.

    Guarantee: that of `certvq.nn.FSQ` for the latents after the map and the rotation, as computed.
    Indices are exact, int32 up to 2^31 codes and int64 up to 2^63.
    """

    fixed = frozenset(
        [
            "has_projections",
            "scale",
            "allowed_dtypes",
            "force_quantization_f32",
            "noise_dropout",
            "bound_hard_clamp",
            "preserve_symmetry",
        ]
    )

    @checked(channel_first=FLAG)
    def __init__(
        self,
        levels: Sequence[int],
        dim: int | None = None,
        num_codebooks: int = 1,
        keep_num_codebooks_dim: bool | None = None,
        scale: float | None = None,
        allowed_dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64),
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
        self.quantizer = _Mapped(
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
        self.rotate(orthogonal_rotation)

    @property
    def implicit_codebook(self) -> torch.Tensor:
        """All points of the grid, (codebook_size, len(levels)), made anew at each call."""
        return self.quantizer.decode(self.every_index()[None])[0]

    def quantize(self, z: torch.Tensor) -> torch.Tensor:
        """Return the nearest points of the grid; differentiable.

        Args:
            z: (..., len(levels)).
        """
        tokens = z.reshape(-1, self.codebook_dim)
        return self._found(tokens)[0].reshape(z.shape)

    def codes_to_indices(self, zhat: torch.Tensor) -> torch.Tensor:
        """Return the indices of points of the grid.

        Args:
            zhat: (..., len(levels)), points of the grid, rotated where the grid is, up to rounding.
        """
        rows = self.turned(self.read_points(zhat)).T.to(widest(zhat.device))
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
        codes = join_digits(digits, self.quantizer.levels)
        return narrow(codes, self.codebook_size).reshape(zhat.shape[:-1])

    def indices_to_level_indices(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the place of each feature's level, (..., len(levels))."""
        levels = self.quantizer.level_indices(indices)
        return levels.to(torch.int32 if indices.dtype.itemsize <= 4 else torch.int64)

    def indices_to_codes(self, indices: torch.Tensor) -> torch.Tensor:
        """Return what `forward` returned for indices, in its layout.

        Args:
            indices: (b, ...), with an axis for the codebooks where they have one.
        """
        wide, shape = self.read_indices(indices)
        digits = split_codes(wide, self.quantizer.levels)
        codes = self.turned_back(self.quantizer.points(digits, dtype=self._wide()))
        codes = codes if self.has_projections else codes.to(self._dtype())
        out = outward(self.project_out, codes.reshape(-1, self.effective_codebook_dim))
        return restored(out, shape, first=self.channel_first or None)

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Quantize.

        Args:
            z: (b, n, d); (b, d, ...) with four and more axes, or with `channel_first`.

        Returns:
            Vectors as z, and indices (b, ...) or None.
        """
        grid = grid_of_latents(z, first=self.channel_first or None)
        latents = through(self.project_in, grid.tokens(z, self.dim))
        codes, indices = self._found(self.turned(latents.reshape(-1, self.codebook_dim)))
        noise = self.quantizer.noise
        if self.training and noise is not None:
            codes = noise.disturb(codes, None)
        codes = self.turned_back(codes).reshape(-1, self.effective_codebook_dim)
        quantized = grid.restore(mapped_back(self.project_out, codes, z.dtype), grid.of(z))
        return quantized, self.shaped(indices, grid.of(z)) if self.return_indices else None

    def _found(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        wide = torch.promote_types(rows.dtype, torch.float32)
        dtype = self._wide() if self.has_projections else wide
        found = self.quantizer.cells(require_finite_latents(rows), dtype=dtype)
        return through_bound(rows, found.entries, self.quantizer.bound(rows.device)), found.codes

    def _dtype(self) -> torch.dtype:
        return next((p.dtype for p in self.parameters()), torch.get_default_dtype())

    def _wide(self) -> torch.dtype:
        return torch.promote_types(self._dtype(), torch.float32)
