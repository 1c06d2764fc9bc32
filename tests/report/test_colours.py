"""Colours that carry a meaning."""

import numpy as np
import pytest

from certvq.report._colours import code_colours, hexadecimal, radius_colours, radius_gradient


def _lightness(colours):
    return colours.astype(int).sum(axis=-1)


def test_codes_far_apart_look_further_apart_than_close_ones(rng):
    centres = rng.normal(size=(2, 8))
    book = np.concatenate([centre + 0.01 * rng.normal(size=(20, 8)) for centre in centres])
    colours = code_colours(book, np.ones(40, np.int64)).astype(int)
    within = np.abs(colours[:20, None] - colours[None, :20]).sum(axis=2).max()
    across = np.abs(colours[:20, None] - colours[None, 20:]).sum(axis=2).min()
    assert within < across


def test_equal_code_vectors_have_one_colour(rng):
    book = np.repeat(rng.normal(size=(3, 5)), 2, axis=0)
    colours = code_colours(book, np.arange(6))
    assert np.array_equal(colours[0::2], colours[1::2])


def test_rare_codes_do_not_turn_the_axes(rng):
    book = np.stack([np.linspace(-1, 1, 50), np.zeros(50)], axis=1)
    far = np.array([[0.0, 1000.0]])
    counts = np.ones(51, np.int64)
    counts[-1] = 0
    alone = code_colours(book, counts[:-1])
    assert np.array_equal(code_colours(np.concatenate([book, far]), counts)[:-1], alone)


@pytest.mark.parametrize("sign", [1, -1])
def test_codes_of_light_places_are_light(sign):
    book = np.linspace(-1, 1, 9)[:, None]
    tints = np.zeros((9, 3))
    tints[:, 0] = sign * book[:, 0]
    lightness = _lightness(code_colours(book, np.ones(9, np.int64), tints=tints))
    assert (np.diff(sign * lightness) > 0).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 1), (5, 2)])
def test_small_codebooks_have_colours(shape, rng):
    colours = code_colours(rng.normal(size=shape), np.zeros(shape[0], np.int64))
    assert colours.shape == (shape[0], 3)
    assert colours.dtype == np.uint8


def test_small_radii_are_light_and_large_ones_dark():
    radius = np.array([[0.0, 0.1, 0.5], [0.9, 1.0, np.inf]])
    colours = radius_colours(radius, 1.0)
    assert colours.shape == (2, 3, 3)
    lightness = _lightness(colours).ravel()
    assert (np.diff(lightness)[:4] < 0).all()
    assert lightness[4] == lightness[5]


def test_scale_shows_the_colours_of_its_ends():
    first, last = hexadecimal(radius_colours(np.array([0.0, 1.0]), 1.0))
    gradient = radius_gradient()
    assert gradient.startswith(f"linear-gradient(to right, {first}, ")
    assert gradient.endswith(f", {last})")


def test_hexadecimal_is_written_as_in_css():
    assert hexadecimal(np.array([[0, 15, 255]], np.uint8)) == ["#000fff"]
