"""The integral of the normal distribution in pairs against balls."""

import math

import flint
import numpy as np
import pytest
import torch

from certvq.network import _wide
from certvq.network._normal_integral import NORMAL_INTEGRAL_ERROR, normal_integral
from certvq.network._wide import wide

pytestmark = pytest.mark.skipif(not _wide.AVAILABLE, reason="the compiled module was not built")

RANDOM = np.random.default_rng(0)


def test_it_is_within_its_bound():
    """Of all sizes, half-way between centres, at the ends of the table and beyond them."""
    parts = [
        RANDOM.uniform(-13, 13, 1000),
        RANDOM.standard_normal(300) * 2.0 ** RANDOM.uniform(-100, 3, 300),
        np.arange(-100.5, 100) / 8,
        [0.0, 12.25, -12.25, 12.3125, 1e300, -1e300],
    ]
    high = torch.from_numpy(np.concatenate(parts))
    low = high * 2.0**-54 * torch.from_numpy(RANDOM.uniform(-0.9, 0.9, len(high)))
    found = normal_integral(wide(high, low))
    with flint.ctx.workprec(300):
        root = flint.arb(2).sqrt()
        rows = torch.stack([high, low, found.high, found.low], 1).tolist()
        for a, b, c, d in rows:
            true = ((flint.arb(a) + flint.arb(b)) / root).erf()
            assert abs(true - flint.arb(c) - flint.arb(d)) <= NORMAL_INTEGRAL_ERROR


def test_what_is_no_number_has_no_value():
    given = torch.tensor([math.nan, math.inf, -math.inf], dtype=torch.float64)
    found = normal_integral(wide(given)).high
    assert found.isnan().tolist() == [True, False, False]
    assert found[1:].tolist() == [1.0, -1.0]
