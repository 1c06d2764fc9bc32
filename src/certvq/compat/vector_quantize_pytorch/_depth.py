"""The original's random number of levels, from its seed.

In: a seed or none. Out: how many levels are used, the same on all processes that share what the
levels learn. Must not know of quantizers.
"""

import random
from collections.abc import Sequence

import torch

from certvq.errors import OptionError
from certvq.nn._torch.distributed import Peers

_SEEDS = 10_000


def draw_seed(device: torch.device, peers: Sequence[Peers] = (), most: int = _SEEDS) -> int:
    """Draw a seed, the same on all of the given processes, from torch's default generator."""
    drawn = torch.randint(0, most, (), device=device)
    for group in peers:
        group.add(drawn)
    return int(drawn)


class Depth:
    """How many levels a training step uses, drawn as the original draws it.

    Args:
        levels: how many there are.
        dropout: whether levels are dropped at all.
        cutoff: place of the last level that is always used.
        multiple_of: depths are multiples of this, or all levels.

    Raises:
        OptionError: an option out of its range.
    """

    def __init__(self, levels: int, *, dropout: bool, cutoff: int, multiple_of: int) -> None:
        if not 0 <= cutoff < levels:
            text = f"quantize_dropout_cutoff_index must lie in range({levels}), got {cutoff}"
            raise OptionError(text)
        self.levels = levels
        self.dropout = dropout and levels > 1
        self.cutoff = cutoff
        self.multiple_of = multiple_of

    def draw(
        self,
        seed: int | None,
        device: torch.device,
        *,
        training: bool,
        peers: Sequence[Peers] = (),
    ) -> int:
        """Return how many levels are used, the same number on all of the given processes."""
        if not (training and self.dropout):
            return self.levels
        chosen = draw_seed(device, peers) if seed is None else seed
        last = random.Random(chosen).randrange(self.cutoff, self.levels)  # noqa: S311 (no secret)
        whole = -(-(last + 1) // self.multiple_of) * self.multiple_of
        return min(self.levels, whole)
