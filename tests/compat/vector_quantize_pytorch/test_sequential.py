"""`Sequential`: one quantizer, the rest before and behind it."""

import pytest
import torch
from vector_quantize_pytorch import Sequential as OriginalSequential
from vector_quantize_pytorch import VectorQuantize as Original

from certvq import nn
from certvq.compat.vector_quantize_pytorch import Sequential, VectorQuantize
from certvq.errors import OptionError


def test_it_is_the_original_s():
    torch.manual_seed(0)
    theirs = OriginalSequential(torch.nn.Linear(3, 4), Original(4, 8), torch.nn.Linear(4, 2)).eval()
    ours = Sequential(torch.nn.Linear(3, 4), VectorQuantize(4, 8), torch.nn.Linear(4, 2)).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 5, 3)
    mask = torch.ones(2, 5, dtype=torch.bool)
    mask[0, 2:] = False
    for mine, other in zip(ours(x, mask=mask), theirs(x, mask=mask), strict=True):
        assert torch.equal(mine, other)


def test_quantizers_of_certvq_count():
    layer = Sequential(nn.VectorQuantize(4, 8), torch.nn.ReLU()).eval()
    quantized, codes, _ = layer(torch.randn(1, 5, 4))
    assert quantized.shape == (1, 5, 4)
    assert codes.shape == (1, 5)


@pytest.mark.parametrize("count", [0, 2])
def test_there_is_exactly_one(count):
    with pytest.raises(OptionError, match=f"exactly one quantizer, got {count}"):
        Sequential(*[VectorQuantize(4, 8) for _ in range(count)], torch.nn.ReLU())
