"""What the grouped classes share: slices, indices of all groups, and errors that name both."""

import pytest
import torch

from certvq.compat.vector_quantize_pytorch import (
    GroupedResidualFSQ,
    GroupedResidualLFQ,
    GroupedResidualVQ,
)
from certvq.errors import CodeRangeError, ShapeError

LAYERS = {
    "vq": lambda: GroupedResidualVQ(dim=6, groups=3, num_quantizers=2, codebook_size=4),
    "fsq": lambda: GroupedResidualFSQ(dim=6, groups=3, num_quantizers=2, levels=[4, 3]),
    "lfq": lambda: GroupedResidualLFQ(dim=6, groups=3, num_quantizers=2, codebook_size=4),
}


@pytest.fixture(params=LAYERS)
def layer(request):
    torch.manual_seed(0)
    return LAYERS[request.param]().eval()


def test_indices_give_the_vectors_of_all_groups_side_by_side(layer):
    quantized, indices, *_, codes = layer(torch.randn(2, 5, 6), return_all_codes=True)
    assert torch.equal(layer.get_output_from_indices(indices), quantized)
    assert torch.equal(layer.get_codes_from_indices(indices), torch.stack(list(codes)))
    assert layer.codebooks.shape[:2] == (3, 2)


@pytest.mark.parametrize("method", ["get_codes_from_indices", "get_output_from_indices"])
def test_another_number_of_groups_is_named(layer, method):
    indices = torch.zeros(2, 2, 5, 2, dtype=torch.long)
    with pytest.raises(ShapeError, match=r"of 3 groups, got shape \(2, 2, 5, 2\)"):
        getattr(layer, method)(indices)
    with pytest.raises(ShapeError, match="1 to 2 levels"):
        getattr(layer, method)(torch.zeros(3, 2, 5, 3, dtype=torch.long))
    with pytest.raises(CodeRangeError):
        getattr(layer, method)(torch.full((3, 2, 5, 2), 99))


def test_another_number_of_features_is_named(layer):
    with pytest.raises(ShapeError, match=r"dim=6 features at axis -1, got shape \(2, 5, 5\)"):
        layer(torch.zeros(2, 5, 5))
