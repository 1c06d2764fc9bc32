"""The other way to codes: those of a codec's network over the real numbers.

In: a codec, and inputs of one shape as exact numbers. Out: codes and how they were decided; an
input with an open token has none, but a reason. Must not open models.
"""

from dataclasses import dataclass

import numpy as np
import torch

from certvq.errors import CaptureError, OptionError
from certvq.network import Rung
from certvq.tokenize._codecs._codec import Codec

_DECIDED = (Rung.FLOAT64, Rung.WIDER, Rung.EXACT)


@dataclass(frozen=True)
class Found:
    """What is certain of one input.

    Attributes:
        codes: (*grid) int64, or (*grid, codebooks).
        decided_by: how many codes were decided by each of float64, wider and exact.
        reason: why the input has no codes; None where it has.
    """

    codes: np.ndarray
    decided_by: tuple[int, ...]
    reason: str | None


class CanonicalWay:
    """A codec's canonical codes.

    Args:
        codec: with a way to them.

    Raises:
        OptionError: it has none, or takes latents.
    """

    def __init__(self, codec: Codec) -> None:
        if codec.canonical is None:
            text = (
                f"{codec.name}: a codec of this kind ({codec.modality}) has no canonical codes; "
                "leave canonical out, or give a certvq.tokenize.Codec whose `canonical` makes a "
                "certvq.network.CanonicalEncoder of its network"
            )
            raise OptionError(text)
        self._encode, self._books = codec.canonical(), len(codec.codebooks)

    def __call__(self, batch: torch.Tensor) -> list[Found]:
        """Return what is certain of each input of a batch."""
        result = self._encode(batch)
        fields = (result.codes, result.decided_by, result.open)
        if result.codes.ndim == batch.ndim:  # a last axis of levels, of which the first are used
            used = 0 if self._books == 1 else slice(self._books)
            fields = tuple(each[..., used] for each in fields)
        return [_found(*(each[place].numpy() for each in fields)) for place in range(len(batch))]


def is_of_the_model(error: Exception) -> bool:
    """Say whether an error befalls every input: an operator without a rule, say.

    Where the model itself failed for an input of this shape, the error has that as its cause.
    """
    return isinstance(error, CaptureError) and error.__cause__ is None


def _found(codes: np.ndarray, rungs: np.ndarray, still_open: np.ndarray) -> Found:
    counts = tuple(int((rungs == rung).sum()) for rung in _DECIDED)
    left = np.argwhere(still_open)
    return Found(codes, counts, _reason(left, codes.size) if len(left) else None)


def _reason(left: np.ndarray, tokens: int) -> str:
    first = ", ".join(map(str, left[0]))
    return (
        f"{len(left)} of {tokens} tokens are open, the first at ({first}): its canonical code is "
        "not decided within the precision of certvq.canonical_codes; leave the input out, or "
        "encode without canonical"
    )
