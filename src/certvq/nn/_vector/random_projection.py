"""Codes of a frozen random projection: targets for self-supervised learning.

In: latents of any layout. Out: for each codebook the nearest code of a random projection. Codes
come from `certvq.assign` alone. Must not learn anything.
"""

import math

import torch
from torch.nn import functional

from certvq.assign import Assignment
from certvq.errors import OptionError, ShapeError
from certvq.nn._core.codes import require_integers, require_range
from certvq.nn._core.latents import PADDING, LayoutName, require_finite_latents, require_same_device
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import Found, Quantizer
from certvq.nn._core.search import decisions, search
from certvq.nn._estimators.estimator import straight_through
from certvq.nn._torch import random as _random
from certvq.nn._torch.device import default_device
from certvq.nn._torch.modes import brought, full_precision, sizes, widened

_EPS = 1e-5
"""What is added to the variance of a latent's entries."""


@checked
class RandomProjectionQuantizer(Quantizer):
    """Give each latent the codes that frozen random projections of it are nearest to.

    Mathematics: ``y = (z - mean z) / sqrt(var z + 1e-5)`` over the features (or ``y = z``); for
    each codebook h the direction ``u = y P_h / |y P_h|`` and the lowest i that minimises
    ``|u - C_hi|``, with ``|C_hi| = 1``: the code of the greatest cosine similarity.

    Nothing is learned: the layer has no parameters, `train` leaves it in eval mode, and its loss
    is 0. The codes serve another network as targets. The code vectors live in the space of the
    projections, of ``codebooks * code_dim`` features, and so do `quantized` and what `decode`
    returns; there is no way back to the latents.

    Args:
        dim: D, size of the feature axis, >= 1.
        codebook_size: K, >= 1.
        code_dim: E, size of a projection and of a code vector, >= 1.
        codebooks: H, number of independent projections, each with a codebook of its own, >= 1.
        normalize: whether latents are brought to mean 0 and variance 1 over their features.
        layout: names of the axes of latents, one of `LayoutName`.
        generator: source of the projections and codebooks; None is torch's default generator. A
            seed and the sizes decide everything.

    Attributes:
        projections: (H, D, E), a buffer, normal numbers of variance ``2 / (D + E)``.
        codebooks: (H, K, E), a buffer, normal numbers scaled to norm 1.
        code_shape: ``()`` with one codebook, else ``(H,)``.

    Raises:
        OptionError: an option out of its range.

    Guarantee: every code is the nearest one, in the sense of `certvq.assign`, to the direction u as
    computed, among the code vectors as stored; with them, the code of the greatest dot product up
    to the rounding of their norms (``cosine_isNearestCode`` has norms of exactly 1). All codes of a
    latent together are the nearest of the K^H combinations (``product_isNearestCode``). The
    direction is computed with autocast off, in float64, and rounded to float32 (float64 latents
    stay float64); that it has the same bits in a batch of another shape is not guaranteed.
    A latent without a direction, ``y P_h = 0``, keeps ``u = 0``.
    Ties: the lowest index.
    Cost: O(N D H E), H searches, O(N (D + H E)) memory.

    Example:
        >>> seed = torch.Generator().manual_seed(0)
        >>> layer = RandomProjectionQuantizer(16, 64, 4, codebooks=3, generator=seed)
        >>> latents = torch.randn(2, 5, 16, generator=seed)
        >>> codes = layer.encode(latents)
        >>> codes.shape, layer.decode(codes).shape
        (torch.Size([2, 5, 3]), torch.Size([2, 5, 12]))

    References:
        Chiu et al., "Self-Supervised Learning with Random-Projection Quantizer for Speech
        Recognition", 2022, arXiv 2202.01855, section 3.
    """

    projections: torch.Tensor
    codebooks: torch.Tensor

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        code_dim: int,
        *,
        codebooks: int = 1,
        normalize: bool = True,
        layout: LayoutName = "b n d",
        generator: torch.Generator | None = None,
    ) -> None:
        for name, value in (
            ("codebook_size", codebook_size),
            ("code_dim", code_dim),
            ("codebooks", codebooks),
        ):
            if value < 1:
                text = f"{name} must be at least 1, got {value}"
                raise OptionError(text)
        super().__init__(dim, layout=layout, code_shape=() if codebooks == 1 else (codebooks,))
        self.normalize = normalize
        kind, home = torch.get_default_dtype(), torch.device("cpu")
        device = default_device()
        spread = math.sqrt(2.0 / (dim + code_dim))
        maps = spread * _random.normal((codebooks, dim, code_dim), generator, home)
        codes = unit(_random.normal((codebooks, codebook_size, code_dim), generator, home))
        self.register_buffer("projections", maps.to(device, kind))
        self.register_buffer("codebooks", codes.to(device, kind))
        self.eval()

    @property
    def codebook_size(self) -> int:
        """K, of each codebook."""
        return sizes(self.codebooks)[1]

    @property
    def width(self) -> int:
        """``codebooks * code_dim``, features of the code vectors side by side."""
        return sizes(self.codebooks)[0] * sizes(self.codebooks)[2]

    @property
    def code_axes(self) -> tuple[str, ...]:
        """Codebooks, if there are several; see `Quantizer`."""
        return ("codebook",) * len(self.code_shape)

    def train(self, mode: bool = True) -> "RandomProjectionQuantizer":  # noqa: FBT001, FBT002 (torch's own signature)
        """Stay in eval mode, whatever `mode` says."""
        del mode
        return super().train(False)

    def quantize_tokens(self, tokens: torch.Tensor) -> Found:
        """Quantize; the gradient goes through the projections straight to the latents.

        See `Quantizer`.
        """
        directions = self._directions(tokens)
        found = search_each(directions, self.codebooks)
        codes = torch.stack([each.codes for each in found], dim=1)
        pieces = [
            straight_through(part, book, part_codes)
            for part, book, part_codes in zip(
                directions.unbind(1), self.codebooks, codes.unbind(1), strict=True
            )
        ]
        figures = [decisions(each) for each in found]
        return Found(
            torch.cat(pieces, dim=1),
            self._shaped(codes),
            pieces[0].new_zeros((), dtype=directions.dtype),
            {name: torch.stack([each[name] for each in figures]).sum() for name in figures[0]},
        )

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the nearest codes; see `Quantizer`."""
        found = search_each(self._directions(tokens), self.codebooks)
        return self._shaped(torch.stack([each.codes for each in found], dim=1))

    def decode_tokens(self, codes: torch.Tensor) -> torch.Tensor:
        """Look code vectors up, those of all codebooks side by side; see `Quantizer`."""
        columns = codes.reshape(-1, sizes(self.codebooks)[0]).unbind(1)
        looked = [
            functional.embedding(column, book)
            for column, book in zip(columns, self.codebooks, strict=True)
        ]
        return torch.cat(looked, dim=1)

    def cross_entropy(self, x: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Return how unlikely codes are under a softmax over the cosine similarities.

        Args:
            x: latents as `forward` takes them.
            codes: those wanted, shaped as `encode` returns them; `certvq.nn.PADDING` is left out.

        Returns:
            Scalar, the mean over latents and codebooks; 0 where all is padding.

        Raises:
            ShapeError, DTypeError: wrong latents, or codes of another shape or no integers.
            DeviceError: latents or codes on another device than the layer.
            NonFiniteError: NaN or infinity in the latents.
            CodeRangeError: a code outside ``range(K)`` that is not padding.

        Cost: O(N H K) time, O(N K) memory.
        """
        tokens = self._layout.tokens(x, self.dim)
        require_integers(codes)
        for given, name in ((x, "latents"), (codes, "codes")):
            require_same_device(self, given, name)
        grid = (*self._layout.grid(x), *self.code_shape)
        if tuple(codes.shape) != grid:
            text = f"codes must have the shape {grid}, as of `encode`, got {tuple(codes.shape)}"
            raise ShapeError(text)
        wanted = codes.reshape(tokens.shape[0], len(self.codebooks)).long()
        return cross_entropy_each(self._directions(tokens), self.codebooks, wanted)

    def extra_repr(self) -> str:
        """Return the options for `repr`."""
        books, size, width = self.codebooks.shape
        return (
            f"dim={self.dim}, codebook_size={size}, code_dim={width}, codebooks={books}, "
            f"normalize={self.normalize}, layout={self._layout.name!r}"
        )

    def _directions(self, tokens: torch.Tensor) -> torch.Tensor:
        """Project and scale to norm 1, (N, H, E)."""
        tokens = require_finite_latents(tokens)
        kind = torch.promote_types(tokens.dtype, torch.float32)
        with full_precision(tokens.device):
            wide = widened(tokens)
            if self.normalize:
                wide = functional.layer_norm(wide, (self.dim,), eps=_EPS)
            books, dim, width = self.projections.shape
            maps = widened(self.projections).permute(1, 0, 2).reshape(dim, books * width)
            directions = unit((wide @ maps).reshape(-1, books, width)).to(kind)
            return brought(directions, tokens.device)

    def _shaped(self, codes: torch.Tensor) -> torch.Tensor:
        return codes.reshape(codes.shape[0], *self.code_shape)


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Scale to norm 1 along the last axis; zero stays zero.

    Example:
        >>> unit(torch.tensor([[3e-200, 4e-200], [0.0, 0.0]], dtype=torch.float64))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]], dtype=torch.float64)
    """
    scale = vectors.abs().amax(dim=-1, keepdim=True)
    scaled = vectors / torch.where(scale > 0.0, scale, 1.0)
    norm = torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
    return scaled / torch.where(norm > 0.0, norm, 1.0)


def search_each(directions: torch.Tensor, codebooks: torch.Tensor) -> list[Assignment]:
    """Search each codebook for its part of each token.

    Args:
        directions: (N, H, E).
        codebooks: (H, K, E).
    """
    return [search(part, book) for part, book in zip(directions.unbind(1), codebooks, strict=True)]


def cross_entropy_each(
    directions: torch.Tensor, codebooks: torch.Tensor, wanted: torch.Tensor
) -> torch.Tensor:
    """Return the cross entropy of codes under a softmax over the dot products.

    Args:
        directions: (N, H, E).
        codebooks: (H, K, E).
        wanted: int64 (N, H); `PADDING` is left out.

    Returns:
        Scalar, the mean over what is not padding, or 0.

    Raises:
        CodeRangeError: a code outside ``range(K)`` that is not padding.
    """
    require_range(wanted.masked_fill(wanted == PADDING, 0), codebooks.shape[1])
    total = directions.new_zeros(())
    for part, book, column in zip(directions.unbind(1), codebooks, wanted.unbind(1), strict=True):
        total = total + functional.cross_entropy(
            part @ book.to(part.dtype).T, column, ignore_index=PADDING, reduction="sum"
        )
    return total / (wanted != PADDING).sum().clamp_min(1)
