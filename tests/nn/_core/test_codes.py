"""What is no tensor of codes is refused, with its first bad place."""

import pytest
import torch

from certvq.errors import CodeRangeError, DTypeError, ShapeError
from certvq.nn._core.codes import require_codes, require_range

INTEGERS = [
    torch.int8, torch.int16, torch.int32, torch.int64,
    torch.uint8, torch.uint16, torch.uint32, torch.uint64,
]  # fmt: skip


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_of_every_width_are_read(dtype):
    codes = require_codes(torch.tensor([[0, 6]]).to(dtype), 2)
    assert codes.dtype == torch.int64
    assert codes.tolist() == [[0, 6]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_other_types_are_refused(dtype):
    with pytest.raises(DTypeError, match=f"must be integers, got {str(dtype)[6:]}"):
        require_codes(torch.zeros(1, 1, dtype=dtype), 2)


@pytest.mark.parametrize("bad", [-1, 7, 2**40])
def test_the_first_bad_place_is_named(bad):
    codes = torch.tensor([[0, 6, 3], [2, bad, bad]])
    message = rf"range\(7\), got {bad} at position \(1, 1\) \(2 bad codes in all\)"
    with pytest.raises(CodeRangeError, match=message):
        require_range(codes, 7)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_sizes_beyond_the_type_of_the_codes_do_not_wrap(dtype):
    """199 as an int8 is -57, than which 100 is greater; unsigned types are not compared at all."""
    wide = require_range(torch.tensor([100]).to(dtype), 200)
    assert (wide.dtype, wide.tolist()) == (torch.int64, [100])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_other_types_have_no_range(dtype):
    with pytest.raises(DTypeError, match=f"must be integers, got {str(dtype)[6:]}"):
        require_range(torch.zeros(1, dtype=dtype), 200)


def test_each_place_of_the_last_axis_may_have_its_own_size():
    require_range(torch.tensor([[6, 1], [0, 0]]), (7, 2))
    with pytest.raises(CodeRangeError, match=r"range\(2\), got 2 at position \(1, 1\)"):
        require_range(torch.tensor([[6, 1], [0, 2]]), (7, 2))


def test_the_greatest_codebook_has_all_positive_codes():
    require_range(torch.tensor([0, 2**63 - 1]), 2**63)
    with pytest.raises(CodeRangeError, match=r"got -2 at position \(0,\)"):
        require_range(torch.tensor([-2]), 2**63)


def test_padding_is_called_by_its_name():
    with pytest.raises(CodeRangeError, match="decode padding with the mask"):
        require_range(torch.tensor([[-1]]), 7)


def test_other_sizes_of_the_last_axes_are_refused():
    codes = torch.zeros(2, 3, 4, dtype=torch.int64)
    assert require_codes(codes, 2, code_shape=(4,)).shape == (2, 3, 4)
    with pytest.raises(
        ShapeError, match=r"3 axes, the last of sizes \(5,\), got shape \(2, 3, 4\)"
    ):
        require_codes(codes, 2, code_shape=(5,))


def test_another_number_of_axes_is_refused():
    with pytest.raises(ShapeError, match=r"must have 2 axes, got shape \(3,\)"):
        require_codes(torch.zeros(3, dtype=torch.int64), 2)


def test_no_codes_are_fine():
    assert require_codes(torch.zeros(0, 4, dtype=torch.int64), 2).shape == (0, 4)
