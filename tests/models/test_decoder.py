"""The decoder gives back the size that the encoder took."""

import pytest
import torch

from certvq.models import VQVAEConfig
from certvq.models._decoder import Decoder


@pytest.mark.parametrize("stride", [2, 4, 8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_have_stride_pixels_for_each_cell(stride, channels):
    config = VQVAEConfig(hidden=8, dim=5, downsampling=stride, channels=channels)
    images = Decoder(config)(torch.zeros(2, 5, 3, 1))
    assert images.shape == (2, channels, 3 * stride, stride)


def test_the_published_layers():
    """64 -> 128, two residual blocks, 128 -> 64 -> 3, the last layer without ReLU."""
    decoder = Decoder(VQVAEConfig())
    shapes = [tuple(p.shape) for p in decoder.parameters() if p.ndim == 4]
    assert shapes == [
        (128, 64, 3, 3),
        (32, 128, 3, 3),
        (128, 32, 1, 1),
        (32, 128, 3, 3),
        (128, 32, 1, 1),
        (128, 64, 4, 4),
        (64, 3, 4, 4),
    ]
    assert isinstance(decoder.body[-1], torch.nn.ConvTranspose2d)
