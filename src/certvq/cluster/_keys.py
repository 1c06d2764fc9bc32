"""Random numbers that depend on a seed and on the numbers of a row, never on where it stands.

In: rows. Out: a key of 64 bits for each, equal for equal rows; random integers from a seed. Keys
put the rows into an order that shuffling them does not change, and a draw names a place in it.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from certvq._types import Int64Array
from certvq.cluster._source import Source

Keys = NDArray[np.uint64]

_GOLDEN: Final = 0x9E3779B97F4A7C15
_MASK: Final = (1 << 64) - 1
_BLOCK: Final = 1 << 16
_MOST_SALTS: Final = 64


def mixed(values: Keys) -> Keys:
    """Scramble 64-bit integers one to one (the finalizer of SplitMix64).

    References:
        Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
    """
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def row_keys(rows: np.ndarray, salt: int) -> Keys:
    """Hash the numbers of each row.

    Args:
        rows: (N, D) floats; 0.0 and -0.0 are the same number.
        salt: another one gives other keys.

    Returns:
        uint64 (N,), the same for every float type that holds the numbers.
    """
    bits = (rows.astype(np.float64) + 0.0).view(np.uint64)
    places = np.arange(1, rows.shape[1] + 1, dtype=np.uint64) + np.uint64(salt << 32)
    columns = mixed(places * np.uint64(_GOLDEN))
    return mixed(mixed(bits ^ columns).sum(axis=1, dtype=np.uint64) + columns[0])


def keys_of(source: Source, count: int) -> Keys:
    """Give each row a key: equal rows the same, other rows another.

    Args:
        source: the rows.
        count: N.

    Returns:
        uint64 (N,). Two different rows with one key are very rare, but are looked for, and then all
        keys are made anew with the next salt: keys are a function of the set of rows alone.

    Cost: a pass, and the comparison of rows that are equal.
    """
    for salt in range(_MOST_SALTS):
        keys = np.empty(count, dtype=np.uint64)
        for part, rows in source.host_blocks(_BLOCK):
            keys[part] = row_keys(rows, salt)
        if _tell_apart(source, keys):
            return keys
    raise AssertionError("64 hashes of 64 bits collide")


def _tell_apart(source: Source, keys: Keys) -> bool:
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    step = max(1, (1 << 20) // source.dim)
    for start in range(0, len(same), step):
        part = same[start : start + step]
        pairs = source.rows(np.concatenate([order[part], order[part + 1]]))
        if not np.array_equal(pairs[: len(part)], pairs[len(part) :]):
            return False
    return True


class Draws:
    """A stream of random integers from a seed: the raw output of NumPy's Philox, which is stable.

    Args:
        seed: in ``range(2**128)``, the key of the generator.
        stream: draws of other streams are independent.

    References:
        Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011.
    """

    def __init__(self, seed: int, stream: int) -> None:
        self._bits = np.random.Philox(key=seed, counter=[0, 0, 0, stream])

    def below(self, bound: int, count: int) -> Int64Array:
        """Draw integers of ``range(bound)``, bound at most 2**62; biased by less than 2**-60."""
        raw = self._bits.random_raw(2 * count).tolist()
        wide = (high << 64 | low for high, low in zip(raw[::2], raw[1::2], strict=True))
        return np.array([number * bound >> 128 for number in wide], dtype=np.int64)


def priorities(keys: Keys, seed: int, stream: int) -> Keys:
    """Return a random 64-bit number for each key, one to one for a seed and a stream."""
    raw = np.random.Philox(key=seed, counter=[0, 0, 1, stream]).random_raw(2)
    return mixed(mixed(keys ^ raw[0]) + raw[1])
