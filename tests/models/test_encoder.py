"""Every stride divides the size exactly; the widths are the published ones."""

import pytest
import torch

from certvq.models import VQVAEConfig
from certvq.models._encoder import Encoder


@pytest.mark.parametrize("stride", [2, 4, 8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_latents_have_one_vector_for_each_cell(stride, channels):
    config = VQVAEConfig(hidden=8, dim=5, downsampling=stride, channels=channels)
    latents = Encoder(config)(torch.zeros(2, channels, 3 * stride, stride))
    assert latents.shape == (2, 5, 3, 1)


def test_the_published_layers():
    """3 -> 64 -> 128 -> 128, two residual blocks 128 -> 32 -> 128, projection to 64."""
    shapes = [tuple(p.shape) for p in Encoder(VQVAEConfig()).parameters() if p.ndim == 4]
    assert shapes == [
        (64, 3, 4, 4),
        (128, 64, 4, 4),
        (128, 128, 3, 3),
        (32, 128, 3, 3),
        (128, 32, 1, 1),
        (32, 128, 3, 3),
        (128, 32, 1, 1),
        (64, 128, 1, 1),
    ]
