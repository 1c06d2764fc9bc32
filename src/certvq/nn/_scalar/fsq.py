"""Finite scalar quantization: every feature is rounded to one of a few levels.

In: latents. Out: points of a grid, and their places in it as one exact integer. There is no
codebook in memory, and nothing to learn. Must not know of images or models.
"""

import math

import torch

from certvq.errors import NonFiniteError, OptionError
from certvq.nn._core.codes import require_integers, require_range
from certvq.nn._core.latents import LayoutName, finite_error, require_finite_latents
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import Found, Quantizer
from certvq.nn._core.search import show_exact
from certvq.nn._estimators.noise_dropout import NoiseDropout
from certvq.nn._estimators.through_bound import Bound, through_bound
from certvq.nn._scalar.cells import Cells, find_cells
from certvq.nn._scalar.grid import axis_of
from certvq.nn._scalar.radix import require_levels, split_codes
from certvq.nn._scalar.thresholds import below_float32
from certvq.nn._torch.modes import wants_derivative

_MOST_LEVELS = 4096
"""Most levels of one feature; each has an exact threshold of its own."""


@checked
class FSQ(Quantizer):
    """Bound each feature and round it to the nearest of its levels.

    Mathematics: with L levels in feature d and g = tanh, or the clamp to [-1, 1] with `hard_clamp`,
    ``h = (L - 1)(1 + 1/1000) / 2``, ``o = 1/2`` for even L and 0 for odd L: the bounded latent is
    ``b_d = (g(z_d + g^-1(o / h)) h - o) / floor(L / 2)``, and its levels are the integers from
    ``-floor(L / 2)`` to ``ceil(L / 2) - 1`` over ``floor(L / 2)``. With `preserve_symmetry` it is
    ``b_d = g(z_d)``, and its levels are ``(2 i - L + 1) / (L - 1)``. The digit i_d is the place of
    the nearest level, and ``code = i_1 + L_1 (i_2 + L_2 (i_3 + ...))``. The gradient of `quantized`
    goes to the latents as if it were b.

    Args:
        levels: number of levels of each feature; 3 to 4096 each, or 2 to 4096 where symmetry is
            preserved; at most 2^63 codes in all.
        preserve_symmetry: levels that divide [-1, 1] evenly.
        hard_clamp: bound by a clamp rather than by tanh; no gradient passes its ends.
        noise: what disturbs the vectors in train mode; needs `preserve_symmetry`. `quantized` is
            then not ``decode(codes)`` in train mode.
        layout: ``"b n d"``, ``"b d n"``, ``"b c h w"`` or ``"b c t h w"``, of ``len(levels)``
            features.
        generator: source of the noise; None is torch's default generator.

    Attributes:
        levels: as given.
        preserve_symmetry: as given.
        hard_clamp: as given.
        noise: as given.

    Raises:
        OptionError: an option out of its range, or noise without `preserve_symmetry`.

    Guarantee: the code is nearest to the bounded latent b over the real numbers
    (``grid_round_isNearestCode``): b is never rounded. Each latent, read as the exact number that
    it is, is compared with the exact thresholds, so that the code depends on the numbers alone and
    is the same on every device, for every batch, also under autocast and in half precision.
    ``quantized == decode(codes)`` bit for bit, in eval mode and, without noise, in train mode;
    each entry is the float nearest to its level, computed in float32 at least.
    Ties: the lowest index. There are some with the clamp, and at 0 for even L where symmetry is
    preserved.
    Cost: ``N D log L`` comparisons; no memory that grows with the number of codes.

    Example:
        >>> layer = FSQ((8, 5, 5))
        >>> quantized, codes, loss = layer(torch.tensor([[[0.4, -2.0, 0.1], [9.0, 9.0, 9.0]]]))
        >>> codes
        tensor([[ 85, 199]])
        >>> layer.level_indices(codes)
        tensor([[[5, 0, 2],
                 [7, 4, 4]]])
        >>> torch.equal(quantized, layer.decode(codes))
        True

    References:
        Mentzer, Minnen, Agustsson, Tschannen, "Finite Scalar Quantization: VQ-VAE Made Simple",
        2023, section 3 and appendix A.1; Parker et al., "Scaling Transformers for Low-Bitrate
        High-Quality Speech Coding", 2024, section 3.2 (symmetry, noise).
    """

    def __init__(
        self,
        levels: tuple[int, ...] | list[int],
        *,
        preserve_symmetry: bool = False,
        hard_clamp: bool = False,
        noise: NoiseDropout | None = None,
        layout: LayoutName = "b n d",
        generator: torch.Generator | None = None,
    ) -> None:
        levels = tuple(int(count) for count in levels)
        _require_options(levels, noise, preserve_symmetry=preserve_symmetry)
        super().__init__(len(levels), layout=layout)
        self.levels = levels
        self.preserve_symmetry = preserve_symmetry
        self.hard_clamp = hard_clamp
        self.noise = noise
        self.draw_from(generator)
        axes = [
            axis_of(count, preserve_symmetry=preserve_symmetry, hard_clamp=hard_clamp)
            for count in levels
        ]
        cpu, wide = torch.device("cpu"), torch.float64
        limits = torch.full((len(levels), max(levels) - 1), math.inf, dtype=wide, device=cpu)
        for row, axis in zip(limits, axes, strict=True):
            row[: len(axis.limits)] = torch.tensor(axis.limits, dtype=wide, device=cpu)
        curve = torch.tensor([(a.gain, a.shift, a.bias) for a in axes], device=cpu)
        numbers = torch.tensor([(a.step, -a.origin, a.width) for a in axes], dtype=wide, device=cpu)
        step, origin, width = numbers.T.unsqueeze(2)
        places = torch.arange(max(levels), dtype=wide, device=cpu)
        points = (step * places + origin) / width  # of integers: rounded once, by the division
        points32 = (step * places + origin).float() / width.float()
        tables = {
            "limits64": limits,
            "limits32": below_float32(limits),
            **dict(zip(("gain", "shift", "bias"), curve.float().T.contiguous(), strict=True)),
            "points64": points,
            "points32": points32,
        }
        for name, table in tables.items():
            self.register_constant(name, table)

    @property
    def codebook_size(self) -> int:
        """K, the product of the levels."""
        return math.prod(self.levels)

    def quantize_tokens(self, tokens: torch.Tensor) -> Found:
        """Round to the grid; see `Quantizer`."""
        # In train mode `token_error` has been asked; a quotient that overflowed since is infinite,
        # and its level the outermost one.
        found = self.cells(tokens if self.training else require_finite_latents(tokens))
        show_exact(found.codes)
        vectors = found.entries
        if wants_derivative(tokens):
            vectors = through_bound(tokens, vectors, self.bound(tokens.device))
        if self.training and self.noise is not None:
            vectors = self.noise.disturb(vectors, self.generator)
        zero = torch.zeros((), device=tokens.device)
        return Found(vectors, found.codes, zero, {"lowest_share": found.lowest_share})

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the codes of the nearest points of the grid; see `Quantizer`."""
        codes = self.cells(require_finite_latents(tokens)).codes
        show_exact(codes)
        return codes

    def decode_tokens(self, codes: torch.Tensor) -> torch.Tensor:
        """Return points of the grid; see `Quantizer`."""
        return self.points(split_codes(codes, self.levels)).contiguous()

    def token_error(self, tokens: torch.Tensor) -> NonFiniteError | None:
        """Look for NaN and infinity; see `Quantizer`."""
        return finite_error(tokens)

    @property
    def steady(self) -> bool:
        """Whether there is no noise to draw; see `Quantizer`."""
        return self.noise is None

    def reach(self, largest: float) -> float:
        """Return 1, also where latents overflowed; see `Quantizer`."""
        del largest
        return 1.0

    def bound(self, device: torch.device) -> Bound:
        """Return the bounding function, for latents (..., D); no code is made of its results."""
        if self.preserve_symmetry:
            return Bound(None, None, None, hard=self.hard_clamp)
        gain, shift, bias = (self.constant(name, device) for name in ("gain", "shift", "bias"))
        return Bound(gain, shift, bias, hard=self.hard_clamp)

    def level_indices(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the place of each feature's level, as models with factorised tokens need it.

        Args:
            codes: int64 (...), each in ``range(K)``.

        Returns:
            int64 (..., D).

        Raises:
            CodeRangeError: a code outside ``range(K)``.
        """
        wide = require_range(require_integers(codes), self.codebook_size)
        return split_codes(wide, self.levels).movedim(0, -1)

    def cells(self, tokens: torch.Tensor, *, dtype: torch.dtype | None = None) -> Cells:
        """Find the nearest points of the grid.

        Args:
            tokens: (N, D), any float type, finite.
            dtype: type of number of the points; None is that of the layer.

        Returns:
            The points, their codes, and the share of outermost lower levels.
        """
        latents, table = tokens.detach(), self._points(dtype, tokens.device)
        if latents.dtype == torch.float64:
            limits = self.constant("limits64", latents.device)
            return find_cells(latents, limits, table, self.levels)
        limits = self.constant("limits32", latents.device)
        return find_cells(latents.float(), limits, table, self.levels)

    def points(self, digits: torch.Tensor, *, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Return the points of the grid at some places.

        Args:
            digits: integers (D, N), in range.
            dtype: type of number; None is that of the layer.

        Returns:
            (N, D), a view.
        """
        return self._points(dtype, digits.device).gather(1, digits.long()).T

    def _points(self, dtype: torch.dtype | None, device: torch.device) -> torch.Tensor:
        """Return the levels of all features, (D, max L); what exceeds a feature's is not used."""
        narrow = dtype or self.kind
        if narrow == torch.float64:
            return self.constant("points64", device)
        return self.constant("points32", device).to(narrow)

    def extra_repr(self) -> str:
        """Return the options for `repr`."""
        return (
            f"levels={self.levels}, preserve_symmetry={self.preserve_symmetry}, "
            f"hard_clamp={self.hard_clamp}, noise={self.noise}, layout={self._layout.name!r}"
        )


def _require_options(
    levels: tuple[int, ...], noise: NoiseDropout | None, *, preserve_symmetry: bool
) -> None:
    if noise is not None and not preserve_symmetry:
        text = f"noise needs preserve_symmetry=True, got {noise} without it"
        raise OptionError(text)
    if 2 in levels and not preserve_symmetry:
        text = (
            f"levels of 2 need preserve_symmetry=True, got 2 at place {levels.index(2)}; else use "
            "at least 3"
        )
        raise OptionError(text)
    require_levels(levels, least=2)
    if max(levels) > _MOST_LEVELS:
        text = (
            f"levels must be at most {_MOST_LEVELS} each, got {max(levels)} at place "
            f"{levels.index(max(levels))}; divide that feature among several"
        )
        raise OptionError(text)
