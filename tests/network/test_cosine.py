"""Codes by direction: certain ones only, against fractions."""

from fractions import Fraction

import flint
import numpy as np
import pytest

from certvq.errors import OptionError
from certvq.network._cosine import UnitVectors
from certvq.network._numbers import Balls, Rationals


def nearest(latent, rows):
    """Compare ``s |s| / |c|^2`` of fractions; the lowest index wins."""
    scores = []
    for row in rows.tolist():
        product = sum(a * Fraction(b) for a, b in zip(latent, row, strict=True))
        scores.append(product * abs(product) / sum(Fraction(b) ** 2 for b in row))
    return scores.index(max(scores))


def fractions(rows):
    result = np.empty(rows.shape, object)
    result.reshape(-1)[:] = [flint.fmpq(*float(each).as_integer_ratio()) for each in rows.flat]
    return result


@pytest.mark.rows("seed", [0, 1])
def test_codes_are_those_of_fractions(seed):
    """Small integers tie often; code vectors of one direction have the lowest index."""
    numbers = np.random.default_rng(seed)
    rows = numbers.integers(-3, 4, (7, 2)).astype(float)
    rows = rows[(rows != 0).any(1)]
    latents = numbers.integers(-3, 4, (30, 2)).astype(float)
    expected = [nearest(list(map(Fraction, each)), rows) for each in latents.tolist()]
    book = UnitVectors(rows)
    assert book.decide_exact(Rationals(), fractions(latents)).codes.tolist() == expected
    floats = book.decide_bounded(latents, np.zeros(len(latents)))
    assert 0 < floats.decided.sum() < len(latents)
    assert floats.codes[floats.decided].tolist() == np.array(expected)[floats.decided].tolist()
    with Balls(128).working():
        balls = np.vectorize(flint.arb, otypes=[object])(latents)
        found = book.decide_exact(Balls(128), balls)
    certain = found.codes >= 0
    assert certain.sum() >= floats.decided.sum()
    assert found.codes[certain].tolist() == np.array(expected)[certain].tolist()


def test_a_token_is_decided_just_below_its_distance_from_the_border():
    """(1, 1/2) is 1 / sqrt 8 from the line between the axes, whatever the code vectors' lengths."""
    book = UnitVectors(np.array([[7.0, 0.0], [0.0, 0.25]]))
    error = np.array([0.3535, 0.3536, np.nan])
    found = book.decide_bounded(np.full((3, 2), [1.0, 0.5]), error)
    assert found.codes.tolist() == [0, -1, -1]
    assert 8.0**-0.5 - 0.3535 - 1e-9 < found.margin[0] <= 8.0**-0.5 - 0.3535
    assert found.margin[1:].tolist() == [0.0, 0.0]


@pytest.mark.rows("exponent", [60, 200])
@pytest.mark.rows("side", [-1, 0, 1])
def test_directions_next_to_a_border(exponent, side):
    near = flint.fmpq(side, 2**exponent)
    latent = np.array([[flint.fmpq(1), 1 + near]], object)
    book = UnitVectors(np.array([[2.0, 0.0], [0.0, 0.5]]))
    assert book.decide_exact(Rationals(), latent).codes.tolist() == [int(side > 0)]


def test_a_code_vector_without_direction_is_named():
    with pytest.raises(OptionError, match="longer than 1e-12, got length 0.0 of code 1; replace"):
        UnitVectors(np.array([[1.0, 0.0], [0.0, 0.0]]))
