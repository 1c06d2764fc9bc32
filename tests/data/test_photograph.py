"""A photograph is checked once and cannot change afterwards."""

from pathlib import Path

import numpy as np
import pytest

from certvq.data import Photograph, require_usable
from certvq.errors import DataError, DTypeError, OptionError, ShapeError


def photograph(key="tom", height=8, width=8, channels=3):
    return Photograph(key, np.zeros((height, width, channels), np.uint8))


def test_pixels_are_a_read_only_copy():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    taken = Photograph("tom", pixels)
    pixels[:] = 0
    assert taken.pixels.tolist() == np.arange(24).reshape(2, 4, 3).tolist()
    with pytest.raises(ValueError, match="read-only"):
        taken.pixels[0, 0, 0] = 1


def test_a_view_on_writeable_memory_is_copied_even_if_it_is_read_only():
    pixels = np.zeros((2, 4, 3), np.uint8)
    view = pixels[:]
    view.setflags(write=False)
    taken = Photograph("tom", view)
    pixels[:] = 9
    assert taken.pixels.max() == 0


def test_frozen_pixels_are_not_copied_again():
    pixels = photograph().pixels
    assert Photograph("tim", pixels).pixels is pixels


def test_strided_pixels_become_contiguous():
    pixels = np.arange(60, dtype=np.uint8).reshape(5, 4, 3)[::-1, ::2]
    taken = Photograph("tom", pixels)
    assert taken.pixels.flags.c_contiguous
    assert np.array_equal(taken.pixels, pixels)


def test_it_tells_its_size():
    taken = photograph(height=5, width=7, channels=1)
    assert (taken.height, taken.width, taken.channels) == (5, 7, 1)


@pytest.mark.parametrize(
    "shape", [(4, 4), (4, 4, 2), (4, 4, 4), (0, 4, 3), (4, 0, 1), (1, 4, 4, 3)]
)
def test_other_shapes_are_refused(shape):
    with pytest.raises(ShapeError, match=r"photograph 'tom': pixels must have the shape") as caught:
        Photograph("tom", np.zeros(shape, np.uint8))
    assert str(caught.value).endswith(f"got {shape}")


@pytest.mark.parametrize(
    ("pixels", "kind"),
    [
        (np.zeros((2, 2, 3)), "float64"),
        (np.zeros((2, 2, 3), np.int8), "int8"),
        ([[[1, 2, 3]]], "list"),
    ],
)
def test_other_numbers_are_refused(pixels, kind):
    with pytest.raises(DTypeError, match=f"photograph 'tom': .* uint8 array, got {kind}; scale"):
        Photograph("tom", pixels)


def test_a_bad_key_is_refused():
    with pytest.raises(DataError, match=r"the key '\.\./tom' has the part"):
        photograph("../tom")


class TestRequireUsable:
    def test_photographs_as_large_as_the_stride_pass(self):
        both = [photograph("a", 4, 9), photograph("b", 9, 4)]
        assert require_usable(both, stride=4, channels=3) is None

    @pytest.mark.parametrize(("height", "width"), [(3, 9), (9, 3)])
    def test_smaller_ones_are_named_with_their_size(self, height, width):
        given = [photograph("a"), photograph("b", height, width)]
        with pytest.raises(DataError) as caught:
            require_usable(given, stride=4)
        assert str(caught.value) == (
            f"photograph 'b' is {height} x {width} pixels, smaller than the stride of 4; "
            "enlarge it or leave it out"
        )

    def test_none_at_all_is_an_error(self):
        with pytest.raises(DataError, match="at least one photograph is needed, got none"):
            require_usable([], stride=1)

    def test_a_repeated_key_is_named(self):
        with pytest.raises(DataError, match="^two photographs have the key 'a'; rename"):
            require_usable([photograph("a"), photograph("b"), photograph("a")], stride=1)

    def test_one_photograph_given_twice_is_refused(self):
        same = photograph("a")
        with pytest.raises(DataError, match="two photographs have the key 'a'; rename"):
            require_usable([same, same], stride=1)

    def test_mixed_channels_name_one_of_each(self):
        given = [photograph("a", channels=1), photograph("b", channels=1), photograph("c")]
        with pytest.raises(DataError) as caught:
            require_usable(given, stride=1)
        assert str(caught.value) == (
            "photograph 'a' has 1 channels, photograph 'c' has 3; "
            "load them with channels=1 or channels=3 (--channels 1 or 3 on the command line)"
        )

    def test_mixed_channels_name_the_files_that_are_known(self):
        grey = Photograph("a", np.zeros((8, 8, 1), np.uint8), path=Path("x/a.png"))
        colour = Photograph("c", np.zeros((8, 8, 3), np.uint8), path=Path("x/c.png"))
        with pytest.raises(DataError, match="^x/a.png and x/c.png: photograph 'a' has 1 channels"):
            require_usable([grey, colour], stride=1)
        with pytest.raises(DataError, match="^x/c.png: photograph 'a' has 1 channels"):
            require_usable([photograph("a", channels=1), colour], stride=1)
        with pytest.raises(DataError, match="^x/a.png: photograph 'a' has 1 channels, the netw"):
            require_usable([grey], stride=1, channels=3)

    def test_other_channels_than_the_network_are_named(self):
        with pytest.raises(DataError) as caught:
            require_usable([photograph("a", channels=1)], stride=1, channels=3)
        assert str(caught.value) == (
            "photograph 'a' has 1 channels, the network takes 3; "
            "load the photographs with channels=3 (--channels 3 on the command line)"
        )

    def test_all_problems_are_named_at_once(self):
        given = [photograph("a"), photograph("a"), photograph("b", 3), photograph("c", channels=1)]
        with pytest.raises(DataError) as caught:
            require_usable(given, stride=4, channels=3)
        assert str(caught.value) == (
            "3 problems: (1) two photographs have the key 'a'; rename one of them; "
            "(2) photograph 'b' is 3 x 8 pixels, smaller than the stride of 4; enlarge it or leave "
            "it out; (3) photograph 'c' has 1 channels, the network takes 3; load the photographs "
            "with channels=3 (--channels 3 on the command line)"
        )
        many = [photograph(f"p{number}", 3) for number in range(30)]
        with pytest.raises(DataError, match=r"^30 problems: .*\(20\) .*; and 10 more$"):
            require_usable(many, stride=4)

    def test_the_stride_is_at_least_one(self):
        with pytest.raises(OptionError, match="stride must be at least 1, got 0"):
            require_usable([photograph()], stride=0)
