"""What a filter hands to the engine.

In: nothing. Out: the protocol that NumPy's and torch's filters implement, and its result. Must not
import filters.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from certvq._types import Array, Float, Float64, Float64Array, Int64, Int64Array
from certvq.assign._exact import Pairs


@dataclass(frozen=True)
class Filtered:
    """Outcome of a filter for a block of latents.

    Attributes:
        codes: int64 (B,), indices into the distinct code vectors; final except at `open_rows`.
        open_rows: int64 (M,), rows of the block that the radius could not decide.
        latents: float64 (M, D), their exact numbers on the host.
        pairs: their candidates, which hold every nearest code.
    """

    codes: Int64[Int64Array, " B"]
    open_rows: Int64[Int64Array, " M"]
    latents: Float64[Float64Array, "M D"]
    pairs: Pairs


def joined(first: Filtered, second: Filtered) -> Filtered:
    """Return what a filter says of a block, of whose halves it spoke one after the other."""
    rows, opened = len(first.codes), len(first.open_rows)
    return Filtered(
        np.concatenate([first.codes, second.codes]),
        np.concatenate([first.open_rows, second.open_rows + rows]),
        np.concatenate([first.latents, second.latents]),
        Pairs(
            np.concatenate([first.pairs.rows, second.pairs.rows + opened]),
            np.concatenate([first.pairs.codes, second.pairs.codes]),
        ),
    )


class Filter(Protocol):
    """Scores of blocks of latents against one codebook, with a rigorous radius."""

    parallel: bool
    """Whether blocks may run on several threads at once."""

    def block_rows(self) -> int:
        """Return how many latents a block should have."""
        ...

    def run(
        self, latents: Float[Array, "B D"], besides: Int64[Int64Array, " B"] | None = None
    ) -> Filtered:
        """Decide the rows of a block (B, D) that lead by more than twice the radius.

        With `besides`, int64 (B,), one distinct code vector of at least two is left out of each
        row, as if the codebook did not have it.
        """
        ...
