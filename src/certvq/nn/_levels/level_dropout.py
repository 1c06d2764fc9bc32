"""How many levels a residual quantizer uses in a training step.

In: the number of levels and a generator. Out: a depth, the same on all processes that share what
the levels learn. Must not know of latents.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from certvq.errors import OptionError, TransformError
from certvq.nn._core.options import checked
from certvq.nn._torch import random as _random
from certvq.nn._torch.distributed import Peers
from certvq.nn._torch.modes import is_batched, transforming


@checked
@dataclass(frozen=True)
class LevelDropout:
    """Use only the first levels in train mode, a random number of them.

    The depth is uniform between `min_levels` and the number of levels, then rounded up to a
    multiple of `multiple_of`, and the same for all tokens of a batch. So the first codes alone
    learn to describe the latents, and `decode` takes as many levels as one can pay for.

    Attributes:
        min_levels: the fewest levels, >= 1.
        multiple_of: depths are multiples of this, or all levels; >= 1.
        probability: of dropping levels at all, in [0, 1].

    Raises:
        OptionError: an option out of its range.

    References:
        Zeghidour et al., "SoundStream", 2021, section III.C (quantizer dropout).
    """

    min_levels: int = 1
    multiple_of: int = 1
    probability: float = 1.0

    def __post_init__(self) -> None:
        for name in ("min_levels", "multiple_of"):
            if getattr(self, name) < 1:
                text = f"LevelDropout {name} must be at least 1, got {getattr(self, name)}"
                raise OptionError(text)
        if not 0.0 <= self.probability <= 1.0:
            text = f"LevelDropout probability must lie in [0, 1], got {self.probability}"
            raise OptionError(text)

    def depth(
        self,
        levels: int,
        generator: torch.Generator | None,
        device: torch.device | None = None,
        *,
        peers: Sequence[Peers] = (),
    ) -> int:
        """Draw how many levels are used.

        Args:
            levels: how many there are, >= `min_levels`.
            generator: source of the random choice.
            device: where processes exchange it; None is the CPU.
            peers: the processes that have to draw the same number, as their levels share what they
                learn.

        Raises:
            TransformError: under `torch.func.vmap` with ``randomness="different"``.

        Example:
            >>> generator = torch.Generator().manual_seed(0)
            >>> {LevelDropout(min_levels=3).depth(4, generator) for _ in range(20)}
            {3, 4}
        """
        where = device or torch.device("cpu")
        drop = _random.uniform(1, generator, where) < self.probability
        drawn = self.min_levels + _random.integers(
            levels - self.min_levels + 1, 1, generator, where
        )
        depth = torch.where(drop, drawn, levels)
        if transforming() and is_batched(depth):
            text = (
                "LevelDropout draws how many levels are used, one number for all samples of "
                'torch.func.vmap, got randomness="different"; use "same"'
            )
            raise TransformError(text)
        for group in peers:
            group.copy_from_first([depth])
        whole = -(-int(depth) // self.multiple_of) * self.multiple_of
        return min(levels, whole)


def require_min_levels(dropout: LevelDropout | None, levels: int) -> None:
    """Refuse a dropout that keeps more levels than there are.

    Raises:
        OptionError: it does.
    """
    if dropout is not None and dropout.min_levels > levels:
        text = (
            f"LevelDropout min_levels must be at most the number of levels, {levels}, got "
            f"{dropout.min_levels}"
        )
        raise OptionError(text)
