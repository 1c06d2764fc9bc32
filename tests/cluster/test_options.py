"""Options and weights that k-means refuses, each by its name and what came."""

import numpy as np
import pytest

import certvq
from certvq.cluster._options import EMPTY, METRICS, STARTS
from certvq.errors import DataError, DTypeError, NonFiniteError, OptionError, ShapeError

BAD = [
    ({"codebook_size": 0}, OptionError, "codebook_size must be an integer of at least 1, got 0"),
    (
        {"codebook_size": 2.5},
        OptionError,
        "codebook_size must be an integer of at least 1, got 2.5",
    ),
    ({"codebook_size": 7}, ShapeError, "got 6 rows for 7 codes"),
    ({"codebook_size": 5}, OptionError, "got 5 codes for 4 distinct rows"),
    ({"weights": [0, 1, 1, 1, 1, 1], "codebook_size": 4}, OptionError, "4 codes for 3 distinct"),
    ({"iterations": -1}, OptionError, "iterations must be an integer of at least 0, got -1"),
    ({"seed": -1}, OptionError, "seed must be an integer of at least 0 below 2**128, got -1"),
    ({"seed": 1 << 128}, OptionError, "seed must be"),
    ({"tolerance": -0.1}, OptionError, "tolerance must be a finite number of at least 0, got -0.1"),
    ({"tolerance": float("nan")}, OptionError, "got nan"),
    ({"metric": "l1"}, OptionError, "metric must be one of 'euclidean', 'cosine', got 'l1'"),
    ({"empty": "drop"}, OptionError, "empty must be one of 'split', 'keep', 'raise', got 'drop'"),
    ({"start": "best"}, OptionError, "start must be one of 'k-means++', 'random', 'k-means||'"),
    (
        {"start": np.zeros((3, 2))},
        ShapeError,
        "start must have shape (2, 2), one row for each code",
    ),
    ({"start": np.full((2, 2), np.nan)}, NonFiniteError, "start must be finite, got nan at row 0"),
    ({"start": np.zeros((2, 2), int)}, DTypeError, "start must be one of float64"),
    ({"weights": np.ones(5)}, ShapeError, "weights must have shape (6,), one for each row"),
    ({"weights": [1, 1, -2, 1, 1, 1]}, DataError, "weights must be at least 0, got -2.0 at row 2"),
    (
        {"weights": [1, 1, 1, np.inf, 1, 1]},
        NonFiniteError,
        "weights must be finite, got inf at row 3",
    ),
    (
        {"weights": [1, np.nan, 1, 1, 1, 1]},
        NonFiniteError,
        "weights must be finite, got nan at row 1",
    ),
    (
        {"weights": np.zeros(6)},
        DataError,
        "weights must be positive for at least one row, all 6 are zero",
    ),
    ({"weights": np.ones(6, bool)}, DTypeError, "weights must be floats or integers, got bool"),
    ({"weights": np.full(6, 2**53 + 1)}, DTypeError, "whole numbers that float64 holds"),
]
SIX = np.array([[0.0, 0], [0, 1], [0, 1], [2, 2], [2, 2], [5, 5]])


@pytest.mark.rows(("options", "error", "text"), BAD)
def test_bad_options_are_named(options, error, text):
    given = {"codebook_size": 2} | options
    with pytest.raises(error) as caught:
        certvq.kmeans(SIX, **given)
    assert text in str(caught.value)


def test_every_choice_is_taken():
    for name, choices in (("empty", EMPTY), ("metric", METRICS), ("start", STARTS)):
        for choice in choices:
            found = certvq.kmeans(SIX[1:], 2, **{name: choice})
            assert found.counts.sum() == 5
