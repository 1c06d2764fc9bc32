"""Slices of one latent: exact products, one codebook for all."""

import itertools
from fractions import Fraction

import pytest
import torch

from certvq.errors import NonFiniteError, OptionError
from certvq.nn import Heads, Uniform, VectorQuantize


def test_codes_are_nearest_among_all_combinations(seeded):
    """With ==, over fractions, ties included: numbers of a small grid."""
    layer = Heads(VectorQuantize(2, 4, start=Uniform(1.0), generator=seeded()), 2).eval()
    layer.quantizer.codebook.copy_(torch.randint(-1, 2, (4, 2), generator=seeded(1)))
    x = torch.randint(-2, 3, (1, 40, 4), generator=seeded(2)) / 2.0
    book = [tuple(map(Fraction, row)) for row in layer.quantizer.codebook.tolist()]
    for z, codes in zip(x[0].tolist(), layer.encode(x)[0].tolist(), strict=True):
        exact = tuple(map(Fraction, z))
        best = min(
            itertools.product(range(4), repeat=2),
            key=lambda c: (
                sum((a - b) ** 2 for a, b in zip(exact, book[c[0]] + book[c[1]], strict=True)),
                c,
            ),
        )
        assert tuple(codes) == best


def test_all_slices_teach_the_same_codebook(seeded):
    layer = Heads(VectorQuantize(2, 4, generator=seeded()), 3)
    plain = VectorQuantize(2, 4, generator=seeded())
    x = torch.randn(2, 5, 6, generator=seeded(1))
    codes = layer(x).codes
    assert torch.equal(codes.flatten(), plain(x.reshape(1, -1, 2)).codes.flatten())
    assert torch.equal(layer.quantizer.codebook, plain.codebook)


def test_a_bad_number_is_named_where_it_is(seeded):
    layer = Heads(VectorQuantize(2, 4, generator=seeded()), 3)
    x = torch.zeros(1, 4, 6)
    x[0, 2, 5] = torch.nan
    for method in (layer, layer.encode):
        with pytest.raises(NonFiniteError, match="nan at row 2, column 5"):
            method(x)


def test_heads_are_at_least_one():
    with pytest.raises(OptionError, match="heads must be at least 1, got 0"):
        Heads(VectorQuantize(2, 4), 0)
