"""From latents with bounds to codes that are certain.

In: latents, computed or exact, and a codebook. Out: codes, margins, and which are decided. Must not
know networks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from certvq import bounds
from certvq._types import Bool, Float64, Int64
from certvq.assign import assign, prepare, stability_radius
from certvq.network._numbers import Numbers


@dataclass(frozen=True)
class Decision:
    """What is certain of some tokens; of several levels, each array is (N, levels).

    Attributes:
        codes: (N,) int64, -1 where nothing is certain.
        margin: (N,) float64, how far the real latent may move at least before its code changes; 0
            where nothing is certain.
        decided: (N,) bool.
    """

    codes: Int64[np.ndarray, "N *levels"]
    margin: Float64[np.ndarray, "N *levels"]
    decided: Bool[np.ndarray, "N *levels"]


class CodeVectors:
    """A codebook, ready for both ways to decide.

    Args:
        rows: (K, D) float64, exact.
    """

    def __init__(self, rows: Float64[np.ndarray, "K D"]) -> None:
        self.prepared = prepare(rows)
        self.rows = rows
        # -0.0 and 0.0 are one number; the first of equal rows has the lowest index
        _, first = np.unique(rows + 0.0, axis=0, return_index=True)
        self.distinct = np.sort(first)

    def decide_bounded(
        self, latents: Float64[np.ndarray, "N D"], error: Float64[np.ndarray, " N"]
    ) -> Decision:
        """Decide the tokens whose error is below their stability radius.

        Theorem: ``canonical_of_bound_lt_radius``.

        Args:
            latents: as computed, of any number.
            error: bounds on their distances from the real ones, of any number.

        Returns:
            The decision.
        """
        known = np.isfinite(latents).all(axis=1) & np.isfinite(error)
        safe = np.where(known[:, None], latents, 0.0)
        codes = np.asarray(assign(safe, self.prepared).codes)
        radius = np.asarray(stability_radius(safe, self.prepared, codes))
        decided = known & (error < radius)
        margin = np.zeros(len(codes))
        margin[decided] = _less(radius[decided], error[decided])
        return Decision(np.where(decided, codes, -1), margin, decided)

    def decide_exact(self, numbers: Numbers, latents: np.ndarray) -> Decision:
        """Decide the tokens of which exact numbers leave no doubt.

        Args:
            numbers: the arithmetic, which the caller has set to work.
            latents: (N, D) of its numbers.

        Returns:
            The decision.
        """
        near, error = nearby(numbers, latents)
        pairs = zip(latents, near, error, strict=True)
        codes = np.array([self._code(numbers, *each) for each in pairs], np.int64)
        decided = codes >= 0
        known = decided & np.isfinite(error)
        margin = np.zeros(len(codes))
        radius = np.asarray(stability_radius(near[known], self.prepared, codes[known]))
        margin[known] = _less(radius, error[known])
        return Decision(codes, margin, decided)

    def _code(
        self, numbers: Numbers, latent: np.ndarray, near: Float64[np.ndarray, " D"], error: float
    ) -> int:
        """Return the lowest nearest code of a latent, or -1 if that is uncertain."""
        candidates = self._candidates(near, error)
        rows = ([numbers.number(float(each)) for each in self.rows[code]] for code in candidates)
        distances = [_relative_distance(latent, row) for row in rows]
        best = certain_least(distances)
        return -1 if best is None else int(candidates[best])

    def _candidates(self, near: Float64[np.ndarray, " D"], error: float) -> np.ndarray:
        """Return, in order, distinct codes among which is every nearest one.

        A code farther from `near` than the nearest one by more than twice the error is not nearest
        to the latent (triangle inequality).
        """
        rows = self.rows[self.distinct]
        if not np.isfinite(error):
            return self.distinct
        with np.errstate(over="ignore", invalid="ignore"):
            squares = ((near - rows) ** 2).sum(axis=1)
            dim = rows.shape[1]
            most = np.sqrt(bounds.sqdist_upper(squares, dim).min()) + 2.0 * error
            least = np.sqrt(np.maximum(bounds.sqdist_lower(squares, dim), 0.0))
            kept = ~(least > most * (1.0 + bounds.gamma(8)))  # NaN stays
        return self.distinct[kept]


def certain_least(values: list[Any]) -> int | None:
    """Return the place of the first least number, or None if that is uncertain."""
    best = 0
    for place, value in enumerate(values):
        if value < values[best]:
            best = place
    for place, value in enumerate(values):
        lead = values[best] < value if place < best else values[best] <= value
        if place != best and not lead:
            return None
    return best


def _less(radius: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Return what is left of a radius, rounded down; with one code vector it is infinite."""
    left = radius - error
    return np.where(np.isinf(left), left, np.maximum(np.nextafter(left, -np.inf), 0.0))


def nearby(numbers: Numbers, latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return latents in float64, finite, and bounds on their distances from the exact ones."""
    shape = (*latents.shape, 2)
    pairs = np.array([numbers.nearby(each) for each in latents.flat]).reshape(shape)
    near, off = pairs[..., 0], pairs[..., 1]
    with np.errstate(over="ignore", invalid="ignore"):
        squares = (off**2).sum(axis=1) + bounds.underflow_radius(latents.shape[1])
        error = np.sqrt(squares) * (1.0 + bounds.gamma(latents.shape[1] + 8))
    known = np.isfinite(near).all(axis=1) & np.isfinite(error)
    return np.where(known[:, None], near, 0.0), np.where(known, error, np.inf)


def _relative_distance(latent: np.ndarray, row: list[Any]) -> Any:
    """Return ``|z - c|^2 - |z|^2``."""
    terms = ((number - 2 * entry) * number for entry, number in zip(latent, row, strict=True))
    return sum(terms, start=row[0] * 0)
