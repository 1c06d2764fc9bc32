"""New life for codes that no token chooses.

In: running counts and the tokens of a batch. Out: which codes to replace, and by which tokens.
Must not touch a module's state.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch

from certvq.errors import OptionError
from certvq.nn._codebook.statistics import RunningStatistics
from certvq.nn._core.options import checked
from certvq.nn._torch import random as _random

_REVIVED_SHARE = 0.5
"""Running count of a revived code, in units of the mean count."""


@checked
@dataclass(frozen=True)
class Revive:
    """Replace codes that are chosen too rarely by random tokens of the training batch.

    Attributes:
        threshold: a code is dead while its running count is below this share of the mean count of
            all codes; in [0, 1). 0 revives nothing.
        unit: ``"mean"``, or ``"tokens"``: then the threshold is a number of tokens for each batch,
            finite and at least 0, and a revived code counts as having had so many.

    Raises:
        OptionError: `threshold` or `unit` out of range.

    References:
        Dhariwal et al., "Jukebox", 2020, section 3 (random restarts).
    """

    threshold: float = 0.1
    unit: Literal["mean", "tokens"] = "mean"

    def __post_init__(self) -> None:
        if self.unit not in ("mean", "tokens"):
            text = f"Revive unit must be 'mean' or 'tokens', got {self.unit!r}"
            raise OptionError(text)
        below, end = (1.0, "1") if self.unit == "mean" else (math.inf, "infinity")
        if not 0.0 <= self.threshold < below:
            text = f"Revive threshold must lie in [0, {end}), got {self.threshold}"
            raise OptionError(text)

    def least(self, statistics: RunningStatistics) -> torch.Tensor:
        """Return the running count below which a code is dead, a scalar."""
        scale = statistics.counts.mean() if self.unit == "mean" else statistics.weight
        return scale * self.threshold

    def fresh(self, statistics: RunningStatistics) -> torch.Tensor:
        """Return the running count that a revived code gets, a scalar."""
        if self.unit == "mean":
            return statistics.counts.mean() * _REVIVED_SHARE
        return statistics.weight * self.threshold


def dead_codes(counts: torch.Tensor, least: torch.Tensor | float) -> torch.Tensor:
    """Return the codes whose count is too low.

    Args:
        counts: (K,) running counts.
        least: the count below which a code is dead.

    Returns:
        (M,) int64, increasing.

    Example:
        >>> dead_codes(torch.tensor([4.0, 0.1, 3.0, 0.9]), 1.0)
        tensor([1, 3])
    """
    return torch.nonzero(counts < least).squeeze(1)


def pick_tokens(
    tokens: torch.Tensor, count: int, generator: torch.Generator | None
) -> torch.Tensor:
    """Pick random tokens, each place of the batch at most once.

    Args:
        tokens: (N, D).
        count: how many are wanted.
        generator: source of the random choice.

    Returns:
        (min(count, N), D).
    """
    order = _random.permutation(len(tokens), generator, tokens.device)
    return tokens[order[:count]]
