"""k-means of a Ray Data set: the same bits as in one process.

In: a data set whose rows lie on many machines. Out: `RayRows`, which `certvq.kmeans` takes as data.
Each block is summed where it lies, by `map_batches`; sums are exact, so merging them in any order
gives the same. Ray decides where and when. Must not import torch, nor Ray before it is used.
"""

import logging
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from importlib import import_module
from typing import Any

import numpy as np

from certvq._types import Array, Float64Array, Int64Array
from certvq.cluster._costs import CellCosts
from certvq.cluster._pass import LocalPass, Pass, Tally
from certvq.cluster._source import ArraySource, Source
from certvq.cluster._sums import Grids
from certvq.errors import BackendUnavailableError, CertVQError, DataError, OptionError


class RayRows(Source):
    """The rows of a column of a Ray Data set, as data for `certvq.kmeans`.

    Args:
        dataset: a `ray.data.Dataset` that gives the same rows in the same order whenever it is read
            (no `random_shuffle` without a seed); materialize it if reading it is slow.
        column: of vectors of one length, float64, float32 or float16.
        weights: column of what each row weighs, floats or integers of at least 0; None where each
            row counts 1.

    Raises:
        BackendUnavailableError: Ray Data is not installed.
        OptionError: the data set has no such column.
        DataError: it has no row.

    Guarantee: `certvq.kmeans` gives the bits that it gives for the same rows in an array.
    Cost: each iteration is one `map_batches`, whose results, O(K D) for each block, are merged in
        this process. The first look at the data and a start that is drawn read them through this
        process (``"k-means||"`` 7 times, ``"k-means++"`` K times), as does a pass for the codes at
        the end; this process holds 8 bytes a row for codes, as many for weights, and more while a
        start is drawn.

    Example:
        >>> import ray                                            # doctest: +SKIP
        >>> data = ray.data.read_parquet("s3://latents")          # doctest: +SKIP
        >>> rows = certvq.scale.RayRows(data, "latent")           # doctest: +SKIP
        >>> certvq.kmeans(rows, 4096, start="k-means||")          # doctest: +SKIP
    """

    def __init__(self, dataset: Any, column: str, *, weights: str | None = None) -> None:
        _require_ray_data()
        names = dataset.columns() or []
        for option, name in (("column", column), ("weights", weights)):
            if name not in (*names, None) or (name is None and option == "column"):
                text = f"{option} must be one of {', '.join(map(repr, names))}, got {name!r}"
                raise OptionError(text)
        self.dataset, self.column, self.weighing = dataset, column, weights
        first = next((rows for _, rows in self.blocks()), None)
        if first is None:
            raise DataError("the data set must have at least one row, it has none")
        self._like = first[:1]
        self._weights = None if weights is None else np.concatenate([*self._read(weights)])
        source = ArraySource(self._like)
        self.dim, self.number = source.dim, source.number

    def blocks(self) -> Iterator[tuple[int, Array]]:
        """Yield the blocks, in order."""
        start = 0
        for column in self._read(self.column):
            rows = _matrix(column)
            if len(rows):
                yield start, rows
            start += len(rows)

    def weights(self) -> Float64Array | None:
        """Return the column of weights."""
        return self._weights

    def _read(self, column: str) -> Iterator[np.ndarray]:
        with self.in_order():
            for batch in self.dataset.select_columns([column]).iter_batches(batch_size=None):
                yield batch[column]

    def like(self) -> Array:
        """Return a NumPy array."""
        return self._like

    def rows(self, numbers: Int64Array) -> Float64Array:
        """Read all blocks once and pick the rows."""
        found = np.empty((len(numbers), self.dim))
        for first, block in self.blocks():
            here = (numbers >= first) & (numbers < first + len(block))
            found[here] = block[numbers[here] - first]
        return found

    def look(self, wrap: Callable[[Source], Source] | None = None) -> Callable[..., Pass]:
        """Return the pass that sums blocks where they lie."""
        return lambda _, grids, weights, count: _RayPass(self, _Look(grids, wrap), weights, count)

    @contextmanager
    def in_order(self) -> Iterator[None]:
        """Let Ray give blocks in the order of the data set, and show no bars."""
        context = self.dataset.context  # each data set has its own, which later ones inherit
        options = context.execution_options
        before = options.preserve_order, context.enable_progress_bars
        options.preserve_order, context.enable_progress_bars = True, False
        logging.getLogger("ray.data").setLevel(logging.WARNING)  # not a page for each pass
        try:
            yield
        finally:
            options.preserve_order, context.enable_progress_bars = before


@dataclass(frozen=True)
class _Look:
    """What a worker does with a block."""

    grids: Grids
    wrap: Callable[[Source], Source] | None

    def over(self, rows: np.ndarray, weights: np.ndarray | None) -> LocalPass:
        source: Source = ArraySource(rows)
        source = source if self.wrap is None else self.wrap(source)
        masses = None if weights is None else weights.astype(np.float64) + 0.0
        return LocalPass(source, self.grids, masses, len(rows))


class _RayPass(Pass):
    """A pass over the blocks of a Ray Data set.

    Args:
        rows: the data set.
        look: what is done with a block.
        weights: those of the data set, or None.
        count: N.

    Raises:
        OptionError: weights that the data set does not have.
    """

    def __init__(
        self, rows: RayRows, look: _Look, weights: Float64Array | None, count: int
    ) -> None:
        if weights is not None and rows.weighing is None:
            text = "weights must be None for RayRows, or RayRows(dataset, column, weights=column)"
            raise OptionError(text)
        self._rows, self._look, self._count = rows, look, count
        self._codebook = np.zeros((0, 0))

    def tally(self, codebook: np.ndarray, *, squares: bool) -> Tally:
        """Sum every block where it lies.

        Raises:
            DataError: the data are not those that were measured.
        """
        self._codebook = codebook
        found = reduce(Tally.merge, self._map("tally", codebook, squares=squares))
        if int(found.sums.counts.sum()) != self._count:
            text = (
                f"the data set must give the same rows in every pass, the first had {self._count} "
                f"rows, a later one {int(found.sums.counts.sum())}; materialize it"
            )
            raise DataError(text)
        return found

    def costs(self, codebook: np.ndarray) -> CellCosts:
        """Measure every block where it lies."""
        return reduce(CellCosts.merge, self._map("costs", codebook))

    @property
    def codes(self) -> Int64Array:
        """The codes of the last tally, (N,), by one more pass."""
        return np.concatenate(list(self._map("codes", self._codebook)))

    def _map(self, what: str, codebook: np.ndarray, *, squares: bool = False) -> Iterator[Any]:
        rows = self._rows
        with rows.in_order():
            names = [rows.column, *([] if rows.weighing is None else [rows.weighing])]
            made = rows.dataset.select_columns(names).map_batches(
                _worked,
                batch_size=None,
                fn_kwargs={
                    "column": rows.column,
                    "weighing": rows.weighing,
                    "look": self._look,
                    "what": what,
                    "codebook": codebook,
                    "squares": squares,
                },
            )
            for row in made.iter_rows():
                found = pickle.loads(row["found"])  # noqa: S301 (our own function made it)
                if isinstance(found, Exception):
                    raise found
                yield found


def _worked(
    batch: dict[str, np.ndarray],
    *,
    column: str,
    weighing: str | None,
    look: _Look,
    what: str,
    codebook: np.ndarray,
    squares: bool,
) -> dict[str, list[bytes]]:
    """Look at a block: what a worker runs. Errors of certvq are results: Ray would wrap them."""
    rows = _matrix(batch[column])
    if not len(rows):
        return {"found": []}
    local = look.over(rows, None if weighing is None else batch[weighing])
    try:
        found: Any = local.tally(codebook, squares=squares)
        if what == "costs":
            found = local.costs(codebook)
        elif what == "codes":
            found = local.codes
    except CertVQError as error:
        found = error
    return {"found": [pickle.dumps(found)]}


def _matrix(column: np.ndarray) -> np.ndarray:
    """Return a column as (n, D); Ray gives lists as an array of arrays."""
    if column.dtype != object:
        return column
    return np.stack(list(column)) if len(column) else np.zeros((0, 1))


def _require_ray_data() -> None:
    try:
        import_module("ray.data")
    except ModuleNotFoundError as error:
        text = "certvq.scale needs Ray Data: pip install 'certvq[ray]'"
        raise BackendUnavailableError(text) from error
