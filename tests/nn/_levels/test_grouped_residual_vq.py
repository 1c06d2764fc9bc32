"""Groups of levels: one depth for all groups, codes by group and level."""

import pytest
import torch

from certvq.errors import OptionError
from certvq.nn import PADDING, GroupedResidualVQ, LevelDropout


def test_all_groups_use_the_same_depth(seeded, same_bits):
    layer = GroupedResidualVQ(
        6, 5, groups=3, num_quantizers=4, dropout=LevelDropout(), generator=seeded(), layout="b d n"
    )
    depths = set()
    for step in range(12):
        quantized, codes, _ = layer(torch.randn(2, 6, 30, generator=seeded(step)))
        assert codes.shape == (2, 30, 3, 4)
        coded = (codes != PADDING).sum(dim=-1)
        assert (coded == coded[0, 0, 0]).all()
        depths.add(int(coded[0, 0, 0]))
        assert same_bits(quantized, layer.decode(codes))
        assert same_bits(quantized, layer.decode(codes[..., : int(coded[0, 0, 0])]))
    assert depths == {1, 2, 3, 4}


def test_groups_do_not_see_each_other(seeded):
    layer = GroupedResidualVQ(4, 5, groups=2, num_quantizers=2, generator=seeded()).eval()
    latents = torch.randn(1, 20, 4, generator=seeded())
    other = latents.clone()
    other[..., 2:] += 1.0
    assert torch.equal(layer.encode(latents)[..., 0, :], layer.encode(other)[..., 0, :])
    expected = layer.groups[0].encode(latents[..., :2])
    assert torch.equal(layer.encode(latents)[..., 0, :], expected)


@pytest.mark.parametrize("groups", [0, 3, -1])
def test_dim_is_a_multiple_of_groups(groups):
    with pytest.raises(OptionError, match=f"multiple of groups.*got 4 and {groups}"):
        GroupedResidualVQ(4, 5, groups=groups, num_quantizers=2)
