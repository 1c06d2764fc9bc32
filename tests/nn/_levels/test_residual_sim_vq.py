"""Levels of mapped codebooks: each nearest to its residual, each with a map of its own."""

from fractions import Fraction

import pytest
import torch

from certvq import spec
from certvq.errors import OptionError
from certvq.nn import ResidualSimVQ


def test_each_level_is_nearest_to_its_residual(seeded):
    layer = ResidualSimVQ(3, 20, num_quantizers=3, generator=seeded())
    latents = torch.randn(1, 30, 3, generator=seeded(1))
    codes = layer(latents).codes[0]
    residual = latents[0]
    for level, part in enumerate(layer.parts):
        book = part.codebook.detach()
        exact = spec.Codebook(tuple(tuple(map(Fraction, row)) for row in book.double().tolist()))
        rows = residual.double().tolist()
        expected = [min(spec.nearest_codes(exact, tuple(map(Fraction, row)))) for row in rows]
        assert codes[:, level].tolist() == expected
        residual = residual - book[codes[:, level]]


def test_every_level_has_a_map_that_learns(seeded):
    layer = ResidualSimVQ(3, 20, num_quantizers=2, generator=seeded())
    layer(torch.randn(1, 30, 3, generator=seeded(1))).loss.backward()
    first, second = (part.transform.weight for part in layer.parts)
    assert not torch.equal(first, second)
    assert first.grad.any()
    assert second.grad.any()


def test_wrong_options_are_named():
    with pytest.raises(OptionError, match="a map of its own, got one transform for all"):
        ResidualSimVQ(3, 20, num_quantizers=2, transform=torch.nn.Linear(3, 3))
    with pytest.raises(OptionError, match="at least one part, got none"):
        ResidualSimVQ(3, 20, num_quantizers=0)
