"""Averages over cells, masks, and the way back."""

import pytest
import torch

from certvq.errors import OptionError, ShapeError
from certvq.nn._levels import scales


def test_averages_leave_padding_out():
    maps = torch.tensor([[[1.0, 5.0, 7.0, 99.0, -4.0, 3.0]]])
    mask = torch.tensor([[True, True, True, False, False, False]])
    assert scales.average(maps, mask, (3,)).tolist() == [[[3.0, 7.0, 0.0]]]
    assert scales.present(mask, (3,)).tolist() == [[True, True, False]]
    assert scales.average(maps, None, (3,)).tolist() == [[[3.0, 53.0, -0.5]]]
    assert scales.present(None, (3,)) is None


def test_half_precision_is_averaged_in_float32():
    maps = torch.full((1, 1, 4096), 60000.0, dtype=torch.float16)
    assert scales.average(maps, None, (1,)).item() == 60000.0


def test_spreading_keeps_type_and_identity():
    maps = torch.randn(1, 2, 3, 2).bfloat16()
    assert scales.spread(maps, (3, 2)) is maps
    assert scales.spread(maps, (6, 4)).dtype == torch.bfloat16


@pytest.mark.parametrize("bad", [[], [0], [2, 1], [(1, 1, 1)], [(2, 3), (3, 2)], [-1]], ids=repr)
def test_scales_grow(bad):
    with pytest.raises(OptionError, match="along 2 axes, each at least 1, from coarse to fine"):
        scales.require_scales(bad, 2)


def test_codes_end_with_a_scale():
    sizes = ((1, 1), (2, 2))
    pieces = scales.split(torch.arange(10).reshape(2, 5), sizes)
    assert [piece.tolist() for piece in pieces] == [
        [[[0]], [[5]]],
        [[[1, 2], [3, 4]], [[6, 7], [8, 9]]],
    ]
    assert len(scales.split(torch.zeros(2, 1), sizes)) == 1
    with pytest.raises(ShapeError, match=r"n one of \[1, 5\].*got shape \(2, 4\)"):
        scales.split(torch.zeros(2, 4), sizes)


def test_the_size_of_the_grid():
    assert scales.full_size(((1,), (4,)), None, None) == (4,)
    assert scales.full_size(((1,), (4,)), torch.ones(2, 7), None) == (7,)
    assert scales.full_size(((1,), (4,)), None, [9]) == (9,)
    with pytest.raises(ShapeError, match=r"1 axes, each at least 1, got \(2, 3\)"):
        scales.full_size(((4,),), None, (2, 3))
