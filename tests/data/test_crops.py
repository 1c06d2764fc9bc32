"""Crops are a function of their arguments, lie inside the photographs, and cover them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certvq.data import Photograph, crops, from_arrays
from certvq.errors import DataError, OptionError


def numbered(height, width, *, first=0):
    """Pixels that tell their place: no two are equal."""
    count = height * width
    assert first + count <= 256
    return (first + np.arange(count, dtype=np.uint8)).reshape(height, width)


def windows(pixels, size):
    """Every crop that there is, and its mirror image, as bytes."""
    height, width = pixels.shape
    found = set()
    for top in range(height - size + 1):
        for left in range(width - size + 1):
            crop = pixels[top : top + size, left : left + size]
            found |= {crop.tobytes(), crop[:, ::-1].tobytes()}
    return found


@settings(deadline=None)
@given(
    height=st.integers(3, 10),
    width=st.integers(3, 10),
    size=st.integers(1, 3),
    seed=st.integers(0, 2**70),
    step=st.integers(0, 2**70),
)
def test_each_crop_is_a_window_of_a_photograph(height, width, size, seed, step):
    pixels = numbered(height, width)
    batch = crops(from_arrays([pixels]), size=size, count=4, seed=seed, step=step)
    assert batch.shape == (4, size, size, 1)
    assert {crop.tobytes() for crop in batch} <= windows(pixels, size)


def test_every_window_and_mirror_image_of_every_photograph_occurs():
    one, other = numbered(5, 4), numbered(3, 6, first=100)
    batch = crops(from_arrays([one, other]), size=3, count=2000, seed=0, step=0)
    assert {crop.tobytes() for crop in batch} == windows(one, 3) | windows(other, 3)


def test_photographs_have_equal_chances_whatever_their_size():
    large, small = np.zeros((100, 100), np.uint8), np.ones((4, 4), np.uint8)
    batch = crops(from_arrays([large, small]), size=4, count=4000, seed=1, step=0)
    # Five standard deviations of a fair coin.
    assert abs(int(batch[:, 0, 0, 0].sum()) - 2000) < 5 * 1000**0.5


def test_half_of_the_crops_are_mirrored_and_none_is_turned_over():
    pixels = numbered(3, 3)
    batch = crops(from_arrays([pixels]), size=3, count=4000, seed=2, step=0)
    plain = sum(np.array_equal(crop[:, :, 0], pixels) for crop in batch)
    mirrored = sum(np.array_equal(crop[:, :, 0], pixels[:, ::-1]) for crop in batch)
    assert plain + mirrored == 4000
    assert abs(plain - 2000) < 5 * 1000**0.5


def test_they_depend_on_seed_and_step_alone():
    photographs = from_arrays([numbered(12, 12), numbered(12, 9)])
    first = crops(photographs, size=4, count=6, seed=3, step=5)
    np.random.default_rng(0).random(10)
    crops(photographs, size=4, count=6, seed=3, step=6)
    assert np.array_equal(crops(photographs, size=4, count=6, seed=3, step=5), first)
    batches = {
        crops(photographs, size=4, count=6, seed=seed, step=step).tobytes()
        for seed in range(4)
        for step in range(4)
    }
    assert len(batches) == 16


def test_the_batch_may_be_changed():
    batch = crops(from_arrays([numbered(4, 4)]), size=2, count=1, seed=0, step=0)
    batch += 1
    assert batch.flags.c_contiguous


def test_a_photograph_as_large_as_the_crop_is_enough():
    pixels = numbered(4, 4)
    batch = crops(from_arrays([pixels]), size=4, count=8, seed=0, step=0)
    assert {crop.tobytes() for crop in batch} == {pixels.tobytes(), pixels[:, ::-1].tobytes()}


@pytest.mark.parametrize("shape", [(3, 9), (9, 3)])
def test_a_smaller_photograph_is_named_even_if_it_would_not_be_drawn(shape):
    photographs = from_arrays({"big": numbered(9, 9), "tiny": numbered(*shape)})
    with pytest.raises(DataError) as caught:
        crops(photographs, size=4, count=1, seed=0, step=0)
    assert str(caught.value) == (
        f"photograph 'tiny' is {shape[0]} x {shape[1]} pixels, smaller than the crops of 4 x 4; "
        "use smaller crops, or leave it out"
    )


def test_the_file_of_a_smaller_photograph_is_named():
    tiny = Photograph("tiny", numbered(3, 9)[:, :, None], path=Path("x/tiny.png"))
    with pytest.raises(DataError, match="^x/tiny.png: photograph 'tiny' is 3 x 9 pixels, smaller"):
        crops([tiny], size=4, count=1, seed=0, step=0)


@pytest.mark.parametrize(
    ("name", "value", "least"), [("size", 0, 1), ("count", 0, 1), ("seed", -1, 0), ("step", -1, 0)]
)
def test_numbers_below_their_range_are_refused(name, value, least):
    options = {"size": 2, "count": 1, "seed": 0, "step": 0, name: value}
    with pytest.raises(OptionError, match=f"{name} must be at least {least}, got {value}"):
        crops(from_arrays([numbered(4, 4)]), **options)


def test_no_photograph_and_mixed_channels_are_errors():
    with pytest.raises(DataError, match="at least one photograph is needed"):
        crops([], size=2, count=1, seed=0, step=0)
    mixed = from_arrays([numbered(4, 4), np.zeros((4, 4, 3), np.uint8)])
    with pytest.raises(DataError, match="photograph '0' has 1 channels, photograph '1' has 3"):
        crops(mixed, size=2, count=1, seed=0, step=0)
