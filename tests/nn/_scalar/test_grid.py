"""Grids: thresholds increase, and lie where two levels are equally near."""

import pytest

from certvq.nn._scalar.grid import axis_of


@pytest.mark.parametrize("levels", [3, 4, 5, 8, 100, 4095, 4096])
@pytest.mark.rows("hard_clamp", [False, True])
@pytest.mark.rows("preserve_symmetry", [False, True])
def test_thresholds_increase(levels, hard_clamp, preserve_symmetry):
    axis = axis_of(levels, preserve_symmetry=preserve_symmetry, hard_clamp=hard_clamp)
    assert len(axis.limits) == levels - 1
    assert list(axis.limits) == sorted(set(axis.limits))


def test_levels_of_the_paper():
    """Even numbers of levels have one more below zero than above it."""
    axis = axis_of(8, preserve_symmetry=False, hard_clamp=False)
    assert [(axis.step * i - axis.origin) / axis.width for i in range(8)] == [
        -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75,
    ]  # fmt: skip
    axis = axis_of(4, preserve_symmetry=True, hard_clamp=False)
    assert [axis.step * i - axis.origin for i in range(4)] == [-3, -1, 1, 3]
    assert axis.width == 3
