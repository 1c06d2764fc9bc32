"""The rows to cluster, block by block: an array, a memory map, or batches that can be read again.

In: what the user gave. Out: blocks of rows, in the library that they came in, as often as they are
asked for. Memory beside the data is one block. Must not know of cells.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeAlias

import numpy as np

from certvq._types import Array, Float, Float64, Float64Array, Int64Array, Lists
from certvq.assign._arrays import as_array, dtype_name, is_torch, rows_of, sender, to_host
from certvq.assign._validate import require_matrix
from certvq.errors import DataError, DTypeError, NonFiniteError, OptionError, ShapeError

Batches: TypeAlias = Iterable[Any] | Callable[[], Iterable[Any]]
BLOCK: Final = 1 << 22
"""Numbers of a block, which is a view where it can be: large enough that starting threads for each
costs nothing, small enough beside the data."""


class Source(ABC):
    """Rows that can be read again and again.

    Attributes:
        dim: D.
        number: name of the type of number.
    """

    dim: int
    number: str

    @abstractmethod
    def blocks(self) -> Iterator[tuple[int, Array]]:
        """Yield the number of a block's first row, and the block (n, D), in any library."""

    @abstractmethod
    def like(self) -> Array:
        """Return an array whose library and device results shall have."""

    @abstractmethod
    def rows(self, numbers: Int64Array) -> Float64Array:
        """Return some rows as exact float64 (n, D), in the order asked for."""

    def weights(self) -> Float64Array | None:
        """Return what the rows weigh, where the data say so themselves."""
        return None

    def look(self, wrap: "Callable[[Source], Source] | None" = None) -> Callable[..., Any] | None:
        """Return what makes a `Pass` over rows that lie elsewhere; None for rows that are read.

        Args:
            wrap: what becomes of these rows before they are looked at.
        """
        del wrap
        return None

    def host_blocks(self, block: int) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the rows of blocks of at most so many numbers, as NumPy arrays that hold them."""
        step = max(1, block // self.dim)
        for first, rows in self.blocks():
            for start in range(0, len(rows), step):
                part = to_host(rows[start : start + step])
                yield slice(first + start, first + start + len(part)), part


Data: TypeAlias = Float[Array, "N D"] | Lists | Batches | Source
"""What `kmeans` takes; what these names leave open it refuses itself."""


class ArraySource(Source):
    """Rows of one array, which is not copied."""

    def __init__(self, array: Array) -> None:
        self._array: Final = array
        self.dim = int(array.shape[1])
        self.number = dtype_name(array)

    def blocks(self) -> Iterator[tuple[int, Array]]:
        """Yield views."""
        step = max(1, BLOCK // self.dim)
        for start in range(0, len(self._array), step):
            yield start, self._array[start : start + step]

    def like(self) -> Array:
        """Return the array."""
        return self._array

    def rows(self, numbers: Int64Array) -> Float64Array:
        """Index the array."""
        return rows_of(self._array, numbers).astype(np.float64)


class HeldSource(Source):
    """Rows that were computed, as exact numbers of a NumPy type that may be wider than their own.

    Args:
        held: (N, D).
        number: name of their type.
        like: what `like` returns.
    """

    def __init__(self, held: np.ndarray, number: str, like: Array) -> None:
        self._held, self._like = held, like
        self.dim, self.number = held.shape[1], number

    def blocks(self) -> Iterator[tuple[int, Array]]:
        """Yield views."""
        yield from ArraySource(self._held).blocks()

    def like(self) -> Array:
        """Return what was given."""
        return self._like

    def rows(self, numbers: Int64Array) -> Float64Array:
        """Index the array."""
        return self._held[numbers].astype(np.float64)


class BatchSource(Source):
    """Rows of batches; every pass is compared with the first one, byte for byte.

    Attributes:
        digest: SHA-256 of the numbers of the first complete pass, "" before it.
    """

    def __init__(self, batches: Batches) -> None:
        self._batches: Final = batches
        self._first = next(iter(self._again()), None)
        if self._first is None:
            raise ShapeError("data must have at least one batch, got an iterable without any")
        first = self._read(self._first, 0)
        self.dim, self.number = int(first.shape[1]), dtype_name(first)
        self.digest = ""
        self._count = 0

    def _again(self) -> Iterable[Any]:
        again: Any = self._batches() if callable(self._batches) else self._batches
        if not hasattr(again, "__iter__"):
            text = (
                f"data must be a function that returns an iterator of batches, it returned "
                f"{type(again).__name__}"
            )
            raise DataError(text)
        return again

    @staticmethod
    def _read(batch: Any, place: int) -> Array:
        array = as_array(batch)
        require_matrix(array, f"batch {place} of the data")
        return array if hasattr(array, "__len__") else to_host(array)

    def blocks(self) -> Iterator[tuple[int, Array]]:
        """Yield the batches.

        Raises:
            ShapeError: a batch of another width.
            DTypeError: a batch of another type.
            DataError: this pass gave other rows than the first.
        """
        digest, count = hashlib.sha256(), 0
        for place, batch in enumerate(self._again()):
            array = self._read(batch, place)
            self._require_same_kind(array, place)
            for start in range(0, len(array), max(1, BLOCK // self.dim)):
                part = array[start : start + max(1, BLOCK // self.dim)]
                digest.update(np.ascontiguousarray(to_host(part)).data)
                yield count + start, part
            count += len(array)
        self._require_same_rows(digest.hexdigest(), count)

    def _require_same_kind(self, array: Array, place: int) -> None:
        if array.shape[1] != self.dim:
            text = (
                f"all batches must have {self.dim} columns like batch 0, batch {place} has shape "
                f"{tuple(array.shape)}"
            )
            raise ShapeError(text)
        if dtype_name(array) != self.number:
            text = (
                f"all batches must be {self.number} like batch 0, batch {place} is "
                f"{dtype_name(array)}; convert them to one type"
            )
            raise DTypeError(text)

    def _require_same_rows(self, digest: str, count: int) -> None:
        if not self.digest:
            self.digest, self._count = digest, count
        elif digest != self.digest:
            text = (
                "data must give the same rows in every pass, "
                f"the first had {self._count} rows with SHA-256 {self.digest[:16]}..., a later one "
                f"{count} rows with {digest[:16]}...; give data that are not shuffled, augmented "
                "or used up by reading"
            )
            raise DataError(text)

    def like(self) -> Array:
        """Return the first batch."""
        return as_array(self._first)

    def rows(self, numbers: Int64Array) -> Float64Array:
        """Read all batches once and pick the rows."""
        found = np.empty((len(numbers), self.dim))
        order = np.argsort(numbers, kind="stable")
        wanted = numbers[order]
        for first, block in self.blocks():
            low, high = np.searchsorted(wanted, (first, first + len(block)))
            if low < high:
                found[order[low:high]] = rows_of(block, wanted[low:high] - first)
        return found


def open_source(data: Data) -> Source:
    """Make a source of what the user gave.

    Raises:
        ShapeError: not a matrix, no row, no column, or no batch.
        DTypeError: numbers that are not floats.
        DataError: an iterator, which can be read only once.
    """
    if isinstance(data, Source):
        return data
    if _are_batches(data):
        if not callable(data) and iter(data) is data:
            text = (
                f"data must be readable several times, got an iterator ({type(data).__name__}), "
                "which is used up by the first pass; give a list of batches, an object whose "
                "__iter__ starts again, or the function that makes the iterator"
            )
            raise DataError(text)
        return BatchSource(data)  # pyright: ignore[reportArgumentType]
    array = as_array(data)
    require_matrix(array, "data")
    if not hasattr(array, "__len__"):  # all that the array API standard does not ask for
        return HeldSource(to_host(array), dtype_name(array), like=array)
    return ArraySource(array.detach() if is_torch(array) else array)


def _are_batches(data: Data) -> bool:
    if hasattr(data, "shape"):
        return False
    if isinstance(data, list | tuple):
        return bool(data) and len(getattr(data[0], "shape", ())) == 2
    return callable(data) or hasattr(data, "__iter__")


def require_finite_rows(rows: np.ndarray, first: int) -> None:
    """Require finite numbers of a block whose first row has the number `first`.

    Raises:
        NonFiniteError: NaN or infinity; names row and column.
    """
    finite = np.isfinite(rows)
    if finite.all():
        return
    row, column = (int(i) for i in np.argwhere(~finite)[0])
    text = (
        f"data must be finite, got {float(rows[row, column])} at row {first + row}, column "
        f"{column}; find where it arises before clustering"
    )
    raise NonFiniteError(text)


def read_weights(weights: Array | None, rows: int) -> Float64[Float64Array, " N"] | None:
    """Read weights of rows.

    Args:
        weights: (N,) floats or integers of any library, None where each row counts 1.
        rows: N.

    Returns:
        float64 (N,).

    Raises:
        ShapeError: not one weight for each row.
        DTypeError: not numbers, or integers that float64 does not hold.
        NonFiniteError: NaN or infinity; names the row.
        DataError: a negative weight, or none that is positive; names the row.
    """
    if weights is None:
        return None
    given = to_host(as_array(weights))
    if given.shape != (rows,):
        text = f"weights must have shape ({rows},), one for each row of the data, got {given.shape}"
        raise ShapeError(text)
    if given.dtype.kind not in "fiu":
        text = f"weights must be floats or integers, got {given.dtype}; convert them"
        raise DTypeError(text)
    host = given.astype(np.float64)
    if given.dtype.kind in "iu" and (host.astype(given.dtype) != given).any():
        text = f"weights must be whole numbers that float64 holds, got {given.dtype} above 2**53"
        raise DTypeError(text)
    bad = np.flatnonzero(~np.isfinite(host))
    if bad.size:
        text = f"weights must be finite, got {host[bad[0]]} at row {bad[0]}; remove such rows"
        raise NonFiniteError(text)
    bad = np.flatnonzero(host < 0)
    if bad.size:
        text = f"weights must be at least 0, got {host[bad[0]]} at row {bad[0]}"
        raise DataError(text)
    if not host.any():
        text = f"weights must be positive for at least one row, all {rows} are zero"
        raise DataError(text)
    return host + 0.0


def weights_of(source: Source, weights: Array | None) -> Array | None:
    """Choose between the weights that the caller gave and those of the data.

    Raises:
        OptionError: both are there, and differ.
    """
    own = source.weights()
    if own is None or weights is None:
        return weights if own is None else own
    if not np.array_equal(to_host(as_array(weights)), own):
        text = (
            "weights must be None for data that have weights of their own, got others; "
            "give them in one place"
        )
        raise OptionError(text)
    return own


def returned(host: np.ndarray, number: str, like: Array) -> Array:
    """Send an array to the library and device of another, with the named type of number."""
    sent = sender(like)(np.ascontiguousarray(host))
    if number != "bfloat16" or dtype_name(sent) == number:
        return sent
    if is_torch(sent):
        import torch

        return sent.to(torch.bfloat16)
    return sent.astype(like.dtype)
