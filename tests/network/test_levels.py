"""Levels of a residual quantizer: each gets the exact residual, and is settled before the next."""

import math
from fractions import Fraction

import flint
import numpy as np
import pytest
import torch
from torch import nn

from certvq.errors import OptionError
from certvq.network import Rung, canonical_codes
from certvq.network._bounded import Bounded, exact
from certvq.network._cosine import UnitVectors
from certvq.network._decide import CodeVectors
from certvq.network._levels import Affine, Level, Levels
from certvq.network._numbers import Rationals

BOOKS = [torch.tensor([[0.0], [1.0]]), torch.tensor([[-0.5], [0.0]])]


def summing():
    encoder = nn.Conv2d(2, 1, 1, bias=False).eval()
    nn.init.ones_(encoder.weight)
    return encoder


@pytest.mark.rows("exponent", [60, 200])
@pytest.mark.rows(("side", "code"), [(-1, 0), (0, 0), (1, 1)])
def test_a_border_of_the_second_level(exponent, side, code):
    """3/4 and a power of two: the first level takes 1, the second has its border at -1/4."""
    batch = torch.tensor([0.75, side * 2.0**-exponent], dtype=torch.float64).reshape(1, 2, 1, 1)
    found = canonical_codes(summing(), batch, codebook=BOOKS)
    assert found.codes.tolist() == [[[[1, code]]]]
    last = Rung.WIDER if side and exponent == 60 else Rung.EXACT
    assert found.decided_by.tolist() == [[[[Rung.FLOAT64, last]]]]


def test_a_tie_is_settled_before_the_next_level():
    """1/2 is half-way: code 0, which leaves 1/2; code 1 would leave -1/2, and another code."""
    batch = torch.tensor([0.5, 0.0]).reshape(1, 2, 1, 1)
    found = canonical_codes(summing(), batch, codebook=BOOKS)
    assert found.codes.tolist() == [[[[0, 1]]]]
    assert (found.decided_by == Rung.EXACT).all()


def test_levels_after_an_open_one_are_open(call):
    """sigmoid(x) + sigmoid(-x) is 1, half-way between 0 and 2."""
    encoder = call(lambda x: torch.sigmoid(x) + torch.sigmoid(-x)).eval()
    found = canonical_codes(encoder, torch.ones(1, 1), codebook=[torch.tensor([[0.0], [2.0]])] * 2)
    assert found.codes.tolist() == [[-1, -1]]
    assert found.counts()["OPEN"] == 2


def test_the_error_of_a_latent_stays_with_its_residual():
    """0.3 is 0.3 from the border of the second level, and farther from that of the first."""
    rows = (np.array([[0.0], [2.0]]), np.array([[-1.0], [1.0]]))
    levels = Levels([(slice(0, 1), [Level(CodeVectors(each)) for each in rows])])
    found = levels.decide_bounded(np.full((2, 1), 0.3), np.array([0.299, 0.301]))
    assert found.codes.tolist() == [[0, 1], [0, -1]]
    assert found.margin[0, 0] == pytest.approx(0.7 - 0.299)
    assert found.margin[0, 1] == pytest.approx(0.001)


def integers(numbers, *shape):
    """Return small integers as floats; no row is 0."""
    return numbers.integers(1, 4, shape) * numbers.choice([-1.0, 1.0], shape)


def judged(latent, levels):
    """Return the codes of fractions, given (weight, bias, rows, weight, bias) of each level."""
    codes, residual = [], list(map(Fraction, latent))
    for weight, bias, rows, back, shift in levels:
        compared = [sum(a * Fraction(b) for a, b in zip(residual, w, strict=True)) for w in weight]
        compared = [a + Fraction(b) for a, b in zip(compared, bias, strict=True)]
        scores = []
        for row in rows:
            product = sum(a * Fraction(b) for a, b in zip(compared, row, strict=True))
            scores.append(product * abs(product) / sum(Fraction(b) ** 2 for b in row))
        codes.append(scores.index(max(scores)))
        row = rows[codes[-1]]
        taken = [sum(Fraction(a) * Fraction(b) for a, b in zip(row, w, strict=True)) for w in back]
        pairs = zip(residual, taken, shift, strict=True)
        residual = [a - (b + Fraction(c)) for a, b, c in pairs]
    return codes


def affine(weight, bias):
    return Affine(exact(torch.from_numpy(weight)), bias)


@pytest.mark.rows("seed", [0, 1])
def test_levels_with_projections_are_those_of_fractions(seed):
    """As in DAC: each level compares directions of a projected residual."""
    numbers = np.random.default_rng(seed)
    sizes = [(2, 4), (2,), (9, 2), (4, 2), (4,)]
    parts = [[integers(numbers, *size) / 8 for size in sizes] for _ in range(3)]
    levels = [
        Level(UnitVectors(rows), affine(weight, bias), affine(back, shift))
        for weight, bias, rows, back, shift in parts
    ]
    stack = Levels([(slice(1, 5), levels)])
    latents = integers(numbers, 40, 5) / 4
    expected = [
        judged(latent[1:].tolist(), [[p.tolist() for p in q] for q in parts]) for latent in latents
    ]
    found = stack.decide_bounded(latents, np.full(40, 1e-12))
    assert found.decided.mean() > 0.5
    assert found.codes[found.decided].tolist() == np.array(expected)[found.decided].tolist()
    objects = np.vectorize(lambda v: flint.fmpq(*v.as_integer_ratio()), otypes=[object])(latents)
    assert stack.decide_exact(Rationals(), objects).codes.tolist() == expected


def test_an_affine_map_has_a_bound_on_its_error():
    numbers = np.random.default_rng(0)
    weight, bias = numbers.normal(size=(6, 5)), numbers.normal(size=6)
    rows = numbers.normal(size=(200, 5))
    direction = np.linalg.svd(weight)[2][0]
    value, error = affine(weight, bias).bounded(rows + 1e-6 * direction, np.full(200, 1e-6))
    true = np.linalg.norm(value - (rows @ weight.T + bias), axis=1)
    assert (true <= error).all()
    assert (error <= 1.1 * true).all()
    assert (affine(weight, bias).bounded(rows, np.zeros(200))[1] > 1e-17).all()


def test_the_error_of_a_weight_is_counted():
    """The weight of the real map is off by a multiple of the row, the worst direction."""
    numbers = np.random.default_rng(0)
    weight, rows = numbers.normal(size=(1, 5)), numbers.normal(size=(1, 5))
    off = 1e-6 * rows / np.linalg.norm(rows)
    error = torch.full((1, 5), 1e-6 / math.sqrt(5), dtype=torch.float64)
    given = Affine(Bounded(torch.from_numpy(weight + off), error, None), None, lambda _: weight)
    value, bound = given.bounded(rows, np.zeros(1))
    true = abs(value - rows @ weight.T).item()
    assert true <= bound.item() <= 1.01 * true
    assert not Levels([(slice(0, 5), [Level(UnitVectors(rows), given)])]).rational


def test_the_first_levels_are_those_of_the_first_codes():
    rows = np.eye(2)
    stack = Levels(
        [(slice(0, 2), [Level(CodeVectors(rows))] * 2), (slice(2, 4), [Level(UnitVectors(rows))])]
    )
    assert [[len(each) for _, each in stack.first(n).chains] for n in (1, 2, 3)] == [
        [1],
        [2],
        [2, 1],
    ]
    for count in (0, 4):
        with pytest.raises(OptionError, match=f"levels must be from 1 to 3 .*, got {count}"):
            stack.first(count)
