"""The data, measured once: what the iterations need to know before they begin.

In: data, weights and a metric from the user. Out: a `Problem`, validated. Must not know how the
iterations run.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from certvq._types import Array, Float64Array
from certvq.cluster._grid import NOTHING, Extent, extent_of, tight_extent_of
from certvq.cluster._loop import Means
from certvq.cluster._means import rounded_means
from certvq.cluster._rounding import FORMATS, FloatFormat
from certvq.cluster._source import Source, read_weights, require_finite_rows
from certvq.cluster._sums import BLOCK, Grids
from certvq.cluster._unit import UnitSource, unit_means
from certvq.errors import ShapeError

Metric: TypeAlias = Literal["euclidean", "cosine"]


@dataclass(frozen=True)
class Problem:
    """What is to be clustered.

    Attributes:
        source: the rows, those of length one where directions are clustered.
        count: N.
        grids: grids of the rows and weights.
        weights: float64 (N,), None where each row counts 1.
        form: type of number of rows and codebook.
        means: how a cell gives a code vector.
    """

    source: Source
    count: int
    grids: Grids
    weights: Float64Array | None
    form: FloatFormat
    means: Means


def measured(source: Source, weights: Array | None, metric: Metric, codebook_size: int) -> Problem:
    """Read all rows once.

    Raises:
        ShapeError: fewer rows than codes, or not one weight for each row.
        NonFiniteError: NaN or infinity; names row and column.
        DTypeError: weights that are no numbers.
        DataError: weights that are negative, or all 0; a row without direction.
    """
    form = FORMATS[source.number]
    directions = metric == "cosine"
    source = UnitSource(source) if directions else source
    count, extent = _extent(source, form)
    if count < codebook_size:
        text = (
            f"data must have at least as many rows as codes, got {count} rows for {codebook_size} "
            "codes; use fewer codes"
        )
        raise ShapeError(text)
    masses = read_weights(weights, count)
    grids = Grids(extent, None if masses is None else tight_extent_of(masses))
    means = unit_means if directions else rounded_means
    return Problem(source, count, grids, masses, form, means)


def _extent(source: Source, form: FloatFormat) -> tuple[int, Extent]:
    extent, count = NOTHING, 0
    for part, rows in source.host_blocks(BLOCK):
        require_finite_rows(rows, part.start)
        extent = extent.union(extent_of(rows, form.precision))
        count = part.stop
    return count, extent
