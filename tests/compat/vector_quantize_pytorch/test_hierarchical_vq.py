"""The original's HierarchicalVQ beside ours."""

import copy

import pytest
import torch

from certvq.compat.vector_quantize_pytorch import HierarchicalVQ
from certvq.errors import CodeRangeError, DTypeError, NonFiniteError, OptionError, ShapeError

original = pytest.importorskip("vector_quantize_pytorch", reason="the bench extra")

NEAR = {"rtol": 1e-4, "atol": 1e-5}
"""Bound of convolutions and averages of float32 numbers of magnitude 1, in another order."""

SHAPES = {
    "1d": ((2, 4, 9), {"scales": [1, 3, 9]}),
    "2d": ((2, 4, 6, 8), {"scales": [1, (2, 3), (6, 8)], "accept_image_fmap": True}),
    "3d": ((2, 4, 2, 3, 4), {"scales": [1, (2, 3, 4)], "accept_3d_fmap": True}),
    "last": ((2, 9, 4), {"scales": [1, 2, 5], "channel_first": False}),
}
CASES = {
    "plain": {},
    "own": {"shared_codebook": False},
    "phi": {"share_quant_resi": 2, "quant_resi": -0.3},
    "phi-each": {"share_quant_resi": 0},
    "no-phi": {"quant_resi": 0.0},
    "rotation": {"rotation_trick": True},
    "nested": {"nested_dropout": 0.9},
}


def pair(shape="1d", **keywords):
    keywords = {"dim": 4, "codebook_size": 16, "kmeans_init": False} | SHAPES[shape][1] | keywords
    keywords.setdefault("threshold_ema_dead_code", 0)
    torch.manual_seed(0)
    theirs = original.HierarchicalVQ(**keywords)
    for level in range(theirs.num_levels):
        book = theirs.get_vq(level)._codebook
        book.embed.data.copy_(torch.randn_like(book.embed))
        book.embed_avg.data.copy_(book.embed.data)
    ours = HierarchicalVQ(**keywords)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs, ours


def latents(shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(100 + seed))


def same(got, expected):
    for left, right in zip(got[1], expected[1], strict=True):
        assert torch.equal(left, right)
    torch.testing.assert_close(got[0], expected[0], **NEAR)
    torch.testing.assert_close(got[2], expected[2].detach(), **NEAR)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("shape", SHAPES)
def test_eval_mode_equals_the_original(shape, case):
    theirs, ours = (module.eval() for module in pair(shape, **CASES[case]))
    with torch.no_grad():
        x = latents(SHAPES[shape][0])
        got, expected = ours(x), theirs(x)
        same(got, expected)
        for full in (None, x.shape[1:-1] if shape == "last" else x.shape[2:]):
            decoded = ours.get_output_from_indices(got[1], full_shape=full)
            torch.testing.assert_close(
                decoded, theirs.get_output_from_indices(expected[1], full_shape=full), **NEAR
            )
        assert torch.equal(decoded, got[0])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("shape", ["1d", "2d"])
def test_train_mode_equals_the_original(shape, case):
    """One batch where a codebook is shared, which there moves between the scales."""
    theirs, ours = pair(shape, **CASES[case], **({} if case == "own" else {"decay": 1.0 - 1e-9}))
    for step in range(3 if case == "own" else 1):
        x = latents(SHAPES[shape][0], step)
        results = []
        for module in (theirs, ours):
            torch.manual_seed(step)
            leaf = x.clone().requires_grad_()
            result = module(leaf, return_cutoff=True)
            (result[0].square().sum() + result[2]).backward()
            results.append((result, leaf.grad))
        (expected, slope), (got, our_slope) = results
        same(
            [part if isinstance(part, tuple) else part.detach() for part in got[:3]],
            [part if isinstance(part, tuple) else part.detach() for part in expected[:3]],
        )
        assert got[3] == expected[3]
        torch.testing.assert_close(our_slope, slope, **NEAR)
    phis = [parameter.grad for name, parameter in theirs.named_parameters() if "phi" in name]
    own = [parameter.grad for parameter in ours.refinement.parameters()]
    for left, right in zip(own, phis, strict=True):
        if right is None:
            assert left is None or not left.any()
        else:
            torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_masks_equal_the_original(shape):
    theirs, ours = (module.eval() for module in pair(shape))
    x = latents(SHAPES[shape][0])
    grid = (2, *(x.shape[1:-1] if shape == "last" else x.shape[2:]))
    mask = torch.rand(grid, generator=torch.Generator().manual_seed(0)) < 0.6
    with torch.no_grad():
        same(ours(x, mask=mask), theirs(x, mask=mask))
        if len(grid) == 2:
            lens = torch.tensor([3, 9])
            same(ours(x, lens=lens), theirs(x, lens=lens))


def test_a_shared_codebook_learns_from_all_scales_at_once():
    _, ours = pair()
    for step in range(3):
        ours(latents((2, 4, 9), step))
    assert int(ours.levels[0].statistics.pending_counts.sum()) == 2 * (1 + 3 + 9)


def test_decoding_gives_what_forward_returned():
    _, ours = pair("2d")
    for step in range(3):
        quantized, indices, _ = ours(latents((2, 4, 6, 8), step))
        assert torch.equal(ours.get_output_from_indices(indices), quantized)


def test_bad_batches_change_nothing(snapshot, unchanged):
    _, ours = pair(shared_codebook=False)
    ours(latents((2, 4, 9)))
    before = snapshot(ours)
    bad = latents((2, 4, 9))
    bad[1, 2, 3] = float("nan")
    with pytest.raises(NonFiniteError, match="row 12, column 2"):
        ours(bad)
    with pytest.raises(ShapeError, match=r"dim=4 features and 1 further axes.*\(2, 5, 9\)"):
        ours(latents((2, 5, 9)))
    with pytest.raises(DTypeError, match="latents must be float64.* got int64"):
        ours(torch.zeros(2, 4, 9, dtype=torch.int64))
    with pytest.raises(ShapeError, match=r"mask must have the shape .*\(2, 9\), got \(2, 8\)"):
        ours(latents((2, 4, 9)), mask=torch.ones(2, 8, dtype=torch.bool))
    with pytest.raises(DTypeError, match="mask must be bool.*got float32"):
        ours(latents((2, 4, 9)), mask=torch.ones(2, 9))
    with pytest.raises(ShapeError, match="lens must lie in 0 to 9, got 10 at position 1"):
        ours(latents((2, 4, 9)), lens=torch.tensor([1, 10]))
    with pytest.raises(OptionError, match="decoded by get_output_from_indices"):
        ours(latents((2, 4, 9)), indices=torch.zeros(1))
    mask = torch.ones(2, 9, dtype=torch.bool)
    with pytest.raises(OptionError, match="lens goes with one axis and no mask"):
        ours(latents((2, 4, 9)), mask=mask, lens=torch.tensor([1, 2]))
    assert unchanged(ours, before)
    assert unchanged(copy.deepcopy(ours), before)


def test_bad_indices_are_named():
    _, ours = pair()
    indices = [torch.zeros(2, n, dtype=torch.int64) for n in (1, 3, 9)]
    indices[1][1, 2] = 16
    with pytest.raises(CodeRangeError, match=r"range\(16\), got 16 at position \(1, 2\)"):
        ours.get_output_from_indices(indices)
    with pytest.raises(ShapeError, match=r"of shapes .* \[\(1,\), \(3,\), \(9,\)\] behind b"):
        ours.get_output_from_indices(indices[:2])


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"accept_image_fmap": True, "accept_3d_fmap": True}, "at most one of"),
        ({"nested_dropout": 1.5}, r"nested_dropout must lie in \[0, 1\], got 1.5"),
        ({"nested_dropout_min_levels": 0}, "min_levels must be at least 1, got 0"),
        ({"codebook_size": (8, 9, 8)}, "do not share a codebook, got"),
        ({"scales": [3, 1]}, "from coarse to fine"),
    ],
)
def test_options_that_contradict_are_refused(keywords, text):
    with pytest.raises(OptionError, match=text):
        HierarchicalVQ(**{"dim": 4, "codebook_size": 8, "scales": [1, 2, 3]} | keywords)
