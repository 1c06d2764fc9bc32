"""What is no tensor of codes is refused, with its first bad place."""

import pytest
import torch

from certvq.errors import CodeRangeError, DTypeError, ShapeError
from certvq.nn._codes import require_codes

INTEGERS = [
    torch.int8, torch.int16, torch.int32, torch.int64,
    torch.uint8, torch.uint16, torch.uint32, torch.uint64,
]  # fmt: skip


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_of_every_width_are_read(dtype):
    codes = require_codes(torch.tensor([[0, 6]]).to(dtype), 7, 2)
    assert codes.dtype == torch.int64
    assert codes.tolist() == [[0, 6]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_other_types_are_refused(dtype):
    with pytest.raises(DTypeError, match=f"must be integers, got {str(dtype)[6:]}"):
        require_codes(torch.zeros(1, 1, dtype=dtype), 7, 2)


@pytest.mark.parametrize("bad", [-1, 7, 2**40])
def test_the_first_bad_place_is_named(bad):
    codes = torch.tensor([[0, 6, 3], [2, bad, bad]])
    message = rf"range\(7\), got {bad} at position \(1, 1\) \(2 bad codes in all\)"
    with pytest.raises(CodeRangeError, match=message):
        require_codes(codes, 7, 2)


def test_another_number_of_axes_is_refused():
    with pytest.raises(ShapeError, match=r"must have 2 axes, got shape \(3,\)"):
        require_codes(torch.zeros(3, dtype=torch.int64), 7, 2)


def test_no_codes_are_fine():
    assert require_codes(torch.zeros(0, 4, dtype=torch.int64), 7, 2).shape == (0, 4)
