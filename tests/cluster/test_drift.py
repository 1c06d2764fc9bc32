"""How far codes moved, against fractions; and which of them a second look measures."""

import math
from fractions import Fraction

import numpy as np
import pytest

from certvq import _native
from certvq.cluster._drift import Drift

RNG = np.random.default_rng(16)


def test_drifts_are_rounded_up():
    before, after = RNG.standard_normal((2, 7, 5))
    drift = Drift(np.full(7, 3.0), np.full(7, 2.0), np.zeros(7)).after(before, after)
    square = [
        sum((Fraction(float(x)) - Fraction(float(y))) ** 2 for x, y in zip(a, b, strict=True))
        for a, b in zip(before, after, strict=True)
    ]
    moves = [math.sqrt(each) for each in square]
    for code in range(7):
        own, most = moves[code], max(moves[:code] + moves[code + 1 :])
        bounds = {"both": 3.0 + own + most, "others": 2.0 + most, "moves": own}
        for name, exact in bounds.items():
            assert exact <= getattr(drift, name)[code] <= exact * (1 + 2.0**-45)
    alone = Drift.none(1).after(np.zeros((1, 1)), np.ones((1, 1)))
    assert alone.both >= 1.0
    assert alone.others <= 1e-300
    assert np.isinf(Drift.none(2).after(np.zeros((2, 1)), np.full((2, 1), 1e300)).both).all()


@pytest.mark.skipif(not _native.AVAILABLE, reason="the kernel was not built")
def test_movers_are_those_codes_that_moved_farther_than_all_others():
    codebook = RNG.standard_normal((256, 33))
    moved = codebook.copy()
    moved[[3, 77]] += 1.0
    moved[200] += 2.0**-20
    drift = Drift.none(256).after(codebook, moved)
    codes, leads = RNG.integers(0, 256, 999), np.full(999, 0.5, np.float32)
    movers = drift.movers(Drift.none(256), moved, codes, leads)
    assert movers is not None
    assert movers.places.tolist() in ([3, 77], [3, 77, 200])
    resting = drift.moves[np.setdiff1d(np.arange(256), movers.places)].max()
    assert (movers.rest >= resting).all()
    assert (movers.rest < 2.0**-16).all()
    assert drift.movers(Drift.none(256), moved, codes, leads * 100.0) is None, "nothing in doubt"
    assert drift.movers(Drift.none(256), moved, codes, -leads) is None, "all in doubt anyway"
    far = Drift.none(256).after(codebook, np.where(codebook == moved, moved, 1e300))
    assert far.movers(Drift.none(256), moved, codes, leads) is None, "moves beyond float64"
