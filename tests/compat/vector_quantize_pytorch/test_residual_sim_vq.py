"""`ResidualSimVQ` beside the installed original."""

import pytest
import torch

from certvq.compat.vector_quantize_pytorch import ResidualSimVQ
from certvq.errors import CodeRangeError, OptionError, ShapeError

original = pytest.importorskip("vector_quantize_pytorch")

ULPS = 256 * 2.0**-23
"""Relative to the largest entry: sums of three levels, each rebuilt by rotation in float32."""


def pair(*, training=True, **options):
    options = {"dim": 8, "num_quantizers": 3, "codebook_size": 40, **options}
    ours, theirs = ResidualSimVQ(**options), original.ResidualSimVQ(**options)
    ours.load_state_dict(theirs.state_dict())
    return ours.train(training), theirs.train(training)


def near(found, expected):
    scale = expected.abs().max().clamp(min=1e-6)
    return found.shape == expected.shape and bool((found - expected).abs().max() <= ULPS * scale)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (2, 30, 8)),
        ({"channel_first": True}, (2, 8, 5, 6)),
        ({"rotation_trick": False, "commitment_weight": 2.0}, (2, 30, 8)),
        ({"frozen_codebook_dim": 3}, (2, 30, 8)),
    ],
    ids=str,
)
def test_outputs_are_the_originals(options, shape, training, seeded):
    ours, theirs = pair(training=training, **options)
    latents = torch.randn(shape, generator=seeded())
    found, expected = (m(latents, return_all_codes=True) for m in (ours, theirs))
    assert torch.equal(found[1], expected[1])
    assert near(found[0], expected[0])
    assert near(found[2], expected[2])
    assert near(found[3], expected[3])
    assert torch.equal(ours.get_output_from_indices(found[1]), found[0])
    assert near(ours.codebooks, theirs.codebooks)


@pytest.mark.parametrize("rotation_trick", [True, False])
def test_gradients_are_the_originals(rotation_trick, seeded):
    """In train mode the latents get the gradient of every level."""
    ours, theirs = pair(rotation_trick=rotation_trick)
    latents = torch.randn(2, 30, 8, generator=seeded())
    weights = torch.randn(2, 30, 8, generator=seeded(1))
    results = []
    for module in (ours, theirs):
        leaf = latents.clone().requires_grad_()
        quantized, _, losses = module(leaf)
        ((quantized * weights).sum() + losses.sum()).backward()
        maps = [layer.code_transform.weight.grad for layer in module.layers]
        results.append((leaf.grad, *maps))
    assert all(map(near, *results))


@pytest.mark.parametrize(("cutoff", "multiple"), [(0, 1), (2, 1), (0, 2), (1, 4)])
def test_dropout_is_the_originals_from_the_same_seed(cutoff, multiple, seeded):
    ours, theirs = pair(
        num_quantizers=6,
        quantize_dropout=True,
        quantize_dropout_cutoff_index=cutoff,
        quantize_dropout_multiple_of=multiple,
    )
    latents = torch.randn(1, 5, 8, generator=seeded())
    depths = set()
    for seed in range(12):
        found = ours(latents, rand_quantize_dropout_fixed_seed=seed)
        expected = theirs(latents, rand_quantize_dropout_fixed_seed=seed)
        assert torch.equal(found[1], expected[1])
        assert near(found[2], expected[2])
        depths.add(int((found[1][0, 0] >= 0).sum()))
    assert len(depths) > 1
    torch.manual_seed(3)
    found = ours(latents)
    torch.manual_seed(3)
    assert torch.equal(found[1], theirs(latents)[1])


def test_fewer_levels_and_dropped_ones_are_decoded(seeded):
    ours, theirs = pair(quantize_dropout=True)
    indices = torch.randint(40, (2, 5, 3), generator=seeded())
    indices[0, :, 1] = -1
    assert near(ours.get_codes_from_indices(indices), theirs.get_codes_from_indices(indices))
    fewer = indices[..., :2]
    assert near(ours.get_output_from_indices(fewer), theirs.get_output_from_indices(fewer))
    ours, _ = pair()
    assert ours.get_output_from_indices(fewer).shape == (2, 5, 8)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"heads": 2}, "one head, got heads=2"),
        ({"quantize_dropout_cutoff_index": 3}, r"cutoff_index must lie in range\(3\), got 3"),
        ({"quantize_dropout_multiple_of": 0}, "multiple_of must be at least 1, got 0"),
    ],
)
def test_wrong_options_are_named(options, text):
    with pytest.raises(OptionError, match=text):
        ResidualSimVQ(**{"dim": 4, "num_quantizers": 3, "codebook_size": 5, **options})


def test_wrong_indices_are_named():
    layer = ResidualSimVQ(dim=4, num_quantizers=2, codebook_size=5)
    with pytest.raises(ShapeError, match="1 to 2 levels in the last axis, got shape"):
        layer.get_output_from_indices(torch.zeros(1, 4, 3, dtype=torch.int64))
    with pytest.raises(CodeRangeError, match=r"range\(5\), got 5"):
        layer.get_output_from_indices(torch.tensor([[[0, 5]]]))
