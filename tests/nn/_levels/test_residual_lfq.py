"""Residual signs: binary expansions, exactly."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from certvq.errors import OptionError
from certvq.nn import Entropy, GroupedResidualLFQ, ResidualLFQ

dyadics = st.integers(-255, 255).map(lambda n: n / 128)


@given(st.lists(st.tuples(dyadics, dyadics), min_size=1))
def test_the_sum_and_the_last_residual_are_the_latent(rows):
    """On dyadic numbers no subtraction rounds: `residual_telescopes` holds of the floats too."""
    layer = ResidualLFQ(2, 5).eval()
    latents = torch.tensor([rows])
    codes = layer.encode(latents)
    for row, code in zip(rows, codes[0].tolist(), strict=True):
        for d, number in enumerate(row):
            residual = Fraction(number)
            total = Fraction(0)
            for level, bits in enumerate(code):
                sign = 1 if residual > 0 else -1
                assert (bits >> (1 - d) & 1) == (sign == 1)
                total += Fraction(sign, 2**level)
                residual -= Fraction(sign, 2**level)
            assert total + residual == Fraction(number)
            assert abs(residual) <= Fraction(1, 16)
    quantized = layer(latents).quantized[0]
    assert ((quantized - latents[0]).abs() <= 1 / 16).all()


def test_scales_and_soft_clamps_halve():
    layer = ResidualLFQ(3, 3, scale=2.0, soft_clamp=4.0, entropy=Entropy(weight=0.5))
    assert [part.scale for part in layer.quantizers] == [2.0, 1.0, 0.5]
    assert [part.soft_clamp for part in layer.quantizers] == [4.0, 2.0, 1.0]


def test_the_loss_is_the_sum_of_the_levels(seeded):
    layer = ResidualLFQ(3, 2, entropy=None, commitment_weight=1.0)
    latents = torch.randn(1, 20, 3, generator=seeded())
    loss = layer(latents).loss
    figures = layer.metrics()
    total = figures["level0/commitment_loss"] + figures["level1/commitment_loss"]
    assert loss.item() == pytest.approx(total)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: ResidualLFQ(4, 0), "num_quantizers must be at least 1, got 0"),
        (lambda: ResidualLFQ(64, 2, entropy=None), "dim must be at most 63"),
        (lambda: GroupedResidualLFQ(5, 2, groups=2), "multiple of groups.*got 5 and 2"),
    ],
)
def test_wrong_options_are_named(make, text):
    with pytest.raises(OptionError, match=text):
        make()
