"""Decisions are refused exactly where something is uncertain."""

import flint
import numpy as np
import pytest

from certvq.network._decide import CodeVectors
from certvq.network._numbers import Balls, Rationals

ROWS = np.array([[0.0], [2.0], [-0.0], [0.0], [2.0]])


def test_a_token_is_decided_just_below_its_radius():
    """0.5 is 0.5 from the border at 1."""
    rows = CodeVectors(ROWS)
    latents, error = np.full((3, 1), 0.5), np.array([0.49999, 0.5, np.nan])
    decision = rows.decide_bounded(latents, error)
    assert decision.codes.tolist() == [0, -1, -1]
    assert decision.decided.tolist() == [True, False, False]
    assert 0 < decision.margin[0] <= 0.5 - 0.49999
    assert decision.margin[1:].tolist() == [0.0, 0.0]


@pytest.mark.rows(
    ("middle", "radius", "code"),
    [
        ("1", "0", 0),
        ("1", "1e-30", -1),
        ("1.0000001", "1e-8", 1),
        ("0.9999999", "1e-8", 0),
        ("0.9999999", "1e-6", -1),
        ("1e400", "1", 1),
        ("nan", "0", -1),
    ],
)
def test_balls_decide_only_what_is_certain(middle, radius, code):
    numbers = Balls(256)
    with numbers.working():
        latent = np.array([[flint.arb(middle, radius)]], object)
        assert CodeVectors(ROWS).decide_exact(numbers, latent).codes.tolist() == [code]


def test_fractions_decide_everything():
    """10^-400 on either side of the border, and the border itself: the lowest of equal rows."""
    numbers, tiny = Rationals(), flint.fmpq(1, 10**400)
    latents = np.array([[1 - tiny], [1 + 0 * tiny], [1 + tiny]], object)
    found = CodeVectors(ROWS).decide_exact(numbers, latents)
    assert found.codes.tolist() == [0, 0, 1]
    assert found.margin.tolist() == [0.0, 0.0, 0.0]


def test_numbers_near_exact_ones_have_bounds():
    third = flint.fmpq(1, 3)
    near, off = Rationals().nearby(third)
    assert abs(flint.fmpq(*near.as_integer_ratio()) - third) <= flint.fmpq(*off.as_integer_ratio())
    assert Rationals().nearby(flint.fmpq(10) ** 400) == (np.inf, np.inf)
    with Balls(128).working():
        near, off = Balls(128).nearby(flint.arb(third))
        assert abs(flint.arb(near) - flint.arb(third)) <= flint.arb(off)
        assert off < 1e-16
