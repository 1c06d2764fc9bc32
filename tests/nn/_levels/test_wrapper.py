"""Wrappers hand everything on to their part."""

import pytest
import torch

from certvq.errors import CodeRangeError, NonFiniteError
from certvq.nn import Residual, ResidualVQ, Rotated, Scaled, VectorQuantize


def test_codes_of_several_axes_and_missing_levels(seeded):
    layer = Scaled(ResidualVQ(3, (4, 5), generator=seeded()), 2.0)
    layer(torch.randn(1, 50, 3, generator=seeded(1)))
    layer.eval()
    codes = layer.encode(torch.randn(1, 6, 3, generator=seeded(2)))
    assert codes.shape == (1, 6, 2)
    assert layer.codebook_size == (4, 5)
    assert layer.decode(codes[..., :1]).shape == (1, 6, 3)
    with pytest.raises(CodeRangeError, match=r"range\(4\), got 4"):
        layer.decode(torch.full((1, 1, 2), 4))


def test_a_shared_part_learns_through_a_wrapper(seeded):
    part = Rotated(VectorQuantize(3, 6, generator=seeded()), generator=seeded(1))
    layer = Residual([part], num_quantizers=3)
    latents = torch.randn(1, 200, 3, generator=seeded(2))
    errors = []
    for _ in range(6):
        layer(latents)
        errors.append(layer.metrics()["commitment_loss"])
    assert errors[-1] < errors[0]


def test_bad_latents_are_named_before_they_are_changed():
    layer = Rotated(VectorQuantize(3, 6))
    latents = torch.zeros(1, 4, 3)
    latents[0, 2, 1] = float("nan")
    with pytest.raises(NonFiniteError, match="row 2, column 1"):
        layer(latents)
