"""Images that the network cannot take are named; the others are padded by their own edge."""

import pytest
import torch

from certvq.errors import DTypeError, ShapeError
from certvq.models._images import pad_to_stride, require_images, require_size


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 8, 8), r"four axes \(batch, channels, height, width\), got shape \(3, 8, 8\)"),
        ((2, 1, 8, 8), r"model's 3 channels, got 1 in shape \(2, 1, 8, 8\)"),
        ((2, 3, 3, 8), "at least 4 x 4 pixels, the stride of the model, got 3 x 8"),
        ((2, 3, 8, 0), "at least 4 x 4 pixels, the stride of the model, got 8 x 0"),
    ],
)
def test_wrong_shapes_are_named(shape, message):
    with pytest.raises(ShapeError, match=message):
        require_images(torch.zeros(shape), channels=3, stride=4)


def test_bytes_are_refused():
    with pytest.raises(DTypeError, match=r"floats of \[0, 1\], got uint8; divide 8-bit"):
        require_images(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), channels=3, stride=4)


def test_the_stride_itself_is_large_enough():
    assert require_size(4, 4, 4) is None
    assert require_images(torch.zeros(1, 1, 4, 4), channels=1, stride=4) is None


def test_padding_repeats_the_last_row_and_column():
    image = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert pad_to_stride(image, 4)[0, 0].tolist() == [
        [0, 1, 2, 2],
        [3, 4, 5, 5],
        [3, 4, 5, 5],
        [3, 4, 5, 5],
    ]


def test_multiples_are_not_copied():
    image = torch.zeros(1, 1, 4, 8)
    assert pad_to_stride(image, 4) is image
