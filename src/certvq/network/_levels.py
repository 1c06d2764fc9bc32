"""The codebooks of a token: one, levels of a residual quantizer, or several of these side by side.

In: latents with bounds, or exact numbers. Out: a decision for each level. Each level gets what the
real network leaves over: the exact residual, or the computed one with the error of the first latent
and of each subtraction (`residual_level_error_le`). A level is looked at only after all before it
are decided. Must not know networks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from certvq._types import Float64
from certvq.bounds import UNIT_ROUNDOFF, gamma
from certvq.errors import OptionError
from certvq.network._bounded import Bounded, entry_errors
from certvq.network._bounds import (
    FLOOR,
    absolute_norm_upper,
    enlargement,
    norm_upper,
    spectral_norm_upper,
)
from certvq.network._decide import Decision
from certvq.network._numbers import Numbers


class Codebook(Protocol):
    """What decides one level."""

    rows: Float64[np.ndarray, "K D"]

    def decide_bounded(
        self, latents: Float64[np.ndarray, "N D"], error: Float64[np.ndarray, " N"]
    ) -> Decision:
        """Decide the tokens whose error leaves no doubt."""
        ...

    def decide_exact(self, numbers: Numbers, latents: np.ndarray) -> Decision:
        """Decide the tokens of which exact numbers leave no doubt."""
        ...


class Affine:
    """``W x + b`` for rows x.

    Args:
        weight: (out, in), with bounds on its errors.
        bias: (out,) float64, exact, or None.
        exactly: makes W of exact numbers; None where `weight` is exact.
    """

    def __init__(
        self,
        weight: Bounded,
        bias: np.ndarray | None,
        exactly: Callable[[Numbers], np.ndarray] | None = None,
    ) -> None:
        self._weight, self._exactly = weight.value.numpy(), exactly
        self._bias = np.zeros(len(self._weight)) if bias is None else bias
        matrix = weight.value[None]
        self._norm, self._size, self._off = (
            float(spectral_norm_upper(matrix)),
            float(absolute_norm_upper(matrix)),
            float(norm_upper(entry_errors(weight), (0, 1))) if exactly else 0.0,
        )

    @property
    def rational(self) -> bool:
        """Whether W is rational, so that rational numbers stay rational."""
        return self._exactly is None

    def bounded(self, rows: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return values (N, out), and bounds (N,) of their errors (`taps_error_le`)."""
        value = rows @ self._weight.T + self._bias
        sizes = _norms(rows)
        rounding = self._size * sizes + _norms(self._bias[None])
        spread = (self._norm + self._off) * error + self._off * sizes
        spread = spread + gamma(self._weight.shape[1] + 3) * rounding
        return value, spread * enlargement(8) + FLOOR

    def exact(self, numbers: Numbers, rows: np.ndarray) -> np.ndarray:
        """Return values (N, out) of exact numbers."""
        bias = numbers.array(self._bias, np.ones(self._bias.shape, bool))
        if self._exactly is not None:
            return numbers.matmul(rows, self._exactly(numbers).T) + bias
        weight = numbers.array(self._weight, np.ones(self._weight.shape, bool))
        return numbers.matmul(rows, weight.T) + bias


@dataclass(frozen=True)
class Level:
    """One codebook, and what is done around it.

    Attributes:
        codebook: which decides.
        inward: makes of a residual what is compared with the code vectors; None is the identity.
        outward: makes of a code vector what is taken from the residual; None is the identity.
    """

    codebook: Codebook
    inward: Affine | None = None
    outward: Affine | None = None


class Levels:
    """All levels of a token.

    Args:
        chains: levels that follow each other, and the channels of the latents that they start from.
    """

    def __init__(self, chains: list[tuple[slice, list[Level]]]) -> None:
        self.chains = chains
        self.count = sum(len(levels) for _, levels in chains)

    @property
    def rational(self) -> bool:
        """Whether rational latents have rational residuals."""
        maps = (
            each
            for _, levels in self.chains
            for level in levels
            for each in (level.inward, level.outward)
        )
        return all(each is None or each.rational for each in maps)

    def first(self, count: int) -> "Levels":
        """Return the first levels alone, those of the first codes of a token.

        Raises:
            OptionError: there are not as many.
        """
        if not 1 <= count <= self.count:
            text = f"levels must be from 1 to {self.count} for this model, got {count}"
            raise OptionError(text)
        kept: list[tuple[slice, list[Level]]] = []
        for channels, levels in self.chains:
            kept.append((channels, levels[:count]))
            count -= len(kept[-1][1])
        return Levels([each for each in kept if each[1]])

    def decide_bounded(
        self, latents: Float64[np.ndarray, "N D"], error: Float64[np.ndarray, " N"]
    ) -> Decision:
        """Decide each level as long as all before it in its chain are decided.

        Args:
            latents: as computed, of any number.
            error: bounds on their distances from the real ones, of any number.

        Returns:
            The decision, each array (N, levels).
        """
        found: list[Decision] = []
        for channels, levels in self.chains:
            residual, off = latents[:, channels], error
            for level in levels:
                given = (residual, off)
                compared = given if level.inward is None else level.inward.bounded(*given)
                found.append(level.codebook.decide_bounded(*compared))
                vectors, own = _taken(level, found[-1].codes)
                with np.errstate(over="ignore", invalid="ignore"):
                    residual = residual - vectors
                    off = (off + own + UNIT_ROUNDOFF * _norms(residual)) * enlargement(4) + FLOOR
                off = np.where(found[-1].decided, off, np.inf)
        return _joined(found)

    def decide_exact(self, numbers: Numbers, latents: np.ndarray) -> Decision:
        """Decide each level of exact numbers likewise.

        Args:
            numbers: the arithmetic, which the caller has set to work.
            latents: (N, D) of its numbers.

        Returns:
            The decision, each array (N, levels).
        """
        found: list[Decision] = []
        for channels, levels in self.chains:
            residual, left = latents[:, channels], np.arange(len(latents))
            for level in levels:
                if not len(left):
                    found.append(_spread(_NONE, left, len(latents)))
                    continue
                inward = level.inward
                compared = residual if inward is None else inward.exact(numbers, residual)
                part = level.codebook.decide_exact(numbers, compared)
                found.append(_spread(part, left, len(latents)))
                kept = part.decided
                left, residual = left[kept], residual[kept]
                residual = residual - _exactly_taken(numbers, level, part.codes[kept])
        return _joined(found)


_NONE = Decision(np.empty(0, np.int64), np.empty(0), np.empty(0, bool))


def _taken(level: Level, codes: np.ndarray) -> tuple[np.ndarray, Any]:
    """Return what codes take from a residual, and the error of that; -1 takes anything."""
    vectors = level.codebook.rows[codes]
    if level.outward is None:
        return vectors, 0.0
    return level.outward.bounded(vectors, np.zeros(len(vectors)))


def _exactly_taken(numbers: Numbers, level: Level, codes: np.ndarray) -> np.ndarray:
    rows = level.codebook.rows[codes]
    vectors = numbers.array(rows, np.ones(rows.shape, bool))
    if not len(codes):
        return np.empty((0, 1), object)
    return vectors if level.outward is None else level.outward.exact(numbers, vectors)


def _norms(rows: np.ndarray) -> np.ndarray:
    return norm_upper(torch.from_numpy(rows), (1,)).flatten().numpy()


def _spread(part: Decision, tokens: np.ndarray, count: int) -> Decision:
    """Return a decision of some tokens as one of all; the others are not decided."""
    codes, margin = np.full(count, -1, np.int64), np.zeros(count)
    codes[tokens], margin[tokens] = part.codes, part.margin
    return Decision(codes, margin, codes >= 0)


def _joined(found: list[Decision]) -> Decision:
    names = ("codes", "margin", "decided")
    return Decision(*(np.stack([getattr(each, n) for each in found], axis=1) for n in names))
