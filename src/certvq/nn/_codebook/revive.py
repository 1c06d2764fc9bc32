"""New life for codes that no token chooses.

In: running counts and the tokens of a batch. Out: which codes to replace, and by which tokens.
Must not touch a module's state.
"""

from dataclasses import dataclass

import torch

from certvq.errors import OptionError
from certvq.nn._core import random as _random


@dataclass(frozen=True)
class Revive:
    """Replace codes that are chosen too rarely by random tokens of the training batch.

    Attributes:
        threshold: a code is dead while its running count is below this share of the mean count of
            all codes; in [0, 1). 0 revives nothing.

    Raises:
        OptionError: `threshold` out of range.

    References:
        Dhariwal et al., "Jukebox", 2020, section 3 (random restarts).
    """

    threshold: float = 0.1

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold < 1.0:
            text = f"Revive threshold must lie in [0, 1), got {self.threshold}"
            raise OptionError(text)


def dead_codes(counts: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return the codes whose count is below a share of the mean count.

    Args:
        counts: (K,) running counts.
        threshold: the share.

    Returns:
        (M,) int64, increasing.

    Example:
        >>> dead_codes(torch.tensor([4.0, 0.1, 3.0, 0.9]), 0.5)
        tensor([1, 3])
    """
    return torch.nonzero(counts < threshold * counts.mean()).squeeze(1)


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
