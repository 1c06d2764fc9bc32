"""Masks: which rows count, and where they go back to."""

import pytest
import torch

from certvq.errors import DTypeError, ShapeError
from certvq.nn import PADDING
from certvq.nn._core.latents import among_padding, kept_rows

CPU = torch.device("cpu")


def test_rows_go_back_to_their_places_with_their_gradients():
    mask = torch.tensor([[True, False, True], [False, False, True]])
    kept = kept_rows(mask, (2, 3), CPU)
    assert kept.tolist() == [0, 2, 5]
    rows = torch.tensor([[1.0], [2.0], [3.0]], requires_grad=True)
    whole = among_padding(rows, kept, 6, 0)
    assert whole.flatten().tolist() == [1.0, 0.0, 2.0, 0.0, 0.0, 3.0]
    (whole.flatten() * torch.arange(6.0)).sum().backward()
    assert rows.grad.flatten().tolist() == [0.0, 2.0, 5.0]


def test_codes_among_padding_hold_the_sentinel():
    codes = among_padding(torch.tensor([4, 0]), torch.tensor([1, 2]), 4, PADDING)
    assert codes.tolist() == [-1, 4, 0, -1]


def test_no_mask_keeps_the_very_tensor():
    rows = torch.zeros(3, 2)
    assert kept_rows(None, (3,), CPU) is None
    assert among_padding(rows, None, 3, 0) is rows


def test_a_mask_that_is_not_bool_is_refused():
    with pytest.raises(DTypeError, match=r"mask must be bool.*got int64; compare, as in mask > 0"):
        kept_rows(torch.ones(2, 3, dtype=torch.int64), (2, 3), CPU)


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"shape of the codes, \(2, 3\), got \(3, 2\)"):
        kept_rows(torch.ones(3, 2, dtype=torch.bool), (2, 3), CPU)
