"""Search over the levels of a residual quantizer that keeps several partial sums.

In: tokens, and levels that rank their codes. Out: one code of every level. Must not learn; what
learns is called at the levels' own time.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from certvq.errors import OptionError
from certvq.nn._core.options import checked
from certvq.nn._torch.modes import widened
from certvq.nn._vector.vector_quantize import VectorQuantize


@checked
@dataclass(frozen=True)
class Beam:
    """Keep the best partial sums of each token, instead of the best one, from level to level.

    Mathematics: at each level every partial sum ``s`` that was kept is followed by the `width`
    codes that are nearest to its residual ``r = z - s`` as computed. Of these the `width` ones of
    least ``|r - c|^2`` are kept, the error of the sum so far; after the last level the best one is.

    Attributes:
        width: how many sums are kept, >= 1; 1 is the greedy choice.
        train_width: how many in train mode; None is `width`.
        weights: one weight for each level, finite and >= 0, or None. With weights sums are compared
            by ``sum_l w_l |r_l - c_l|^2`` over the levels so far, and not by the error of the sum.

    Raises:
        OptionError: an option out of its range.

    Guarantee: the `width` nearest codes of each partial sum are those of `certvq.rank` for its
        residual as computed. Which of their continuations are kept is decided in float64 with a
        relative error of at most ``gamma(D + 8)`` for each distance; this is not certified, and no
        beam search finds the best tuple of codes in every case.
    Ties: the better partial sum of the level before, then the code that is nearer to it, then the
        lower code.

    References:
        Babenko and Lempitsky, "Additive Quantization for Extreme Vector Compression", 2014,
        section 3.2.
    """

    width: int
    train_width: int | None = None
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("width", "train_width"):
            value = getattr(self, name)
            if value is not None and value < 1:
                text = f"Beam {name} must be at least 1, got {value}"
                raise OptionError(text)
        for level, weight in enumerate(self.weights or ()):
            if not 0.0 <= weight < math.inf:
                text = f"Beam weights must be finite and at least 0, got {weight} at level {level}"
                raise OptionError(text)

    def width_in(self, *, training: bool) -> int:
        """Return how many sums are kept."""
        return self.train_width if training and self.train_width is not None else self.width

    def weight(self, level: int) -> float:
        """Return the weight of a level's error."""
        return 1.0 if self.weights is None else self.weights[level]


@torch.no_grad()
def search(
    tokens: torch.Tensor,
    levels: Sequence[VectorQuantize],
    beam: Beam,
    *,
    width: int,
    learn: Callable[[int, torch.Tensor], None] | None = None,
) -> torch.Tensor:
    """Find codes of all levels together.

    Args:
        tokens: (N, D), finite.
        levels: what ranks the codes of each level.
        beam: how partial sums are compared.
        width: how many are kept.
        learn: called with each level and the residuals (N, D) of the best sums, before the level
            ranks its codes; None where nothing learns.

    Returns:
        int64 (N, Q).

    Cost: time Q times that of ranking N `width` latents; memory O(N width (D + width)).
    """
    count, dim = tokens.shape
    residuals = tokens[:, None]
    codes = torch.zeros(count, 1, 0, dtype=torch.int64, device=tokens.device)
    scores = widened(tokens.new_zeros(count, 1))
    for level, part in enumerate(levels):
        if learn is not None:
            learn(level, residuals[:, 0])
        beams = residuals.shape[1]
        fan = min(width, len(part.codebook))
        ranking = part.rank_tokens(residuals.reshape(-1, dim), fan)
        errors = beam.weight(level) * widened(ranking.sqdist).reshape(count, beams, fan)
        totals = errors if beam.weights is None else scores[..., None] + errors
        kept = 1 if level == len(levels) - 1 else min(width, beams * fan)
        scores, order = totals.flatten(1).sort(dim=1, stable=True)
        scores, order = scores[:, :kept], order[:, :kept].to(tokens.device)
        sums = order // fan
        found = ranking.codes.reshape(count, beams * fan).gather(1, order)
        codes = torch.cat([_take(codes, sums), found[..., None]], dim=2)
        vectors = part.decode_tokens(found.reshape(-1)).reshape(*found.shape, dim)
        residuals = _take(residuals, sums) - vectors
    return codes[:, 0]


def _take(beams: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return some beams (N, M, F) of each token; `beams` (N, B, F), `places` (N, M)."""
    return beams.gather(1, places[..., None].expand(-1, -1, beams.shape[2]))


def require_beam(beam: Beam | None, levels: Sequence[object]) -> None:
    """Refuse a beam that these levels cannot search with.

    Raises:
        OptionError: levels that are not `VectorQuantize`, or weights for another number of levels.
    """
    if beam is None:
        return
    for level, part in enumerate(levels):
        if not isinstance(part, VectorQuantize):
            text = f"Beam needs VectorQuantize levels, but level {level} is {type(part).__name__}"
            raise OptionError(text)
    if beam.weights is not None and len(beam.weights) != len(levels):
        text = f"Beam weights must be one for each of {len(levels)} levels, got {beam.weights}"
        raise OptionError(text)
