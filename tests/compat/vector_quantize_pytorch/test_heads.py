"""Latents cut into heads and put together again."""

import pytest
import torch

from certvq.compat.vector_quantize_pytorch._tensors import Heads
from certvq.errors import ShapeError


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_parts_are_put_together_again(count, separate):
    heads = Heads(count, separate)
    inside = torch.arange(24.0).reshape(4, 6)
    parts = heads.parts(inside)
    assert len(parts) == (count if separate else 1)
    assert parts[0].shape[1] == 6 // count
    assert torch.equal(parts[0][0], inside[0, : 6 // count])
    assert torch.equal(heads.together(parts), inside)
    wanted = torch.arange(4 * count).reshape(4, count)
    found = heads.codes(heads.own(wanted))
    assert torch.equal(found.reshape(4, count), wanted)


def test_indices_need_an_axis_for_the_heads():
    rows, grid = Heads(2, separate=True).rows(torch.zeros(3, 5, 2))
    assert (tuple(rows.shape), grid) == ((15, 2), (3, 5))
    rows, grid = Heads(1, separate=False).rows(torch.zeros(3, 5))
    assert (tuple(rows.shape), grid) == ((15, 1), (3, 5))
    with pytest.raises(ShapeError, match=r"last axis of size heads=2, got shape \(4, 3\)"):
        Heads(2, separate=False).rows(torch.zeros(4, 3))
