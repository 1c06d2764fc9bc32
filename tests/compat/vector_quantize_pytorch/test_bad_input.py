"""What `VectorQuantize` refuses leaves its state as it was; a batch of padding alone is none."""

import copy

import pytest
import torch

from certvq.compat.vector_quantize_pytorch import VectorQuantize
from certvq.errors import CodeRangeError, DTypeError, ShapeError


def trained(**options):
    torch.manual_seed(0)
    layer = VectorQuantize(dim=8, codebook_size=16, **options)
    for _ in range(2):
        layer(torch.randn(2, 10, 8))
    return layer


BAD = {
    "integers": (torch.ones(2, 10, 8, dtype=torch.int32), {}, DTypeError, "must be float64"),
    "indices out of range": (
        torch.ones(2, 10, 8),
        {"indices": torch.full((2, 10), 16)},
        CodeRangeError,
        r"range\(16\), got 16",
    ),
    "indices of another shape": (
        torch.ones(2, 10, 8),
        {"indices": torch.zeros(2, 9, dtype=torch.int64)},
        ShapeError,
        r"indices must have the shape \(2, 10\) that forward returns .* got \(2, 9\)",
    ),
    "indices that are floats": (
        torch.ones(2, 10, 8),
        {"indices": torch.zeros(2, 10)},
        DTypeError,
        "must be integers, got float32",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused_changes_nothing(name):
    latents, arguments, error, message = BAD[name]
    layer = trained()
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(error, match=message):
        layer(latents, **arguments)
    after = layer.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"heads": 2}, {"heads": 2, "codebook_dim": 3}], ids=str)
def test_a_batch_of_padding_alone(training, options):
    layer = trained(**options).train(training)
    mask = torch.zeros(2, 10, dtype=torch.bool)
    quantized, indices, loss = layer(torch.randn(2, 10, 8), mask=mask)
    assert not quantized.any()
    assert (indices == -1).all()
    assert torch.isfinite(loss).all()
