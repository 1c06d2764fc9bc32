"""Masks and lengths: what is refused, and what -1 means where indices are given."""

import pytest
import torch
import vector_quantize_pytorch as original

from certvq.compat import vector_quantize_pytorch as ours
from certvq.compat.vector_quantize_pytorch._tensors import counted, mask_of_lengths
from certvq.errors import CodeRangeError, DTypeError, OptionError, ShapeError

CLOSE = {"rtol": 2e-5, "atol": 2e-6}
"""Means of the same cross entropies, computed by another formula in float32."""

CPU = torch.device("cpu")


def test_rows_that_count():
    mask = torch.tensor([[True, False, True], [False, True, True]])
    assert counted(mask, None, (2, 3), CPU).tolist() == [0, 2, 4, 5]
    assert counted(None, torch.tensor([1, 3]), (2, 3), CPU).tolist() == [0, 3, 4, 5]
    assert counted(None, None, (2, 3), CPU) is None
    assert mask_of_lengths(torch.tensor([0, 3]), (2, 3)).tolist() == [[False] * 3, [True] * 3]


@pytest.mark.rows(
    ("mask", "lens", "grid", "error", "text"),
    [
        (torch.ones(2, 3), None, (2, 3), DTypeError, "mask must be bool.*got float32"),
        (torch.ones(2, 3).long(), None, (2, 3), DTypeError, "mask must be bool.*got int64"),
        (torch.ones(2, 4).bool(), None, (2, 3), ShapeError, r"\(b, n\).*\(2, 3\), got \(2, 4\)"),
        (torch.ones(2, 3).bool(), torch.ones(2).long(), (2, 3), OptionError, "give one of them"),
        (None, torch.ones(3).long(), (2, 3), ShapeError, r"got shape \(3,\) for .*\(2, 3\)"),
        (None, torch.ones(2).long(), (2, 3, 3), ShapeError, "one length for each sequence"),
        (None, torch.ones(2), (2, 3), DTypeError, "lens must be integers, got float32"),
        (None, [2, 3], (2, 3), DTypeError, "lens must be a torch.Tensor, got list"),
        (None, torch.ones(2).bool(), (2, 3), DTypeError, "lens must be integers, got bool"),
        (None, torch.tensor([1, 4]), (2, 3), ShapeError, "0 to 3, got 4 at position 1"),
        (None, torch.tensor([-1, 2]), (2, 3), ShapeError, "0 to 3, got -1 at position 0"),
    ],
)
def test_wrong_masks_and_lengths_are_named(mask, lens, grid, error, text):
    with pytest.raises(error, match=text):
        counted(mask, lens, grid, CPU)


@pytest.mark.parametrize(
    "options", [{}, {"heads": 2, "codebook_dim": 3, "separate_codebook_per_head": True}], ids=str
)
@pytest.mark.parametrize("training", [False, True])
def test_minus_one_is_left_out_of_a_cross_entropy(options, training):
    torch.manual_seed(0)
    theirs = original.VectorQuantize(dim=6, codebook_size=8, ema_update=False, **options)
    layer = ours.VectorQuantize(dim=6, codebook_size=8, ema_update=False, **options)
    layer.load_state_dict(theirs.state_dict())
    theirs, layer = theirs.train(training), layer.train(training)
    x = torch.randn(2, 5, 6)
    shape = (2, 5, 2) if options else (2, 5)
    indices = torch.randint(0, 8, shape)
    every = layer(x, indices=indices)[1]
    indices[0, 1:4], indices[1, 0] = -1, -1
    vectors, loss = layer(x, indices=indices)
    expected_vectors, expected = theirs(x, indices=indices)
    torch.testing.assert_close(loss, expected, **CLOSE)
    if options:  # the original returns them as they are inside
        expected_vectors = expected_vectors.movedim(0, 2).flatten(2)
    torch.testing.assert_close(vectors, expected_vectors, **CLOSE)
    assert abs(float(loss - every)) > 1e-3
    assert theirs(x, indices=torch.full(shape, -1))[1].isnan()
    assert layer(x, indices=torch.full(shape, -1))[1] == 0.0
    indices[0, 0] = -2
    with pytest.raises(CodeRangeError, match=r"range\(8\), got -2"):
        layer(x, indices=indices)


def test_minus_one_is_left_out_by_random_projections():
    torch.manual_seed(0)
    options = {"dim": 6, "codebook_size": 8, "codebook_dim": 3}
    theirs = original.RandomProjectionQuantizer(**options)
    layer = ours.RandomProjectionQuantizer(**options)
    layer.load_state_dict(theirs.state_dict())
    x, indices = torch.randn(2, 5, 6), torch.randint(0, 8, (2, 5))
    indices[0, 1:4] = -1
    torch.testing.assert_close(layer(x, indices=indices), theirs(x, indices=indices), **CLOSE)
    with pytest.raises(CodeRangeError, match=r"range\(8\), got -2"):
        layer(x, indices=torch.full((2, 5), -2))
    with pytest.raises(DTypeError, match="must be integers, got float32"):
        layer(x, indices=indices.float())


def test_residual_layers_refuse_minus_one_where_a_cross_entropy_is_wanted():
    options = {"dim": 6, "codebook_size": 8, "num_quantizers": 2}
    theirs, layer = original.ResidualVQ(**options), ours.ResidualVQ(**options)
    x, indices = torch.randn(2, 5, 6), torch.zeros(2, 5, 2, dtype=torch.int64)
    indices[1, 2, 1] = -1
    with pytest.raises(AssertionError, match="dropped out"):
        theirs(x, indices=indices)
    with pytest.raises(CodeRangeError, match="got -1"):
        layer(x, indices=indices)
    with pytest.raises(ShapeError, match=r"the shape \(2, 5, 2\) .*got \(2, 4, 2\)"):
        layer(x, indices=indices[:, :4])
    with pytest.raises(DTypeError, match="must be integers, got float32"):
        layer(x, indices=indices.float())
    assert not layer.get_codes_from_indices(indices)[1, 1, 2].any()


def test_updates_leave_minus_one_out_and_refuse_others():
    layer = ours.VectorQuantize(dim=2, codebook_size=4)
    x, indices = torch.randn(1, 3, 2), torch.tensor([[0, -1, 1]])
    before = layer._codebook.cluster_size.clone()
    with pytest.raises(CodeRangeError, match=r"range\(4\), got -2"):
        layer.update_indices(x, indices.masked_fill(indices == 1, -2))
    with pytest.raises(DTypeError, match="must be integers, got float32"):
        layer.update_indices(x, indices.float())
    with pytest.raises(DTypeError, match="mask must be bool"):
        layer.update_indices(x, indices, mask=torch.ones(1, 3))
    assert torch.equal(layer._codebook.cluster_size, before)
    layer.update_indices(x, indices, mask=torch.tensor([[True, True, False]]))
    expected = before * 0.8 + torch.tensor([0.2, 0.0, 0.0, 0.0])
    torch.testing.assert_close(layer._codebook.cluster_size[0], expected[0], rtol=1e-6, atol=0)


def test_indices_that_are_no_integers_are_not_cut_off():
    bad = torch.full((1, 1), 1.5)
    layers = [
        ours.VectorQuantize(2, 4).get_codes_from_indices,
        ours.ResidualVQ(dim=2, codebook_size=4, num_quantizers=1).get_codes_from_indices,
        ours.ResidualSimVQ(dim=2, codebook_size=4, num_quantizers=1).get_codes_from_indices,
        ours.ResidualLFQ(dim=2, codebook_size=4, num_quantizers=1).get_codes_from_indices,
        ours.ResidualFSQ(levels=[3, 3], num_quantizers=1).get_codes_from_indices,
        ours.SimVQ(2, 4).indices_to_codes,
        ours.LFQ(dim=2).indices_to_codes,
        ours.FSQ([3, 3]).indices_to_codes,
        ours.FSP([3, 3]).indices_to_codes,
        ours.LatentQuantize([3, 3], 2).indices_to_codes,
    ]
    for decode in layers:
        with pytest.raises(DTypeError, match="codes must be integers, got float32"):
            decode(bad)
    with pytest.raises(DTypeError, match="codes must be integers, got float32"):
        ours.HierarchicalVQ(dim=2, codebook_size=4, scales=[1]).get_output_from_indices([bad])
    with pytest.raises(DTypeError, match="codes must be integers, got float32"):
        ours.BinaryMapper(2).log_prob(torch.zeros(1, 1, 2), indices=bad)
    with pytest.raises(CodeRangeError, match=r"range\(4\), got 4"):
        ours.BinaryMapper(2).log_prob(torch.zeros(1, 1, 2), indices=torch.tensor([[4]]))
    with pytest.raises(CodeRangeError, match="got 3"):
        ours.FSP([3, 3]).level_indices_to_indices(torch.tensor([[0, 3]]))
    with pytest.raises(ShapeError, match=r"must have 2 features, got shape \(1, 3\)"):
        ours.FSP([3, 3]).level_indices_to_indices(torch.tensor([[0, 1, 2]]))
