"""Random depths: in range, all of them reached, seeded."""

import pytest
import torch

from certvq.errors import OptionError
from certvq.nn import LevelDropout


def depths(dropout, levels, seeded, count=200):
    generator = seeded()
    return [dropout.depth(levels, generator) for _ in range(count)]


@pytest.mark.parametrize(
    ("dropout", "levels", "expected"),
    [
        (LevelDropout(), 4, {1, 2, 3, 4}),
        (LevelDropout(min_levels=3), 4, {3, 4}),
        (LevelDropout(multiple_of=2), 5, {2, 4, 5}),
        (LevelDropout(min_levels=2, multiple_of=4), 10, {4, 8, 10}),
        (LevelDropout(probability=0.0), 4, {4}),
        (LevelDropout(), 1, {1}),
    ],
)
def test_all_depths_that_are_allowed_and_no_other(dropout, levels, expected, seeded):
    assert set(depths(dropout, levels, seeded)) == expected


def test_the_generator_alone_decides(seeded):
    torch.manual_seed(1)
    first = depths(LevelDropout(), 8, seeded)
    torch.manual_seed(2)
    assert first == depths(LevelDropout(), 8, seeded)


def test_levels_are_kept_as_often_as_it_says(seeded):
    """1,000 draws with probability 1/2 and 8 levels: all 8 in 9/16 of them, within 6 deviations."""
    drawn = depths(LevelDropout(probability=0.5), 8, seeded, 1000)
    assert abs(drawn.count(8) - 562.5) < 6 * (1000 * 9 / 16 * 7 / 16) ** 0.5


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"min_levels": 0}, "min_levels must be at least 1, got 0"),
        ({"multiple_of": 0}, "multiple_of must be at least 1, got 0"),
        ({"probability": 1.5}, r"probability must lie in \[0, 1\], got 1.5"),
        ({"probability": float("nan")}, "got nan"),
    ],
)
def test_options_out_of_range_are_refused(options, text):
    with pytest.raises(OptionError, match=text):
        LevelDropout(**options)
