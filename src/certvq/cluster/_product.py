"""Product k-means: a codebook for each group of columns.

In: rows, how many codes and groups. Out: a `ProductKMeansResult`. Each group is a run of
`certvq.kmeans` on its columns, which are not copied.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import fsum
from typing import Literal

import numpy as np

from certvq._types import Array, Float, Float64Array, Int64, Int64Array, Progress, no_progress
from certvq.assign._arrays import to_host
from certvq.cluster._kmeans import kmeans
from certvq.cluster._options import require_count
from certvq.cluster._result import KMeansResult
from certvq.cluster._source import Data, Source, open_source, returned, weights_of
from certvq.cluster._start import TooFewRowsError
from certvq.errors import OptionError, ShapeError


@dataclass(frozen=True)
class ProductKMeansResult:
    """What `product_kmeans` found, for G groups.

    Attributes:
        codebooks: (G, K, D / G), in the library, on the device and of the type of the data.
        codes: int64 (N, G), in the library of the data.
        inertia: the inertias of the groups, added and rounded once.
        groups: `certvq.kmeans` of each group of columns.
    """

    codebooks: Float[Array, "G K W"]
    codes: Int64[Array, "N G"]
    inertia: float
    groups: tuple[KMeansResult, ...]


def product_kmeans(  # noqa: PLR0913 - each is an option of its own, and keyword-only
    data: Data,
    codebook_size: int,
    *,
    groups: int,
    start: Literal["k-means++", "random", "k-means||"] = "k-means++",
    iterations: int = 25,
    tolerance: float = 0.0,
    seed: int = 0,
    weights: Array | None = None,
    progress: Progress | None = None,
) -> ProductKMeansResult:
    """Find the codebooks of a product quantizer.

    Mathematics: group g is ``kmeans(data[:, g W : (g + 1) W], codebook_size)`` with W = D / G.

    Args:
        data: (N, D), as `certvq.kmeans` takes them.
        codebook_size: K, of each group.
        groups: G, a divisor of D.
        start: as for `certvq.kmeans`, in each group.
        iterations: of each group, at most.
        tolerance: of each group.
        seed: of each group.
        weights: (N,) at least 0.
        progress: called as `certvq.kmeans` does, with the group before the stage.

    Returns:
        A `ProductKMeansResult`.

    Raises:
        ShapeError: D is no multiple of `groups`; or as `certvq.kmeans`.
        OptionError: an option out of range, or a group with fewer distinct rows than codes; names
            the group.
        DTypeError, NonFiniteError, DataError: as `certvq.kmeans`.

    Guarantee: that of `certvq.kmeans` for each group.
    Ties: the lowest code.
    Cost: that of `certvq.kmeans` on N D numbers.

    Example:
        >>> import numpy as np
        >>> from certvq.cluster import product_kmeans
        >>> rows = np.array([[0.0, 5.0], [1.0, 9.0], [10.0, 5.0], [11.0, 9.0]])
        >>> found = product_kmeans(rows, 2, groups=2)
        >>> found.codes.shape, found.inertia
        ((4, 2), 1.0)

    References:
        Jegou, Douze and Schmid, "Product Quantization for Nearest Neighbor Search", 2011.
    """
    count = require_count("groups", groups, 1)
    source, report = open_source(data), progress or no_progress
    weights = weights_of(source, weights)
    width, rest = divmod(source.dim, count)
    if rest:
        text = f"data must have a multiple of groups={count} columns, got {source.dim} columns"
        raise ShapeError(text)
    found: list[KMeansResult] = []
    for group in range(count):
        part = ColumnSource(source, slice(group * width, (group + 1) * width))
        try:
            run = kmeans(
                part,
                codebook_size,
                start=start,
                iterations=iterations,
                tolerance=tolerance,
                seed=seed,
                weights=weights,
                progress=lambda stage, *done, g=group: report(f"group {g}, {stage}", *done),
            )
        except TooFewRowsError as error:
            raise OptionError(f"group {group}: {error}") from error
        found.append(run)
    books = np.stack([to_host(run.codebook) for run in found])
    codes = np.stack([to_host(run.codes) for run in found], axis=1)
    return ProductKMeansResult(
        codebooks=returned(books, source.number, source.like()),
        codes=returned(codes, "int64", source.like()),
        inertia=fsum(run.inertia for run in found),
        groups=tuple(found),
    )


class ColumnSource(Source):
    """Some columns of another source's rows.

    Args:
        source: the rows.
        columns: which.
    """

    def __init__(self, source: Source, columns: slice) -> None:
        self._source, self._columns = source, columns
        self.dim, self.number = columns.stop - columns.start, source.number

    def blocks(self) -> Iterator[tuple[int, Array]]:
        """Yield views."""
        for first, block in self._source.blocks():
            yield first, block[:, self._columns]

    def like(self) -> Array:
        """Return an array of the other source."""
        return self._source.like()

    def rows(self, numbers: Int64Array) -> Float64Array:
        """Return the columns of some rows."""
        return self._source.rows(numbers)[:, self._columns]
