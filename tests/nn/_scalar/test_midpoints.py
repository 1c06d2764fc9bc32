"""Borders between floats: exact for ties, repeated numbers and any order."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from certvq.nn._scalar import midpoints as module
from certvq.nn._scalar.midpoints import midpoints
from certvq.nn._scalar.thresholds import count_below

near = st.sampled_from([0.0, 1.0, -1.0, 0.5, 1.0 + 2**-52, 1.0 + 2**-23, 3.0, -0.25, 1e-40, 7e40])


def nearest(latent, values):
    """Lowest index of a nearest value, by exact arithmetic."""
    exact = [abs(Fraction(latent) - Fraction(value)) for value in values]
    return exact.index(min(exact))


@given(
    values=st.lists(near | st.floats(-4, 4).filter(lambda x: x == 0 or abs(x) > 1e-30), min_size=2),
    latents=st.lists(near | st.floats(-5, 5), min_size=1),
)
def test_cells_are_those_of_exact_arithmetic(values, latents):
    table = torch.tensor([values], dtype=torch.float64)
    borders = midpoints(table, torch.float64)
    middles = [(a + b) / 2 for a in values for b in values]
    around = [math.nextafter(m, x) for m in middles[:30] for x in (-math.inf, m, math.inf)]
    tokens = torch.tensor([latents + around], dtype=torch.float64)
    cells = borders.order.gather(1, count_below(tokens, borders.limits).long())
    assert cells[0].tolist() == [nearest(z, values) for z in tokens[0].tolist()]


@given(
    rows=st.lists(
        st.lists(near | st.floats(-4, 4) | st.sampled_from([1e-160, 2e-160, -1e-160, 1e200])),
        min_size=1,
        max_size=4,
    ),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_few_numbers_give_what_many_give(rows, dtype):
    """A loop of Python and torch's calls: the same borders, orders and refusals."""
    longest = max(1, *map(len, rows))
    table = torch.tensor([row + [math.inf] * (longest - len(row)) for row in rows]).double()
    found, expected = module._of_few(table.tolist()), module._of_many(table)
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert found.plain == expected.plain
        assert found.order.equal(expected.order)
        assert found.limits.equal(expected.limits)
        assert midpoints(table, dtype).limits.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_float32_latents_beside_the_borders(dtype, seeded):
    """Values of float64 have midpoints that no float32 hits."""
    table = torch.randn(3, 9, generator=seeded(), dtype=torch.float64).to(dtype).double()
    table[1, 5] = table[1, 2]
    borders = midpoints(table, torch.float32)
    limits = borders.limits
    up, down = (torch.nextafter(limits, torch.full_like(limits, s * math.inf)) for s in (1, -1))
    tokens = torch.cat([limits, up, down, torch.randn(3, 50, generator=seeded(1))], dim=1)
    cells = borders.order.gather(1, count_below(tokens, limits).long())
    for row, values, got in zip(tokens.tolist(), table.tolist(), cells.tolist(), strict=True):
        assert got == [nearest(z, values) for z in row]


def test_short_rows_and_plain_orders():
    table = torch.tensor([[0.0, 1.0, 2.0], [5.0, math.inf, math.inf]], dtype=torch.float64)
    borders = midpoints(table, torch.float64)
    assert borders.plain
    assert borders.limits.tolist() == [[0.5, 1.5], [math.inf, math.inf]]
    assert not midpoints(table.flip(1)[:1], torch.float64).plain
    assert not midpoints(torch.zeros(1, 2, dtype=torch.float64), torch.float64).plain


@pytest.mark.parametrize("values", [[1e200, 0.0], [5e-324, 0.0], [1e-160, 2e-160]])
def test_extreme_numbers_are_left_to_others(values):
    assert midpoints(torch.tensor([values], dtype=torch.float64), torch.float64) is None
