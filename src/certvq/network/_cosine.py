"""Codes by direction: the code vector of the smallest angle to the latent.

In: latents, computed or exact, and a codebook. Out: codes, margins, and which are decided. The code
of a latent z is the lowest i of the greatest ``z c_i / |c_i|``, which is the nearest of the unit
vectors ``u_i = c_i / |c_i|`` (`cosine_isNearestCode`); the length of z plays no role. Code i stays
as long as z moves by less than ``z (u_i - u_j) / |u_i - u_j|`` for all j. Must not know networks.
"""

import math

import numpy as np

from certvq._types import Float64
from certvq.bounds import gamma
from certvq.errors import OptionError
from certvq.network._decide import Decision, certain_least, nearby
from certvq.network._numbers import Numbers

SHORTEST = 1e-12
"""Code vectors of this length or less are divided by it, not by their length (torch's `normalize`),
so that they have no direction."""

_AT_ONCE = 1 << 22
"""Products of latents and code vectors that are held at a time: 32 MiB. Chosen."""


class UnitVectors:
    """A codebook whose code vectors are compared by direction.

    Args:
        rows: (K, D) float64, exact, longer than `SHORTEST`.

    Raises:
        OptionError: a code vector is too short.
    """

    def __init__(self, rows: Float64[np.ndarray, "K D"]) -> None:
        lengths = np.sqrt((rows**2).sum(axis=1))
        short = np.flatnonzero(~(lengths > SHORTEST * (1.0 + 1e-9)))
        if len(short):
            text = (
                f"a codebook that is compared by direction needs code vectors longer than "
                f"{SHORTEST}, got length {lengths[short[0]]} of code {short[0]}; replace it"
            )
            raise OptionError(text)
        self.rows = rows
        self._unit = rows / lengths[:, None]
        self._off = gamma(rows.shape[1] + 8)  # of a unit vector
        first: dict[tuple[int, ...], int] = {}
        for code, row in enumerate(rows):
            first.setdefault(_direction(row), code)
        self.distinct = np.array(sorted(first.values()))

    def decide_bounded(
        self, latents: Float64[np.ndarray, "N D"], error: Float64[np.ndarray, " N"]
    ) -> Decision:
        """Decide the tokens whose error is below their distance from all borders.

        Args:
            latents: as computed, of any number.
            error: bounds on their distances from the real ones, of any number.

        Returns:
            The decision.
        """
        known = np.isfinite(latents).all(axis=1) & np.isfinite(error)
        codes, radius = np.full(len(latents), -1, np.int64), np.zeros(len(latents))
        step = max(1, _AT_ONCE // len(self.distinct))
        for start in range(0, len(latents), step):
            part = np.flatnonzero(known[start : start + step]) + start
            codes[part], radius[part] = self._nearest(latents[part])
        decided = known & (error < radius)
        margin = np.zeros(len(latents))
        left = radius[decided] - error[decided]
        margin[decided] = np.where(np.isinf(left), left, np.nextafter(left, 0.0))
        return Decision(np.where(decided, codes, -1), margin, decided)

    def decide_exact(self, numbers: Numbers, latents: np.ndarray) -> Decision:
        """Decide the tokens of which exact numbers leave no doubt.

        Compared are ``s |s| / |c_i|^2`` with ``s = z c_i``, which rise with ``s / |c_i|`` and need
        no root.

        Args:
            numbers: the arithmetic, which the caller has set to work.
            latents: (N, D) of its numbers.

        Returns:
            The decision.
        """
        near, error = nearby(numbers, latents)
        codes = np.full(len(latents), -1, np.int64)
        for place, latent in enumerate(latents):
            candidates = self._candidates(near[place], error[place])
            scores = []
            for row in self.rows[candidates]:
                vector = [numbers.number(float(each)) for each in row]
                product = sum(a * b for a, b in zip(latent, vector, strict=True))
                scores.append(-product * abs(product) / sum(each * each for each in vector))
            best = certain_least(scores)
            codes[place] = -1 if best is None else candidates[best]
        floats = self.decide_bounded(near, error)
        margin = np.where(floats.codes == codes, floats.margin, 0.0)
        return Decision(codes, margin, codes >= 0)

    def _scores(self, latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``z u_i`` (N, distinct), and bounds (N, 1) of their errors."""
        unit = self._unit[self.distinct]
        dim = unit.shape[1]
        with np.errstate(over="ignore", invalid="ignore"):
            sizes = np.sqrt((latents**2).sum(axis=1, keepdims=True)) * (1.0 + gamma(dim + 4))
            return latents @ unit.T, (gamma(dim + 4) + 2.0 * self._off) * (sizes + 2.0**-480)

    def _nearest(self, latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return codes, and lower bounds of how far latents may move before they change."""
        scores, off = self._scores(latents)
        best = scores.argmax(axis=1)
        unit = self._unit[self.distinct]
        gaps = np.take_along_axis(scores, best[:, None], 1) - scores - 2.0 * off
        squares = 2.0 - 2.0 * unit[best] @ unit.T
        apart = np.sqrt(np.maximum(squares, 0.0) + 16.0 * self._off) * (1.0 + 16.0 * self._off)
        with np.errstate(over="ignore", invalid="ignore"):
            radius = gaps / apart * (1.0 - gamma(8))
        np.put_along_axis(radius, best[:, None], math.inf, 1)
        return self.distinct[best], np.nan_to_num(radius.min(axis=1), nan=0.0, posinf=math.inf)

    def _candidates(self, near: np.ndarray, error: float) -> np.ndarray:
        """Return, in order, distinct codes among which is every nearest one."""
        if not math.isfinite(error):
            return self.distinct
        scores, off = self._scores(near[None])
        least = scores.max() - 2.0 * (error + float(off[0, 0])) * (1.0 + gamma(8))
        return self.distinct[~(scores[0] < least)]  # NaN stays


def _direction(row: np.ndarray) -> tuple[int, ...]:
    """Return the least integers that are in the ratio of floats."""
    pairs = [float(each).as_integer_ratio() for each in row]
    shared = max(denominator for _, denominator in pairs)  # powers of two
    whole = [numerator * (shared // denominator) for numerator, denominator in pairs]
    divisor = math.gcd(*whole)
    return tuple(each // divisor for each in whole)
