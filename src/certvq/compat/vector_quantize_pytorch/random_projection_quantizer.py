"""The original's `RandomProjectionQuantizer`.

In: latents (b, n, d). Out: indices, or the cross entropy of given ones. Must not learn anything.
"""

from typing import Any, ClassVar

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._checks import SIZE, checked
from certvq.compat.vector_quantize_pytorch._module import Translated
from certvq.compat.vector_quantize_pytorch._names import names_of
from certvq.compat.vector_quantize_pytorch._tensors import as_returned, rows_of, through
from certvq.errors import OptionError
from certvq.nn import RandomProjectionQuantizer as Projected
from certvq.nn._core.latents import require_finite_latents
from certvq.nn._vector.random_projection import cross_entropy_each, search_each, unit

__getattr__ = names_of(__name__)

_WITHOUT_EFFECT = frozenset(
    {
        "decay",
        "eps",
        "kmeans_iters",
        "threshold_ema_dead_code",
        "commitment_weight",
        "commitment_use_cross_entropy_loss",
        "codebook_diversity_loss_weight",
        "codebook_diversity_temperature",
        "orthogonal_reg_weight",
        "orthogonal_reg_active_codes_only",
        "orthogonal_reg_max_codes",
        "stochastic_sample_codes",
        "sample_codebook_temp",
        "sync_codebook",
        "sync_kmeans",
        "ema_update",
        "manual_ema_update",
        "freeze_codebook",
        "rotation_trick",
        "route_gradients_to_input",
        "sync_update_v",
    }
)
"""Keywords of the original's `VectorQuantize` that act in train mode only, where this never is."""


class RandomProjectionQuantizer(Translated):
    """Give latents the codes of frozen projections; see `certvq.nn.RandomProjectionQuantizer`.

    Args:
        dim: size of the feature axis.
        codebook_size: number of codes of each codebook.
        codebook_dim: size of a projection.
        num_codebooks: number of projections.
        norm: whether latents are normalised over their features.
        kwargs: of the original's `VectorQuantize`, those that act in train mode only; they have no
            effect there either.

    With several codebooks the original projects a second time, with a bias, so that a codebook's
    vectors have ``num_codebooks * codebook_dim`` entries; so does this.

    Guarantee: that of `certvq.nn.RandomProjectionQuantizer`, for directions computed in the type of
    number of the latents or of the projections, whichever is wider.
    """

    rand_projs: torch.Tensor
    codebooks: torch.Tensor

    renames: ClassVar[dict[str, str | None]] = {
        "vq._codebook.embed_avg": None,
        "vq._codebook.embed": "codebooks",
        "vq._codebook.": None,
        "vq.project_in.": "project_in.",
        "vq.project_out.": None,
    }

    @checked(codebook_dim=SIZE)
    def __init__(
        self,
        *,
        dim: int,
        codebook_size: int,
        codebook_dim: int,
        num_codebooks: int = 1,
        norm: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        for name in kwargs:
            if name not in _WITHOUT_EFFECT:
                text = (
                    f"RandomProjectionQuantizer knows no keyword {name!r}: its codebooks are "
                    "frozen and compared by cosine similarity; see docs/migration.md"
                )
                raise OptionError(text)
        projected = Projected(dim, codebook_size, codebook_dim, codebooks=num_codebooks)
        self.dim = dim
        self.num_codebooks = num_codebooks
        self.code_axes = ("codebook",) if num_codebooks > 1 else ()
        self.norm: nn.Module = nn.Identity()
        if norm:
            self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.register_buffer("rand_projs", projected.projections)
        width = num_codebooks * codebook_dim
        books = torch.randn(num_codebooks, codebook_size, width)
        self.register_buffer("codebooks", unit(books.double()).float())
        # The original's layer takes all projections together as one latent, and projects that
        # once more to as many latents as there are codebooks.
        self.project_in: nn.Module = nn.Identity()
        if num_codebooks > 1:
            self.project_in = nn.Linear(width, num_codebooks * width)

    def forward(self, x: torch.Tensor, indices: torch.Tensor | None = None) -> torch.Tensor:
        """Return indices (b, n) or (b, n, num_codebooks); or the cross entropy of given ones."""
        rows, grid, _ = rows_of(x, self.dim, first=False)
        grid = grid if self.num_codebooks == 1 else (*grid, self.num_codebooks)
        directions = self._directions(rows)
        if indices is None:
            found = search_each(directions, self.codebooks)
            return torch.stack([each.codes for each in found], dim=1).reshape(grid)
        last = () if self.num_codebooks == 1 else (self.num_codebooks,)
        wanted = as_returned(indices, grid[: len(grid) - len(last)], last)
        wanted = wanted.reshape(-1, self.num_codebooks)
        return cross_entropy_each(directions, self.codebooks, wanted)

    @property
    def codebook_size(self) -> int:
        """Number of codes of each codebook."""
        return self.codebooks.shape[1]

    def _directions(self, tokens: torch.Tensor) -> torch.Tensor:
        """Normalise, project twice and scale to norm 1, (N, num_codebooks, ...)."""
        tokens = require_finite_latents(tokens)
        wide = torch.promote_types(tokens.dtype, self.rand_projs.dtype)
        with torch.autocast(tokens.device.type, enabled=False):
            rows = self.norm(tokens.to(wide))
            flat = self.rand_projs.to(wide).permute(1, 0, 2).flatten(1)
            projected = through(self.project_in, rows @ flat)
            return unit(projected.unflatten(-1, (self.num_codebooks, -1)))
