"""Noise in some entries, within its width and within [-1, 1]."""

import pytest
import torch

from certvq.errors import OptionError
from certvq.nn import NoiseDropout


def test_share_width_and_range(seeded):
    vectors = torch.linspace(-1, 1, 10_000)
    noisy = NoiseDropout(probability=0.25, width=0.1).disturb(vectors, seeded())
    moved = noisy != vectors
    assert 0.22 < moved.float().mean() < 0.28
    assert (noisy - vectors).abs().max() <= 0.05 + 1e-6
    assert noisy.abs().max() <= 1.0
    assert torch.equal(NoiseDropout(probability=0.0).disturb(vectors, seeded()), vectors)


def test_the_generator_decides(seeded):
    vectors = torch.zeros(50)
    noise = NoiseDropout()
    assert torch.equal(noise.disturb(vectors, seeded(1)), noise.disturb(vectors, seeded(1)))
    assert not torch.equal(noise.disturb(vectors, seeded(1)), noise.disturb(vectors, seeded(2)))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"probability": 1.5}, r"probability must lie within \[0, 1\], got 1.5"),
        ({"probability": float("nan")}, "got nan"),
        ({"width": 0.0}, "width must be finite and above 0, got 0.0"),
    ],
)
def test_wrong_options_are_named(options, text):
    with pytest.raises(OptionError, match=text):
        NoiseDropout(**options)
