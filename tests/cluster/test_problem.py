"""Data that k-means refuses while it measures them."""

import numpy as np
import pytest

import certvq
from certvq.cluster._grid import Extent
from certvq.cluster._problem import measured
from certvq.cluster._source import open_source
from certvq.errors import DataError, DTypeError, NonFiniteError, ShapeError

SIX = np.array([[0.0, 0], [0, 1], [0, 1], [2, 2], [2, 2], [5, 5]])


def test_bad_data_are_named():
    rows = SIX.astype(np.float32).copy()
    rows[4, 1] = np.nan
    with pytest.raises(NonFiniteError, match="data must be finite, got nan at row 4, column 1"):
        certvq.kmeans(rows, 2)
    with pytest.raises(NonFiniteError, match="row 4, column 1"):
        certvq.kmeans(np.split(rows, 3), 2)
    with pytest.raises(ShapeError, match="data must have two axes"):
        certvq.kmeans(SIX[0], 2)
    with pytest.raises(DTypeError, match="data must be one of float64"):
        certvq.kmeans(SIX.astype(int), 2)
    with pytest.raises(
        NonFiniteError, match="start must lie in the range .* got 1e\\+30 at row 1, column 0"
    ):
        certvq.kmeans(SIX.astype(np.float16), 2, start=[[0.0, 0.0], [1e30, 0.0]])
    with pytest.raises(DataError, match="data must have a direction in every row .* row 0 is 0"):
        certvq.kmeans(SIX, 2, metric="cosine")


def test_grids_hold_rows_and_weights():
    rows = np.array([[0.5, -3.0], [0.0, 6.0]], dtype=np.float32)
    problem = measured(open_source(rows), [3, 8], "euclidean", 2)
    assert (problem.count, problem.form.precision) == (2, 24)
    assert problem.grids.rows == Extent(-24, 3)  # the last bit of 0.5 in float32
    assert problem.grids.weights == Extent(0, 4)
