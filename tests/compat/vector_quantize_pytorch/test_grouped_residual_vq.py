"""The original's GroupedResidualVQ beside ours."""

import copy

import pytest
import torch

from certvq.compat.vector_quantize_pytorch import GroupedResidualVQ
from certvq.errors import CodeRangeError, NonFiniteError, OptionError, ShapeError

original = pytest.importorskip("vector_quantize_pytorch", reason="the bench extra")

NEAR = {"rtol": 2e-5, "atol": 2e-6}
"""Bound of sums of a few float32 numbers of magnitude 1 that are added in another order."""


def pair(**keywords):
    keywords = {"dim": 6, "groups": 2, "num_quantizers": 3, "codebook_size": 8} | keywords
    torch.manual_seed(0)
    keywords["eps"] = 1e-9  # the original's smoothing draws codes without tokens to the origin
    theirs = original.GroupedResidualVQ(**keywords)
    for rvq in theirs.rvqs:
        for layer in rvq.layers:
            book = layer._codebook
            book.embed.data.copy_(torch.randn_like(book.embed))
            book.embed_avg.data.copy_(book.embed.data)
    ours = GroupedResidualVQ(**keywords)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs, ours


def latents(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(100 + seed))


@pytest.mark.parametrize(
    "keywords", [{}, {"quantize_dropout": True}, {"codebook_dim": 2}], ids=repr
)
@pytest.mark.parametrize("training", [True, False])
def test_it_equals_the_original(keywords, training):
    theirs, ours = (module.train(training) for module in pair(**keywords))
    for step in range(3):
        x = latents(2, 30, 6, seed=step)
        results = []
        for module in (theirs, ours):
            torch.manual_seed(step)
            leaf = x.clone().requires_grad_()
            result = module(leaf, return_all_codes=not training)
            if training:
                (result[0].square().sum() + result[2].sum()).backward()
            results.append((result, leaf.grad))
        (expected, slope), (got, our_slope) = results
        assert torch.equal(got[1], expected[1])
        assert len(got) == len(expected)
        torch.testing.assert_close(got, expected, **NEAR)
        if training:
            torch.testing.assert_close(our_slope, slope, rtol=1e-3, atol=1e-4)
    theirs, ours = theirs.eval(), ours.eval()
    indices = theirs(x)[1]
    for name in ("get_codes_from_indices", "get_output_from_indices"):
        torch.testing.assert_close(
            getattr(ours, name)(indices), getattr(theirs, name)(indices), **NEAR
        )
    torch.testing.assert_close(ours.codebooks, theirs.codebooks, **NEAR)


def test_masks_equal_the_original():
    theirs, ours = pair()
    mask = torch.ones(2, 30, dtype=torch.bool)
    mask[0, 20:] = False
    x = latents(2, 30, 6)
    expected, got = theirs(x, mask=mask), ours(x, mask=mask)
    assert torch.equal(got[1], expected[1])
    torch.testing.assert_close(got[0], expected[0], **NEAR)
    torch.testing.assert_close(got[2], expected[2], **NEAR)


def test_images():
    """Channels are the second axis, of what is decoded too."""
    _, plain = pair()
    ours = GroupedResidualVQ(
        dim=6, groups=2, num_quantizers=3, codebook_size=8, accept_image_fmap=True
    )
    ours.load_state_dict(plain.state_dict())
    x = latents(2, 6, 3, 5)
    quantized, indices, _ = ours.eval()(x)
    expected = plain.eval()(x.permute(0, 2, 3, 1).reshape(2, 15, 6))
    assert torch.equal(quantized.flatten(2).transpose(1, 2), expected[0])
    assert torch.equal(indices.reshape(2, 2, 15, 3), expected[1])
    assert torch.equal(ours.get_output_from_indices(indices), quantized)


def test_cross_entropy_of_given_indices():
    _, ours = pair()
    x = latents(2, 30, 6)
    indices = ours.eval()(x)[1]
    quantized, entropy = ours(x, indices=indices)
    torch.testing.assert_close(quantized, ours.get_output_from_indices(indices))
    each = [
        rvq(x[..., 3 * g : 3 * g + 3], indices=indices[g])[1] for g, rvq in enumerate(ours.rvqs)
    ]
    torch.testing.assert_close(entropy, sum(each))


def test_a_bad_group_stops_all_of_them(snapshot, unchanged):
    _, ours = pair()
    ours(latents(2, 30, 6))
    before = snapshot(ours)
    x = latents(2, 30, 6)
    x[1, 2, 5] = float("nan")
    with pytest.raises(NonFiniteError, match="row 32, column 2"):
        ours(x)
    assert unchanged(ours, before)
    assert unchanged(copy.deepcopy(ours), before)


def test_wrong_input_is_named():
    _, ours = pair()
    with pytest.raises(OptionError, match="multiple of groups.*got 6 and 4"):
        GroupedResidualVQ(dim=6, groups=4, num_quantizers=3, codebook_size=8)
    with pytest.raises(ShapeError, match=r"dim=6 features at axis -1, got shape \(2, 30, 5\)"):
        ours(latents(2, 30, 5))
    with pytest.raises(ShapeError, match=r"of 2 groups, got shape \(3, 1, 1, 3\)"):
        ours.get_codes_from_indices(torch.zeros(3, 1, 1, 3, dtype=torch.int64))
    with pytest.raises(CodeRangeError, match="got 9"):
        ours.get_output_from_indices(torch.full((2, 1, 1, 3), 9))


def test_volumes_are_cut_along_the_channels():
    """The original fails."""
    options = {"dim": 4, "groups": 2, "num_quantizers": 2, "codebook_size": 8}
    ours = GroupedResidualVQ(**options, accept_3d_fmap=True).eval()
    flat = GroupedResidualVQ(**options).eval()
    flat.load_state_dict(ours.state_dict())
    x = latents(2, 12, 4)
    volume = x.movedim(-1, 1).unflatten(-1, (2, 3, 2))
    quantized, indices, _ = ours(volume)
    expected, codes, _ = flat(x)
    assert torch.equal(quantized.flatten(2).movedim(1, -1), expected)
    assert torch.equal(indices.flatten(2, 4), codes)
    assert torch.equal(ours.get_output_from_indices(indices), quantized)
