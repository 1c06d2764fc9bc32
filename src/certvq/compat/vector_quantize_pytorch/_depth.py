"""The original's random number of levels, from its seed.

In: a seed or none. Out: how many levels are used, the same on all processes. Must not know of
quantizers.
"""

import math
import random
from dataclasses import dataclass

import torch

from certvq.errors import OptionError
from certvq.nn._core.distributed import add_over_processes


def shared_seed(device: torch.device) -> int:
    """Draw a seed that all processes have, from torch's default generator."""
    drawn = torch.randint(0, 10_000, (), device=device)
    return int(add_over_processes(drawn))


@dataclass(frozen=True)
class QuantizeDropout:
    """Use the first levels only, a random number of them.

    Attributes:
        levels: how many there are.
        cutoff_index: the last level that is always used.
        multiple_of: numbers of levels are rounded up to a multiple of this.

    Raises:
        OptionError: an option out of its range.
    """

    levels: int
    cutoff_index: int
    multiple_of: int

    def __post_init__(self) -> None:
        if not 0 <= self.cutoff_index < self.levels:
            text = (
                f"quantize_dropout_cutoff_index must lie in range({self.levels}), got "
                f"{self.cutoff_index}"
            )
            raise OptionError(text)
        if self.multiple_of < 1:
            text = f"quantize_dropout_multiple_of must be at least 1, got {self.multiple_of}"
            raise OptionError(text)

    def depth(self, seed: int) -> int:
        """Return how many levels are used."""
        draw = random.Random(seed)  # noqa: S311 (a depth, no secret; the original's sequence)
        last = draw.randrange(self.cutoff_index, self.levels)
        return min(self.levels, math.ceil((last + 1) / self.multiple_of) * self.multiple_of)
