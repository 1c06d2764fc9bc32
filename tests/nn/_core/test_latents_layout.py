"""Tokens are the vectors along the feature axis, row by row of the grid."""

from typing import get_args

import pytest
import torch

from certvq.errors import DTypeError, OptionError, ShapeError
from certvq.nn._core.latents import LAYOUTS, LayoutName, find_layout

SHAPES = {
    "n d": (5, 3),
    "b n d": (2, 5, 3),
    "b d n": (2, 3, 5),
    "b c h w": (2, 3, 4, 5),
    "b h w c": (2, 4, 5, 3),
    "b c t h w": (2, 3, 2, 4, 5),
    "b t h w c": (2, 2, 4, 5, 3),
}


def test_all_layouts_are_tested_and_typed():
    assert tuple(SHAPES) == tuple(LAYOUTS) == get_args(LayoutName)


@pytest.mark.parametrize(("name", "shape"), SHAPES.items())
def test_restore_undoes_tokens(name, shape):
    layout = find_layout(name)
    latents = torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)
    tokens = layout.tokens(latents, 3)
    grid = layout.grid(latents)
    assert tokens.shape == (latents.numel() // 3, 3)
    assert torch.Size(grid).numel() == len(tokens)
    assert torch.equal(layout.restore(tokens, grid), latents)


@pytest.mark.parametrize(("name", "shape"), SHAPES.items())
def test_a_token_is_the_vector_along_the_feature_axis(name, shape):
    layout = find_layout(name)
    latents = torch.rand(shape)
    tokens = layout.tokens(latents, 3)
    index = [-1] * latents.ndim
    index[layout.feature_axis] = slice(None)
    assert torch.equal(tokens[-1], latents[tuple(index)])


def test_a_channels_last_image_is_read_without_a_copy():
    latents = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
    tokens = find_layout("b c h w").tokens(latents, 3)
    assert tokens.data_ptr() == latents.data_ptr()


@pytest.mark.parametrize("shape", [(2, 5, 4), (5, 3), (2, 3, 5, 1)])
def test_wrong_shapes_are_named(shape):
    with pytest.raises(ShapeError, match=r"3 axes with dim=3 at axis 2, got shape \(") as caught:
        find_layout("b n d").tokens(torch.rand(shape), 3)
    assert str(shape) in str(caught.value)


def test_integers_are_refused():
    with pytest.raises(DTypeError, match="got int64; convert them"):
        find_layout("b n d").tokens(torch.zeros(1, 2, 3, dtype=torch.int64), 3)


def test_unknown_layouts_are_refused():
    with pytest.raises(OptionError, match="one of 'n d', 'b n d', .*; got 'b w h c'"):
        find_layout("b w h c")
