"""PSNR follows its formula, exactly summed, and pools pixels and not pictures."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio

from certvq.errors import DTypeError, ShapeError
from certvq.train import mean_psnr, psnr


def test_equal_pictures_are_infinitely_close(rng):
    picture = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert psnr(picture, picture) == math.inf


def test_black_against_white_is_zero():
    assert psnr(np.zeros((4, 4, 1), np.uint8), np.full((4, 4, 1), 255, np.uint8)) == 0.0


def test_differences_do_not_wrap_around():
    """1 - 255 is -254 and not 2, on either side."""
    low, high = np.full((2, 2, 3), 1, np.uint8), np.full((2, 2, 3), 255, np.uint8)
    expected = 20 * math.log10(255 / 254)
    assert psnr(low, high) == pytest.approx(expected, rel=1e-12)
    assert psnr(high, low) == pytest.approx(expected, rel=1e-12)


@settings(deadline=None)
@given(seed=st.integers(0, 1000), channels=st.sampled_from([1, 3]))
def test_it_agrees_with_scikit_image(seed, channels):
    random = np.random.default_rng(seed)
    one, other = random.integers(0, 256, (2, 6, 5, channels), dtype=np.uint8)
    assert psnr(one, other) == pytest.approx(peak_signal_noise_ratio(one, other), rel=1e-12)


def test_strided_and_read_only_pictures_are_taken(rng):
    picture = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    picture.setflags(write=False)
    turned = picture[::-1, ::2]
    assert psnr(turned, turned.copy()) == math.inf


def test_the_mean_is_over_pixels_and_not_over_pictures():
    perfect = np.zeros((30, 10, 1), np.uint8)
    wrong = np.zeros((10, 10, 1), np.uint8)
    pairs = [(perfect, perfect), (wrong, wrong + 2)]
    # A quarter of the pixels is wrong by two levels: the mean squared error is one.
    assert mean_psnr(pairs) == pytest.approx(20 * math.log10(255), rel=1e-12)
    assert mean_psnr(iter(pairs)) == mean_psnr(pairs)


def test_the_mean_of_one_pair_is_its_psnr(rng):
    one, other = rng.integers(0, 256, (2, 6, 5, 3), dtype=np.uint8)
    assert mean_psnr([(one, other)]) == psnr(one, other)


def test_unlike_shapes_are_refused():
    with pytest.raises(ShapeError, match=r"the same shape, got \(2, 3, 1\) and \(3, 2, 1\)"):
        psnr(np.zeros((2, 3, 1), np.uint8), np.zeros((3, 2, 1), np.uint8))


@pytest.mark.parametrize("pairs", [[], [(np.zeros((0, 3), np.uint8), np.zeros((0, 3), np.uint8))]])
def test_no_pixel_is_refused(pairs):
    with pytest.raises(ShapeError, match="PSNR needs at least one pixel, got none"):
        mean_psnr(pairs)


def test_other_numbers_are_refused():
    whole, real = np.zeros((2, 2), np.uint8), np.zeros((2, 2))
    with pytest.raises(DTypeError, match="uint8 pictures, got float64 as the original"):
        psnr(real, whole)
    with pytest.raises(DTypeError, match="uint8 pictures, got float64 as the reconstruction"):
        psnr(whole, real)
