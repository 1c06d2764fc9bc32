"""Compare the codes of two runs with the canonical ones.

In: the searches of both runs, and canonical codes of the batch. Out: for each search which tokens
have another code. Must not import `certvq.network`, which is built on this package.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from certvq._types import BoolArray, Int64Array
from certvq.errors import OptionError, ShapeError
from certvq.inspect._stability.record import Place, Run

Canonical: TypeAlias = Callable[[Any], Any]
"""``canonical(batch)`` returns a `certvq.network.CanonicalCodes`, or anything with such `codes`."""


@dataclass(frozen=True, eq=False)
class Marks:
    """Which tokens of one search have another code than the canonical one.

    Attributes:
        first: (N,) in the first run.
        second: (N,) in the second run; all False where there is none.
        open: (N,) whose canonical code is not known; they are in neither.
    """

    first: BoolArray
    second: BoolArray
    open: BoolArray


def require_canonical(canonical: object) -> None:
    """Refuse what cannot be called.

    Raises:
        OptionError: likewise.
    """
    if canonical is not None and not callable(canonical):
        text = (
            "canonical must be a function of a batch that returns its canonical codes, such as "
            f"certvq.network.CanonicalEncoder(model), got {canonical!r}"
        )
        raise OptionError(text)


def marks(found: Any, first: Run, second: Run | None) -> dict[Place, Marks]:
    """Compare the codes of each search with canonical ones.

    Args:
        found: what `Canonical` returned: `codes` (B, *places), or with a last axis for several
            codebooks, whose searches follow one another; -1 for an open token.
        first: searches of the first run.
        second: those of the second with the same tokens; None where there is none.

    Returns:
        The marks of each search.

    Raises:
        ShapeError: there is not one canonical code for each token of each search.
    """
    codes = np.asarray(found.codes.cpu()).astype(np.int64, copy=False)
    tokens = [len(each.codes) for each in first.values()]
    if not tokens or len(set(tokens)) > 1 or codes.size != sum(tokens):
        text = (
            "canonical codes must be those of the tokens that the model's layers search, "
            f"{tokens} in this batch, got {codes.size} of shape {tuple(codes.shape)}; give the "
            "canonical encoder of this very model, and data that it takes"
        )
        raise ShapeError(text)
    columns = codes.reshape(tokens[0], len(tokens))
    return {
        place: _marks(columns[:, number], search.codes, second[place].codes if second else None)
        for number, (place, search) in enumerate(first.items())
    }


def _marks(canonical: Int64Array, first: Int64Array, second: Int64Array | None) -> Marks:
    known = canonical >= 0
    other = np.zeros(len(known), dtype=np.bool_) if second is None else second != canonical
    return Marks(known & (first != canonical), known & other, ~known)
