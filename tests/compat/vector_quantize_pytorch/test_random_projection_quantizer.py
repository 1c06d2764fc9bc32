"""`RandomProjectionQuantizer` beside the installed original."""

import pytest
import torch

from certvq.compat.vector_quantize_pytorch import RandomProjectionQuantizer
from certvq.errors import OptionError

original = pytest.importorskip("vector_quantize_pytorch")


def pair(**options):
    options = {"dim": 24, "codebook_size": 100, "codebook_dim": 6, **options}
    ours, theirs = (
        RandomProjectionQuantizer(**options),
        original.RandomProjectionQuantizer(**options),
    )
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("num_codebooks", [1, 3])
@pytest.mark.parametrize("norm", [True, False])
def test_indices_are_the_originals(training, num_codebooks, norm, seeded):
    """No token of these is near a border: float32 names the true nearest code for all of them."""
    ours, theirs = pair(num_codebooks=num_codebooks, norm=norm)
    latents = 1.0 + torch.randn(2, 200, 24, generator=seeded())
    found, expected = ours.train(training)(latents), theirs.train(training)(latents)
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


@pytest.mark.parametrize("num_codebooks", [1, 3])
def test_cross_entropies_are_the_originals(num_codebooks, seeded):
    ours, theirs = pair(num_codebooks=num_codebooks)
    latents = torch.randn(2, 20, 24, generator=seeded())
    shape = (2, 20) if num_codebooks == 1 else (2, 20, num_codebooks)
    wanted = torch.randint(100, shape, generator=seeded(1))
    wanted[0, 3] = -1
    found, expected = ours(latents, wanted), theirs(latents, wanted)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_state_goes_both_ways(seeded):
    ours, theirs = pair(num_codebooks=2)
    again = RandomProjectionQuantizer(dim=24, codebook_size=100, codebook_dim=6, num_codebooks=2)
    again.load_state_dict(ours.state_dict())
    assert torch.equal(again.rand_projs, theirs.rand_projs)


def test_keywords_of_training_have_no_effect(seeded):
    ours, theirs = pair(decay=0.5, threshold_ema_dead_code=3, commitment_weight=7.0)
    latents = torch.randn(2, 20, 24, generator=seeded())
    assert torch.equal(ours(latents), theirs(latents))


def test_other_keywords_are_refused():
    with pytest.raises(OptionError, match="no keyword 'learnable_codebook'.*migration"):
        pair(learnable_codebook=True)
