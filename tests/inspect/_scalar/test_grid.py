"""Exact thresholds against high precision, and indices against Python's integers."""

import math
from fractions import Fraction

import pytest
import torch

from certvq.inspect._scalar.grid import (
    rounded_grid,
    scaled_tanh_grid,
    sign_grid,
    twice_bound_grid,
)

mpmath = pytest.importorskip("mpmath")


def bound(z, levels):
    half = mpmath.mpf(levels - 1) * 1001 / 2000
    offset = mpmath.mpf("0.5") if levels % 2 == 0 else mpmath.mpf(0)
    return mpmath.tanh(z + mpmath.atanh(offset / half)) * half - offset


@pytest.mark.parametrize("levels", [3, 4, 5, 8, 9, 64])
def test_a_border_lies_between_a_limit_and_the_next_float(levels):
    """Of one bound and of two: by 60 digits, the bounded value passes a half there."""
    with mpmath.workdps(60):
        for grid, times in ((rounded_grid((levels,)), 1), (twice_bound_grid((levels,)), 2)):
            for place, limit in enumerate(grid.limits[0].tolist()):
                values = [mpmath.mpf(limit), mpmath.mpf(math.nextafter(limit, math.inf))]
                for _ in range(times):
                    values = [bound(value, levels) for value in values]
                border = place + mpmath.mpf("0.5") - levels // 2
                assert values[0] <= border < values[1]


def test_the_scale_of_a_tanh_is_taken_as_it_is():
    scale = Fraction(torch.tensor(0.999).item())
    with mpmath.workdps(60):
        low, high = scaled_tanh_grid(2, scale).limits[1].tolist()
        for limit, border in ((low, -0.5), (high, 0.5)):
            ends = [
                mpmath.tanh(x) * scale.numerator / scale.denominator
                for x in (limit, math.nextafter(limit, 9))
            ]
            assert ends[0] <= border < ends[1]


def test_distances_are_at_most_those_to_the_thresholds_and_not_much_less():
    """Of three features whose thresholds are rational, by exact fractions."""
    levels = (4, 5, 8)
    grid = rounded_grid(levels, hard_clamp=True)
    borders = [
        [(Fraction(2 * i + 1, 2) - n // 2) / (Fraction(n - 1) * 1001 / 2000) for i in range(n - 1)]
        for n in levels
    ]
    latents = torch.randn(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    latents[:20, 0] = grid.limits[0, 0]
    latents[20:40, 1] = math.nextafter(float(grid.limits[1, 2]), 9.0)
    for row, found in zip(latents.tolist(), grid.distances(latents).tolist(), strict=True):
        true = min(abs(Fraction(z) - b) for z, each in zip(row, borders, strict=True) for b in each)
        assert true * (1 - Fraction(1, 2**48)) - Fraction(1, 2**51) < Fraction(found) <= true
    assert grid.distances(latents[:40]).max() < 2.0**-51


def test_ties_are_marked_where_a_border_is_a_float():
    even = rounded_grid((4,), preserve_symmetry=True)
    assert even.exact.tolist() == [[False, True, False]]
    assert rounded_grid((5,), preserve_symmetry=True, hard_clamp=True).exact.all()
    assert not rounded_grid((6,), preserve_symmetry=True, hard_clamp=True).exact[0, 0]
    assert not twice_bound_grid((4, 5)).exact.any()
    assert sign_grid(3).exact.all()
    digits = even.digits(torch.tensor([[0.0], [1e-300], [-1e-300]], dtype=torch.float64))
    assert digits.flatten().tolist() == [1, 2, 1]


@pytest.mark.rows(
    ("grid", "digits", "code"),
    [
        (rounded_grid((8, 5, 3)), [7, 0, 2], 7 + 8 * 5 * 2),
        (sign_grid(4), [1, 0, 1, 1], 0b1011),
        (rounded_grid((4,) * 31), [3] * 31, 4**31 - 1),
        (scaled_tanh_grid(8, Fraction(1)), [2] * 8, 3**8 - 1),
    ],
)
def test_an_index_is_made_of_exact_integers(grid, digits, code):
    row = torch.tensor([digits])
    assert grid.join(row).tolist() == [code]
    assert torch.equal(grid.split(torch.tensor([code])), row)
    assert math.prod(grid.levels) == grid.shape[0]


def test_probes_lie_in_each_level_and_near_both_sides_of_each_border():
    grid = rounded_grid((5, 3))
    probes = grid.probes()
    assert sorted(set(grid.digits(probes)[:, 0].tolist())) == [0, 1, 2, 3, 4]
    for limit in grid.limits[0]:
        distances = probes[:, 0] - limit
        assert distances.gt(0).any()
        assert distances.lt(0).any()
        assert distances.abs().min() < 0.02
