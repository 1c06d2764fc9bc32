"""Codes that nothing chooses become tokens of the batch."""

import pytest
import torch

from certvq.errors import OptionError
from certvq.nn import Gradient, Revive, Uniform, VectorQuantize
from certvq.nn._codebook.statistics import dead_codes, pick_tokens


@pytest.mark.parametrize("threshold", [-0.1, 1.0, float("nan")])
def test_threshold_out_of_range(threshold):
    with pytest.raises(OptionError, match=rf"threshold must lie in \[0, 1\), got {threshold}"):
        Revive(threshold=threshold)


def test_a_code_is_dead_below_the_share_of_the_mean():
    counts = torch.tensor([10.0, 0.99, 1.01, 0.0, 0.0])
    assert dead_codes(counts, counts.mean() / 2.4).tolist() == [1, 3, 4]
    assert dead_codes(counts, 0.0).tolist() == []


def test_tokens_are_picked_without_replacement(seeded):
    tokens = torch.arange(10.0)[:, None]
    picked = pick_tokens(tokens, 7, seeded()).flatten().tolist()
    assert len(set(picked)) == 7
    assert picked != sorted(picked)
    assert sorted(pick_tokens(tokens, 30, seeded()).flatten().tolist()) == list(range(10))


def far_layer(seeded, update=None):
    """Code 0 lies where the data are, code 1 far away."""
    options = {} if update is None else {"update": update}
    layer = VectorQuantize(
        1, 2, start=Uniform(), revive=Revive(threshold=0.1), generator=seeded(), **options
    )
    with torch.no_grad():
        layer.codebook.copy_(torch.tensor([[0.0], [1e6]]))
    return layer


@pytest.mark.parametrize("update", [None, Gradient()])
def test_a_code_that_nothing_chooses_is_revived(update, seeded):
    layer = far_layer(seeded, update)
    for step in range(40):
        latents = torch.randn(1, 20, 1, generator=seeded(step))
        _, codes, _ = layer(latents)
        if float(layer.codebook[1].detach()) < 10.0:
            break
        assert not bool(codes.any())
    assert 1 <= step < 39
    assert float(layer.codebook[1].detach()) in latents.flatten().tolist()
    assert bool((codes == 1).any())
    share = layer.statistics.counts[1] / layer.statistics.counts.sum()
    assert 0.1 / 2 < share < 0.5


def test_none_revives_nothing(seeded):
    layer = far_layer(seeded)
    layer.revive = None
    for step in range(40):
        layer(torch.randn(1, 20, 1, generator=seeded(step)))
    assert float(layer.codebook[1]) > 1e5


def test_fewer_tokens_than_dead_codes(seeded):
    """Each token revives one code; the others wait for the next batch."""
    layer = VectorQuantize(1, 6, start=Uniform(), revive=Revive(), generator=seeded())
    layer(torch.zeros(1, 1, 1))
    layer.codebook.copy_(torch.full((6, 1), 1e3))
    layer.statistics.counts.copy_(torch.tensor([100.0, 0, 0, 0, 0, 0]))
    layer.statistics.pending_counts.zero_()
    layer(torch.tensor([[[1.0], [2.0]]]))
    assert sorted(layer.codebook.flatten().tolist()) == [1.0, 2.0] + [1e3] * 4
