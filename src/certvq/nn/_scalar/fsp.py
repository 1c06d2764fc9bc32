"""Finite scalar perturbation: each feature is brought into [0, 1] and binned, or shaken.

In: latents of any layout. Out: the midpoints of bins, the bins' numbers as one code, and a loss
that spreads the features. Must not search: a bin is found by exact arithmetic. Must not know of
codebooks; none is ever built.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import torch

from certvq.errors import NonFiniteError, OptionError
from certvq.nn._core.latents import LayoutName, finite_error, require_finite_latents
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import Found, Quantizer
from certvq.nn._estimators.exchange import exchange
from certvq.nn._scalar.activations import find_activation
from certvq.nn._scalar.cells import find_cells
from certvq.nn._scalar.moments import Moments
from certvq.nn._scalar.radix import join_digits, require_levels, split_codes
from certvq.nn._scalar.thresholds import below_float32, below_fraction
from certvq.nn._torch import random as _random
from certvq.nn._torch.modes import beside, brought, full_precision, wants_derivative, widened

_CPU = torch.device("cpu")

_MOST_LEVELS = 1 << 20

_TABLED = 4096
"""Up to so many levels of one feature, borders and midpoints of all bins are held in tables."""

_SPREAD = math.sqrt(12.0)
"""One over the standard deviation of uniform numbers of [0, 1]."""

_TANH_MOMENTS = Moments.spread(math.pi**2 / 12)


@checked
class FSP(Quantizer):
    """Bring each feature into [0, 1] and replace it by the midpoint of its bin.

    Mathematics: ``a = F(z)`` with the cumulative distribution function F of the activation; feature
    k has the midpoints ``m_l = (l + 1/2) / L_k``, ``l < L_k``, and gets the lowest l that minimises
    ``|a_k - m_l|``; the code is the number with the digits l, the first one being worth 1.
    `quantized` is ``(m_l - 1/2) sqrt(12)``, or with `invert` ``F^-1(m_l)``.

    In train mode each entry is quantized with probability `quantize_rate`; else it goes on as
    ``a + e``, ``e`` uniform of (-1/(2 L_k), 1/(2 L_k)), or as ``a`` where ``a + e`` leaves (0, 1).
    So in train mode `quantized` is not ``decode(codes)``, by design, unless `quantize_rate` is 1;
    the codes are those of the unshaken latents.

    The gradient is that of ``(a - 1/2) sqrt(12)``, or with `invert` goes to the latents unchanged.

    Args:
        levels: L_1 to L_D, each from 2 to 2^20, with a product of at most 2^63.
        activation: ``"tanh"``, ``"sigmoid"``, ``"normal"``, ``"laplace"`` or ``"cauchy"``.
        quantize_rate: from 0 to 1.
        invert: whether vectors are brought back by the inverse of the activation.
        moments: the loss on the latents; None for none.
        layout: names of the axes of latents, one of `LayoutName`.
        generator: source of the noise; None is torch's default generator. Its state is part of the
            state dict.

    Raises:
        OptionError: an option out of its range.

    Guarantee: the midpoints, as the rational numbers above, are over the real numbers the nearest
    point of their grid to ``a`` as computed (``grid_round_isNearestCode``). ``a`` is computed in
    float32, or in float64 for float64 latents or a float64 module, with autocast off. Codes are
    exact integers. In eval mode ``quantized == decode(codes)`` bit for bit.
    Ties: on the border of two bins the lower one, so the lowest index.
    Cost: O(N D) and O(sum L_k).

    Example:
        >>> layer = FSP([3, 5]).eval()
        >>> quantized, codes, loss = layer(torch.tensor([[[0.0, 2.0], [-3.0, -3.0]]]))
        >>> codes, quantized[0, 0]
        (tensor([[13,  0]]), tensor([0.0000, 1.3856]))

    References:
        Finite Scalar Perturbation, 2026, arXiv 2602.17133.
    """

    def __init__(
        self,
        levels: Sequence[int],
        *,
        activation: str = "tanh",
        quantize_rate: float = 0.0,
        invert: bool = False,
        moments: Moments | None = _TANH_MOMENTS,
        layout: LayoutName = "b n d",
        generator: torch.Generator | None = None,
    ) -> None:
        sizes = tuple(levels)
        _require_options(sizes, quantize_rate)
        # The functions are looked up at each use: as attributes they could not be pickled.
        find_activation(activation)
        super().__init__(len(sizes), layout=layout)
        self.levels = sizes
        self.activation = activation
        self.quantize_rate = quantize_rate
        self.invert = invert
        self.moments = moments
        self.draw_from(generator)
        self.register_constant("sizes", torch.tensor(sizes, dtype=torch.float64, device="cpu"))
        self._tabled = max(sizes) <= _TABLED
        if self._tabled:
            for name, table in _tables(sizes, self._rows(self.constant("sizes", _CPU))).items():
                self.register_constant(name, table)

    @property
    def codebook_size(self) -> int:
        """The product of the levels."""
        return math.prod(self.levels)

    def quantize_tokens(self, tokens: torch.Tensor) -> Found:
        """Bin the entries, or in train mode shake some of them; see `Quantizer`."""
        if not self.training:
            tokens = require_finite_latents(tokens)
        with full_precision(tokens.device):
            shares = self._shares(tokens)
            vectors, codes = self._cells(shares.detach())
            figures = {}
            if self.training and self.quantize_rate < 1.0:
                vectors, figures["inside"] = self._shaken(shares.detach(), vectors)
            if wants_derivative(tokens):  # of the surrogate the slope is wanted, and no number
                vectors = exchange(tokens if self.invert else shares * _SPREAD, vectors)
            if self.moments is None:
                loss = tokens.new_zeros((), dtype=shares.dtype)
            else:
                loss = self.moments(tokens)
        return Found(vectors, codes, loss, {"moments_loss": loss.detach(), **figures})

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Bin the entries; see `Quantizer`."""
        tokens = require_finite_latents(tokens)
        with full_precision(tokens.device):
            return self._cells(self._shares(tokens.detach()))[1]

    def decode_tokens(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the midpoints' vectors; see `Quantizer`."""
        digits = split_codes(codes, self.levels)
        if not self._tabled:
            return self._midpoints(digits.T)
        return self._entries(codes.device).gather(1, digits).T.contiguous()

    def token_error(self, tokens: torch.Tensor) -> NonFiniteError | None:
        """Look for NaN and infinity; see `Quantizer`."""
        return finite_error(tokens)

    def extra_repr(self) -> str:
        """Return the options for `repr`."""
        return (
            f"levels={list(self.levels)}, activation={self.activation!r}, "
            f"quantize_rate={self.quantize_rate}, invert={self.invert}, moments={self.moments}, "
            f"layout={self._layout.name!r}"
        )

    def _shares(self, tokens: torch.Tensor) -> torch.Tensor:
        """Bring latents into [0, 1], in float32 or wider."""
        wide = torch.promote_types(tokens.dtype, self.kind)
        kind = torch.promote_types(wide, torch.float32)
        return find_activation(self.activation).forward(tokens.to(kind))

    def _cells(self, shares: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the midpoints of the bins of shares (N, D), and the codes (N,).

        A share is in a bin above the lowest just when it exceeds the border below that bin.
        """
        if not self._tabled:
            bins = self._bins(shares)
            return self._midpoints(bins), join_digits(bins.T, self.levels)
        name = "limits64" if shares.dtype == torch.float64 else "limits32"
        limits = self.constant(name, shares.device)
        found = find_cells(shares, limits, self._entries(shares.device), self.levels)
        return found.entries, found.codes

    def _entries(self, device: torch.device) -> torch.Tensor:
        """Return the midpoints' vectors of all bins, (D, max L); what exceeds L is not used."""
        if self.kind == torch.float32:
            return self.constant("midpoints32", device)
        return brought(self.constant("midpoints64", device).to(self.kind), device)

    def _bins(self, shares: torch.Tensor) -> torch.Tensor:
        """Return the lowest l whose midpoint is nearest, int64 (N, D).

        That is the least l with ``a L <= l + 1``: ``ceil(a L) - 1``, at least 0. In float64 the
        product is exact for float32, as 24 and 20 bits fit into 53.
        """
        sizes = self._sizes(shares)
        if shares.dtype == torch.float64:
            whole = _exact_ceil(shares, sizes)
        else:
            whole = widened(shares).mul_(beside(sizes)).ceil_()
        return whole.sub_(1.0).clamp_min_(0.0).long().to(shares.device)

    def _midpoints(self, bins: torch.Tensor) -> torch.Tensor:
        """Return the vectors of bins, (N, D): ``(2 l + 1 - L) sqrt(12) / 2 L``, rounded.

        Inverses are computed once for each bin and not for each token: functions other than sums
        and products may round in another way at another place of a tensor.
        """
        kind, device = self.kind, bins.device
        if not self.invert:
            return brought(_spread(widened(bins), beside(self._sizes(bins))).to(kind), device)
        rows = self._rows(self._sizes(bins))
        offsets = [sum(self.levels[:k]) for k in range(self.dim)]
        return brought(torch.cat(rows).to(kind), device)[
            bins + torch.tensor(offsets, device=device)
        ]

    def _rows(self, sizes: torch.Tensor) -> list[torch.Tensor]:
        """Return the vectors of all bins of each feature, float64 (L,)."""
        device = sizes.device
        if not self.invert:
            bins = [widened(torch.arange(size, device=device)) for size in self.levels]
            return [_spread(row, size) for row, size in zip(bins, beside(sizes), strict=True)]
        inverse = find_activation(self.activation).inverse
        odd = [widened(torch.arange(1, 2 * size, 2, device=device)) for size in self.levels]
        return [inverse(row / (2 * size)) for row, size in zip(odd, self.levels, strict=True)]

    def _shaken(
        self, shares: torch.Tensor, midpoints: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Replace most midpoints by shaken entries; also say which share stayed inside (0, 1).

        One uniform number decides for each entry: below the rate it is quantized, and above it
        what is left of the number is the noise.
        """
        count, rate = shares.numel(), self.quantize_rate
        level = _random.uniform(count, self.generator, shares.device).reshape(shares.shape)
        quantized = level < rate if rate else None  # by default none is
        noise = level.sub_((1.0 + rate) / 2.0).mul_(
            1.0 / (1.0 - rate) / self._sizes(shares).to(level.dtype)
        )
        moved = shares + noise.to(shares.dtype)
        inside = (moved > 0.0) & (moved < 1.0)
        moved = torch.where(inside, moved, shares)
        if self.invert:
            least = torch.finfo(shares.dtype).eps
            vectors = find_activation(self.activation).inverse(moved.clamp(least, 1.0 - least))
        else:
            vectors = moved.sub_(0.5).mul_(_SPREAD)
        vectors = vectors.to(midpoints.dtype)
        if quantized is None:
            return vectors, inside.sum() / max(1, count)
        shaken = torch.where(quantized, midpoints, vectors)
        free = (count - quantized.sum()).clamp_min(1)
        return shaken, torch.gt(inside, quantized).sum() / free

    def _sizes(self, like: torch.Tensor) -> torch.Tensor:
        return self.constant("sizes", like.device)


def _spread(bins: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """Return ``(2 l + 1 - L) sqrt(12) / 2 L`` for bins l, float64."""
    return (2.0 * bins + (1.0 - sizes)) * (_SPREAD / 2 / sizes)


def _tables(levels: tuple[int, ...], rows: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the borders and the vectors of all bins, (D, max L - 1) and (D, max L), by name.

    Args:
        levels: L of each feature.
        rows: the vectors, float64 (L,) for each feature.
    """
    shape = len(levels), max(levels)
    limits = torch.full((shape[0], shape[1] - 1), math.inf, dtype=torch.float64, device=_CPU)
    midpoints = torch.zeros(shape, dtype=torch.float64, device=_CPU)
    for place, (count, row) in enumerate(zip(levels, rows, strict=True)):
        borders = [below_fraction(Fraction(border, count)) for border in range(1, count)]
        limits[place, : count - 1] = torch.tensor(borders, dtype=torch.float64, device=_CPU)
        midpoints[place, :count] = row
    return {
        "limits64": limits,
        "limits32": below_float32(limits),
        "midpoints64": midpoints,
        "midpoints32": midpoints.float(),
    }


def _exact_ceil(shares: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """Return the least integers that are at least ``a L``, for float64 a of [0, 1] and L <= 2^20.

    Split into the upper 32 and the lower 21 bits, a has two exact products with L; the rounding
    error of their sum decides where the rounded sum is an integer.
    """
    scaled = shares * (2.0**21 + 1.0)
    upper = scaled - (scaled - shares)
    high, low = upper * sizes, (shares - upper) * sizes
    product = high + low
    beyond = low - (product - high) > 0.0
    return product.ceil() + ((product == product.floor()) & beyond).double()


def _require_options(levels: tuple[int, ...], quantize_rate: float) -> None:
    require_levels(levels, least=2)
    if max(levels) > _MOST_LEVELS:
        text = f"levels must be at most {_MOST_LEVELS} each, got {max(levels)}"
        raise OptionError(text)
    if not 0.0 <= quantize_rate <= 1.0:
        text = f"quantize_rate must lie in [0, 1], got {quantize_rate}"
        raise OptionError(text)
