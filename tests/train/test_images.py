"""Pixels become images and come back."""

import numpy as np
import torch
from torch import nn

from certvq.train._images import lay_out, to_images, to_pixels


def test_all_levels_survive_the_way_to_images_and_back() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    images = to_images(levels, nn.Linear(1, 1))
    assert images.shape == (1, 3, 16, 16)
    assert (float(images.min()), float(images.max())) == (0.0, 1.0)
    assert np.array_equal(to_pixels(images), levels)


def test_images_beyond_the_range_are_clamped() -> None:
    assert to_pixels(torch.tensor([[[[-0.5, 1.5]]]])).reshape(-1).tolist() == [0, 255]


def test_laying_out_weights_keeps_their_values() -> None:
    layer = nn.Conv2d(3, 4, 2)
    before = layer.weight.detach().clone()
    lay_out(layer, torch.channels_last)
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)
    assert not layer.weight.is_contiguous()
    assert torch.equal(layer.weight, before)
    lay_out(layer, torch.contiguous_format)
    assert layer.weight.is_contiguous()
    assert torch.equal(layer.weight, before)
