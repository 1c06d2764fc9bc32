"""Indices in another order than `forward` returns are refused; lists mean levels, or groups."""

from functools import partial

import pytest
import torch

from certvq.compat import vector_quantize_pytorch as ours
from certvq.errors import CodeRangeError, DTypeError, ShapeError

VQ = {"dim": 2, "codebook_size": 8}
LEVELS = {**VQ, "num_quantizers": 3}
RESIDUAL = {
    "ResidualVQ": (ours.ResidualVQ(**LEVELS), (4, 4, 2)),
    "GroupedResidualVQ": (ours.GroupedResidualVQ(**{**LEVELS, "dim": 4}, groups=2), (4, 4, 4)),
    "ResidualSimVQ": (ours.ResidualSimVQ(**LEVELS), (4, 4, 2)),
    "ResidualFSQ": (ours.ResidualFSQ(levels=[4, 3], num_quantizers=3), (4, 4, 2)),
    "GroupedResidualLFQ": (
        ours.GroupedResidualLFQ(dim=4, codebook_size=8, num_quantizers=3, groups=2),
        (4, 4, 4),
    ),
}


def quantized(layer, latents):
    return layer.eval()(latents)[:2]


@pytest.mark.parametrize(
    ("options", "shape", "wrong"),
    [
        ({}, (4, 3, 2), (3, 4)),
        ({"accept_image_fmap": True}, (2, 2, 3, 4), (2, 4, 3)),
        ({"heads": 2, "codebook_dim": 1}, (3, 2, 2), (3, 4)),
        ({}, (4, 2), (2, 2)),
    ],
    ids=["sequence", "image", "heads", "one token"],
)
def test_the_codes_of_a_batch_come_as_forward_returns_them(options, shape, wrong):
    layer = ours.VectorQuantize(**VQ, **options)
    latents = torch.randn(shape)
    _, indices = quantized(layer, latents)
    _, expected = layer(latents, indices=indices)
    flat = indices.flatten(1, 2) if layer.accept_image_fmap else indices
    assert layer(latents, indices=flat)[1] == expected  # as the original takes those of images
    for given in (indices.reshape(wrong), indices.reshape(-1)[None]):
        with pytest.raises(ShapeError, match=r"the shape \(.*that forward returns"):
            layer(latents, indices=given)
        before = layer.state_dict()
        with pytest.raises(ShapeError, match="got "):
            layer.update_indices(latents, given)
        assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("name", RESIDUAL)
def test_a_list_of_indices_holds_one_tensor_for_each_level(name):
    layer, shape = RESIDUAL[name]
    latents = torch.randn(shape)
    vectors, indices = quantized(layer, latents)
    levels = list(indices.unbind(-1))
    assert torch.equal(layer.get_output_from_indices(levels), vectors)
    each = layer.get_codes_from_indices(levels)
    assert torch.equal(each, layer.get_codes_from_indices(indices))
    with pytest.raises(ShapeError, match="one tensor for each level, all of one shape"):
        layer.get_output_from_indices([levels[0], levels[1][..., :2]])
    with pytest.raises(ShapeError, match="levels"):
        layer.get_output_from_indices([*levels, levels[0]])
    if "Grouped" in name:
        assert torch.equal(layer.get_output_from_indices(list(indices)), vectors)
    if name.endswith("VQ") and "Sim" not in name:
        expected = layer(latents, indices=indices)[1]
        if "Grouped" in name:
            assert layer(latents, indices=list(indices))[1] == expected
        assert layer(latents, indices=levels)[1] == expected
        with pytest.raises(ShapeError, match="that forward returns"):
            layer(latents, indices=indices.transpose(-1, -2))


def test_a_list_that_may_hold_levels_or_groups_is_refused():
    layer = ours.GroupedResidualVQ(dim=4, codebook_size=8, num_quantizers=2, groups=2)
    with pytest.raises(
        ShapeError, match=r"\[\(2, 3, 2\), \(2, 3, 2\)\] may hold those of levels or"
    ):
        layer.get_output_from_indices([torch.zeros(2, 3, 2, dtype=torch.int64)] * 2)


@pytest.mark.parametrize(
    "layer",
    [
        ours.FSQ([4, 3], num_codebooks=2),
        ours.LFQ(dim=6, num_codebooks=2, codebook_size=8),
        ours.LatentQuantize(levels=[4, 3], dim=4, num_codebooks=2),
    ],
    ids=["FSQ", "LFQ", "LatentQuantize"],
)
def test_several_codebooks_have_the_last_axis(layer):
    with pytest.raises(ShapeError, match=r"last axis of size num_codebooks=2, got shape \(2, 4\)"):
        layer.indices_to_codes(torch.zeros(2, 4, dtype=torch.int64))


@pytest.mark.parametrize("places", [(3,), (5,), (2, 4)], ids=str)
def test_levels_on_axis_1_are_decoded_as_forward_returned_them(places):
    options = {"levels": [4, 3], "num_quantizers": 3, "is_channel_first": True}
    layer = ours.ResidualFSQ(**options)
    vectors, indices, codes = layer.eval()(torch.randn(2, 2, *places), return_all_codes=True)
    assert torch.equal(layer.get_output_from_indices(indices), vectors)
    assert torch.equal(layer.get_codes_from_indices(indices), codes)
    levels = list(indices.unbind(1))
    assert torch.equal(layer.get_output_from_indices(levels), vectors.movedim(1, -1))
    if len(places) == 2:
        grouped = ours.GroupedResidualFSQ(dim=4, groups=2, accept_image_fmap=True, **options)
        vectors, indices = grouped.eval()(torch.randn(2, 4, *places))
        assert torch.equal(grouped.get_output_from_indices(indices), vectors)
        levels = list(indices.unbind(2))
        assert torch.equal(grouped.get_output_from_indices(levels), vectors)
    if places == (5,):  # as the original takes them
        last = layer.get_output_from_indices(indices.movedim(1, -1))
        assert torch.equal(last, vectors.movedim(1, -1))


def test_all_scales_have_the_same_batch():
    layer = ours.HierarchicalVQ(**VQ, scales=[1, 2])
    indices = layer.eval()(torch.randn(4, 2, 2))[1]
    with pytest.raises(ShapeError, match="one tensor for each scale"):
        layer.get_output_from_indices([indices[0][:2], *indices[1:]])


def test_each_logit_has_one_code():
    layer, logits = ours.BinaryMapper(bits=3), torch.randn(2, 4, 3)
    with pytest.raises(ShapeError, match=r"one code for each of the logits \(2, 4\), got \(4, 2\)"):
        layer.log_prob(logits, indices=torch.zeros(4, 2, dtype=torch.int64))


@pytest.mark.parametrize(
    "decode",
    [
        ours.VectorQuantize(**VQ).get_output_from_indices,
        ours.SimVQ(**VQ).indices_to_codes,
        ours.FSP([4, 3]).indices_to_codes,
        ours.FSP([4, 3]).indices_to_level_indices,
        ours.FSQ([4, 3]).indices_to_level_indices,
        partial(ours.RandomProjectionQuantizer(**VQ, codebook_dim=2), torch.zeros(1, 2, 2)),
    ],
    ids=["VectorQuantize", "SimVQ", "FSP", "FSP, bins", "FSQ, levels", "projections"],
)
def test_what_is_no_index_is_named(decode):
    with pytest.raises(DTypeError, match=r"codes must be a torch.Tensor, got list"):
        decode([[0, 1]])
    with pytest.raises(DTypeError, match="codes must be integers, got float32"):
        decode(torch.ones(1, 2))
    with pytest.raises(CodeRangeError, match="got 12 at position"):
        decode(torch.tensor([[0, 12]]))
