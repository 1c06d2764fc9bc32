"""`SimVQ` beside the installed original: codes, vectors, losses, gradients."""

import pytest
import torch

from certvq.compat.vector_quantize_pytorch import SimVQ
from certvq.errors import CodeRangeError

original = pytest.importorskip("vector_quantize_pytorch")

ULPS = 64 * 2.0**-23
"""Relative to the largest entry: theirs rebuild vectors of 8 entries by rotation, in float32."""

MLP = torch.nn.Sequential(torch.nn.Linear(5, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8))


def pair(*, training=True, **options):
    options = {"dim": 8, "codebook_size": 50, **options}
    ours, theirs = SimVQ(**options), original.SimVQ(**options)
    ours.load_state_dict(theirs.state_dict())
    return ours.train(training), theirs.train(training)


def near(found, expected):
    scale = expected.abs().max().clamp(min=1e-6)
    return found.dtype == expected.dtype and bool((found - expected).abs().max() <= ULPS * scale)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (2, 30, 8)),
        ({}, (2, 8)),
        ({"rotation_trick": False}, (2, 5, 6, 8)),
        ({"channel_first": True}, (2, 8, 5, 6)),
        ({"channel_first": True, "rotation_trick": False}, (2, 8, 11)),
        ({"frozen_codebook_dim": 3}, (2, 30, 8)),
        ({"codebook_transform": MLP, "frozen_codebook_dim": 5}, (2, 30, 8)),
        ({"commitment_weight": 3.0, "input_to_quantize_commit_loss_weight": 0.5}, (2, 30, 8)),
    ],
    ids=str,
)
def test_outputs_and_gradients_are_the_originals(options, shape, seeded):
    ours, theirs = pair(**options)
    latents = torch.randn(shape, generator=seeded())
    weights = torch.randn(shape, generator=seeded(1))
    results = []
    for module in (ours, theirs):
        module.zero_grad()
        leaf = latents.clone().requires_grad_()
        quantized, indices, loss = module(leaf)
        ((quantized * weights).sum() + loss).backward()
        grads = [p.grad for p in module.code_transform.parameters()]
        results.append(
            (quantized.detach(), indices, loss.detach(), leaf.grad, *map(torch.clone, grads))
        )
    found, expected = results
    assert torch.equal(found[1], expected[1])
    assert all(
        near(one, other)
        for one, other in zip(found, expected, strict=True)
        if one.is_floating_point()
    )
    decoded = ours.indices_to_codes(found[1])
    assert torch.equal(decoded, found[0])
    assert near(decoded, theirs.indices_to_codes(found[1]))


@pytest.mark.parametrize("rotation_trick", [True, False])
def test_eval_mode_gives_the_originals_outputs(rotation_trick, seeded):
    ours, theirs = pair(training=False, rotation_trick=rotation_trick)
    latents = torch.randn(2, 30, 8, generator=seeded())
    found, expected = ours(latents), theirs(latents)
    assert torch.equal(found[1], expected[1])
    assert near(found[0], expected[0])
    assert near(found[2], expected[2])


def test_where_the_original_names_another_code_ours_is_nearer(seeded):
    ours, theirs = pair(codebook_size=300)
    with torch.no_grad():
        theirs.frozen_codebook.mul_(0.01)
        theirs.code_transform.weight.copy_(torch.eye(8))
        latents = 10.0 + 0.01 * torch.randn(1, 500, 8, generator=seeded())
        theirs.frozen_codebook.add_(10.0)
    ours.load_state_dict(theirs.state_dict())
    found, expected = ours(latents)[1], theirs(latents)[1]
    wrong = found != expected
    assert wrong.any(), "the original rounds distances of 0.01 at an offset of 10"
    book = ours.codebook.detach().double()
    distance = torch.cdist(latents[0].double(), book, compute_mode="donot_use_mm_for_euclid_dist")
    mine = distance.gather(1, found[0][:, None])
    other = distance.gather(1, expected[0][:, None])
    assert (mine <= other)[wrong[0]].all()


def test_init_fn_shapes_the_frozen_vectors():
    ours = SimVQ(4, 6, init_fn=torch.zeros_like)
    assert not ours.frozen_codebook.any()


def test_attributes_are_the_originals():
    ours, theirs = pair()
    assert torch.equal(ours.codebook, theirs.codebook)
    assert torch.equal(ours.frozen_codebook, theirs.frozen_codebook)
    assert ours.codebook_size == theirs.codebook_size


def test_an_index_out_of_range_is_named():
    with pytest.raises(CodeRangeError, match=r"range\(6\), got -1"):
        SimVQ(4, 6).indices_to_codes(torch.tensor([[-1]]))
