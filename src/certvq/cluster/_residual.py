"""Residual k-means: codebooks of several levels, each for what the levels before it left.

In: rows, how many codes and levels. Out: a `ResidualKMeansResult`. A residual is the difference of
row and code vector, rounded once to the type of the data: what a subtraction in that type gives.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from certvq._types import Array, Float, Int64, Int64Array, Progress, no_progress
from certvq.assign._arrays import to_host
from certvq.cluster._balanced import Balanced
from certvq.cluster._balanced import balanced as balance
from certvq.cluster._identifiers import suffixes
from certvq.cluster._kmeans import kmeans
from certvq.cluster._options import require_count
from certvq.cluster._problem import measured
from certvq.cluster._result import KMeansResult
from certvq.cluster._rounding import FORMATS, rounded_to
from certvq.cluster._source import (
    ArraySource,
    Data,
    HeldSource,
    Source,
    open_source,
    returned,
    weights_of,
)
from certvq.cluster._start import TooFewRowsError
from certvq.errors import OptionError


@dataclass(frozen=True)
class ResidualKMeansResult:
    """What `residual_kmeans` found, for L levels.

    Attributes:
        codebooks: (L, K, D), in the library, on the device and of the type of the data.
        codes: int64 (N, L), in the library of the data.
        inertias: of each level: total of the squared distances of its residuals to their code
            vectors, times weights, rounded once.
        suffix: int64 (N,): 0 for a row whose codes no other row has. Rows with the same codes are
            numbered from 0 on in lexicographic order of their numbers, equal rows in their order in
            the data. Codes and suffix together name a row.
        collisions: how many rows share their codes with another row.
        levels: `certvq.kmeans` of each level, before cells are balanced.
    """

    codebooks: Float[Array, "L K D"]
    codes: Int64[Array, "N L"]
    inertias: tuple[float, ...]
    suffix: Int64[Int64Array, " N"]
    collisions: int
    levels: tuple[KMeansResult, ...]


def residual_kmeans(  # noqa: PLR0913 - each is an option of its own, and keyword-only
    data: Data,
    codebook_size: int,
    *,
    num_quantizers: int,
    balanced: bool = False,
    start: Literal["k-means++", "random", "k-means||"] = "k-means++",
    iterations: int = 25,
    tolerance: float = 0.0,
    seed: int = 0,
    weights: Array | None = None,
    progress: Progress | None = None,
) -> ResidualKMeansResult:
    """Find the codebooks of a residual quantizer, level by level.

    Mathematics: ``r_0 = data``; level l is ``kmeans(r_l, codebook_size)``, and
    ``r_{l+1} = round(r_l - codebook_l[codes_l])``.

    Args:
        data: (N, D), as `certvq.kmeans` takes them; they are kept, once more, for the residuals.
            Memory maps and batches are not kept: their residuals are computed anew in each pass.
        codebook_size: K, of each level.
        num_quantizers: L, at least 1.
        balanced: whether no code may have more than ``ceil(N / K)`` rows. Pairs of row and code are
            then taken in the order of their squared distance, rounded once (ties: the lower code,
            the row that is less in lexicographic order, the row that comes first); a pair counts if
            its row has no code yet and its code has room. After `certvq.kmeans` such codes and the
            means of their cells alternate as long as the inertia falls, `iterations` times at most.
        start: as for `certvq.kmeans`, at each level.
        iterations: of each level, at most.
        tolerance: of each level.
        seed: of each level.
        weights: (N,) at least 0; they weigh means, but a row counts as one for `balanced`.
        progress: called as `certvq.kmeans` does, with the level before the stage.

    Returns:
        A `ResidualKMeansResult`.

    Raises:
        OptionError: an option out of range, or residuals with fewer distinct rows than codes; names
            the level.
        ShapeError, DTypeError, NonFiniteError, DataError: as `certvq.kmeans`.

    Guarantee: that of `certvq.kmeans` for each level: the result is a function of the numbers,
        weights and options. Without `balanced`, codes of the same rows by `certvq.assign`, level by
        level with subtractions in the type of the data, are the same.
    Ties: the lowest code.
    Cost: that of L runs of `certvq.kmeans`. With `balanced` each of its iterations adds O(N K D),
        and as much for the rows that lost their place in each round of proposals.

    Example:
        >>> import numpy as np
        >>> from certvq.cluster import residual_kmeans
        >>> rows = np.array([[0.0], [1.0], [10.0], [11.0]])
        >>> found = residual_kmeans(rows, 2, num_quantizers=2)
        >>> found.inertias, found.collisions
        ((1.0, 0.0), 0)

    References:
        Chen, Guan and Wang, "Approximate Nearest Neighbor Search by Residual Vector Quantization",
        2010; Rajput et al., "Recommender Systems with Generative Retrieval", 2023 (suffixes).
    """
    count = require_count("num_quantizers", num_quantizers, 1)
    first = source = open_source(data)
    weights = weights_of(source, weights)
    levels: list[KMeansResult] = []
    every: list[Balanced] = []
    for level in range(count):
        found = _level(
            level,
            lambda report, source=source: kmeans(
                source,
                codebook_size,
                start=start,
                iterations=iterations,
                tolerance=tolerance,
                seed=seed,
                weights=weights,
                progress=report,
            ),
            progress or no_progress,
        )
        levels.append(found)
        cells = Balanced(to_host(found.codebook), to_host(found.codes), found.inertia)
        if balanced:
            problem = measured(source, weights, "euclidean", codebook_size)
            cells = balance(problem, cells.codebook, iterations)
        every.append(cells)
        if level + 1 < count:
            source = _held(source, ResidualSource(source, cells.codebook, cells.codes))
    codes = np.stack([cells.codes for cells in every], axis=1)
    suffix, collisions = suffixes(first, codes)
    books = np.stack([cells.codebook for cells in every])
    return ResidualKMeansResult(
        codebooks=returned(books, first.number, first.like()),
        codes=returned(codes, "int64", first.like()),
        inertias=tuple(cells.inertia for cells in every),
        suffix=suffix,
        collisions=collisions,
        levels=tuple(levels),
    )


def _level(level: int, run: Callable[[Progress], KMeansResult], report: Progress) -> KMeansResult:
    try:
        return run(lambda stage, done, total: report(f"level {level}, {stage}", done, total))
    except TooFewRowsError as error:
        raise OptionError(f"level {level}: {error}") from error


class ResidualSource(Source):
    """Rows less their code vectors, computed anew in each pass.

    Args:
        source: the rows.
        codebook: (K, D) numbers of the rows' type.
        codes: int64 (N,).
    """

    def __init__(self, source: Source, codebook: np.ndarray, codes: Int64Array) -> None:
        self._source, self._codes = source, codes
        self._form = FORMATS[source.number]
        self._codebook = codebook.astype(self._form.host)
        self.dim, self.number = source.dim, source.number

    def _less(self, rows: np.ndarray, codes: Int64Array) -> np.ndarray:
        # bfloat16 is held as float32, which has enough bits that rounding twice is rounding once
        with np.errstate(over="ignore"):
            rest = rows.astype(self._form.host) - self._codebook[codes]
            return rounded_to(rest.astype(np.float64), self._form).astype(self._form.host)

    def blocks(self) -> Iterator[tuple[int, Array]]:
        """Yield blocks of residuals."""
        for part, rows in self._source.host_blocks(1 << 17):
            yield part.start, self._less(rows, self._codes[part])

    def like(self) -> Array:
        """Return an array of the other source."""
        return self._source.like()

    def rows(self, numbers: Int64Array) -> np.ndarray:
        """Return some residuals."""
        rows = self._less(self._source.rows(numbers), self._codes[numbers])
        return rows.astype(np.float64)


def _held(before: Source, source: ResidualSource) -> Source:
    """Keep residuals of rows that are in memory themselves: there is room, and time is saved."""
    small = isinstance(before, HeldSource) or (
        isinstance(before, ArraySource) and not isinstance(before.like(), np.memmap)
    )
    if not small:
        return source
    rows = np.concatenate([block for _, block in source.blocks()])
    return HeldSource(rows, source.number, source.like())
