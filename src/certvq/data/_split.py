"""Split photographs into those to learn from and those that are held out.

In: photographs. Out: two lists that share no photograph and no picture. Must not import torch.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from certvq.data._photograph import Photograph, files_of, require_usable, together
from certvq.errors import DataError, OptionError


@dataclass(frozen=True)
class Split:
    """Photographs by use, each list in the order in which they were given.

    Args:
        train: to learn from.
        validation: held out, never trained on.
    """

    train: list[Photograph]
    validation: list[Photograph]


def split_by_photograph(
    photographs: Sequence[Photograph], *, heldout: int | Sequence[str], seed: int = 0
) -> Split:
    """Hold out some photographs as a whole.

    A number holds out the photographs whose SHA-256 of seed and key comes first. So the choice does
    not depend on their order, and a new photograph displaces at most one of those held out. Copies
    (the very same pixels) stay together, on the side of the one that comes first; those that are
    more than may be held out are learnt from.

    Args:
        photographs: with unique keys, all of one number of channels.
        heldout: how many to hold out at most, from 1 to one less than all; or the keys of those.
            Fewer are held out where copies must stay together, more only where each has copies.
        seed: any whole number; unused when keys are given.

    Returns:
        The split; both parts hold at least one photograph.

    Raises:
        OptionError: `heldout` is out of its range, a single text, empty, names a key twice or one
            that no photograph has, or leaves none to learn from.
        DataError: no photograph, two of the same key, grey and colour mixed, all of the very same
            pixels, or keys that hold out the very pixels of one to learn from; both are named.

    Example:
        >>> from certvq.data import from_arrays
        >>> import numpy as np
        >>> grey = [np.full((2, 2), level, np.uint8) for level in range(4)]
        >>> split = split_by_photograph(from_arrays(grey), heldout=["2"])
        >>> [p.key for p in split.train], [p.key for p in split.validation]
        (['0', '1', '3'], ['2'])
    """
    keys = [photograph.key for photograph in photographs]
    require_usable(photographs, stride=1)
    chosen = _chosen(photographs, heldout, seed)
    if not 0 < len(chosen) < len(keys):
        raise OptionError(
            f"heldout must leave at least one photograph on either side, got {len(chosen)} of "
            f"{len(keys)}; hold out between 1 and {len(keys) - 1}"
        )
    split = Split(
        [photograph for photograph in photographs if photograph.key not in chosen],
        [photograph for photograph in photographs if photograph.key in chosen],
    )
    _require_unlike(split)
    return split


def _chosen(photographs: Sequence[Photograph], heldout: int | Sequence[str], seed: int) -> set[str]:
    keys = [photograph.key for photograph in photographs]
    if isinstance(heldout, int):
        if not 0 < heldout < len(keys):
            return set(keys[: max(heldout, 0)])  # refused by the caller
        return _first(photographs, heldout, seed)
    if isinstance(heldout, str):
        raise OptionError(f"heldout must be a number or a list of keys, got the text {heldout!r}")
    chosen = set(heldout)
    if unknown := sorted(chosen.difference(keys)):
        raise OptionError(
            f"heldout names {unknown[0]!r}, which no photograph has; the keys are "
            f"{', '.join(keys[:20])}{', ...' if len(keys) > 20 else ''}"
        )
    if len(chosen) < len(heldout):
        raise OptionError(f"heldout names a key twice: {list(heldout)}")
    return chosen


def _first(photographs: Sequence[Photograph], count: int, seed: int) -> set[str]:
    """Choose the first keys by rank, as many as fit, with all copies of each."""
    copies: dict[tuple[tuple[int, ...], bytes], list[str]] = {}
    for photograph in photographs:
        copies.setdefault(_digest(photograph), []).append(photograph.key)
    groups = sorted(copies.values(), key=lambda keys: min(_rank(seed, key) for key in keys))
    if len(groups) < 2:
        raise DataError(
            f"all {len(photographs)} photographs have the very same pixels, and at least two "
            "different ones are needed: one to learn from and one held out"
        )
    chosen: set[str] = set()
    for keys in groups:
        if len(chosen) + len(keys) <= count:
            chosen.update(keys)
    return chosen or set(min(groups, key=len))


def _rank(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}:{key}".encode()).digest()


def _require_unlike(split: Split) -> None:
    learnt = {_digest(photograph): photograph for photograph in split.train}
    twins = ((one, learnt.get(_digest(one))) for one in split.validation)
    problems = [
        f"{files_of(photograph, twin)}photograph {photograph.key!r} is held out, but "
        f"{twin.key!r} to learn from has the very same pixels; remove one of them"
        for photograph, twin in twins
        if twin is not None
    ]
    if problems:
        raise DataError(together(problems))


def _digest(photograph: Photograph) -> tuple[tuple[int, ...], bytes]:
    return photograph.pixels.shape, hashlib.sha256(photograph.pixels.data).digest()
