"""`ResidualFSQ` and `GroupedResidualFSQ` beside the installed originals."""

import random

import pytest
import torch

from certvq.compat import vector_quantize_pytorch as compat
from certvq.compat.vector_quantize_pytorch import GroupedResidualFSQ, ResidualFSQ
from certvq.errors import CodeRangeError, NonFiniteError, OptionError, ShapeError

original = pytest.importorskip("vector_quantize_pytorch")

ULPS = 32 * 2.0**-23
"""Theirs round levels several times at each of up to 5 quantizers, and ours once."""

CASES = [
    ({"levels": [8, 5, 3], "num_quantizers": 4}, (2, 50, 3)),
    ({"levels": [8, 5, 3], "num_quantizers": 4, "dim": 6}, (2, 50, 6)),
    ({"levels": [8, 5], "num_quantizers": 3, "is_channel_first": True}, (2, 2, 6, 7)),
    ({"levels": [8, 5], "num_quantizers": 3, "bound_hard_clamp": False}, (2, 50, 2)),
    (
        {
            "levels": [8, 5],
            "num_quantizers": 3,
            "bound_hard_clamp": False,
            "soft_clamp_input_value": [1.5, 2.0],
        },
        (2, 50, 2),
    ),
    ({"levels": [5, 5, 5], "num_quantizers": 3, "orthogonal_rotation": True}, (2, 50, 3)),
    ({"levels": [8, 5, 3], "num_quantizers": 5, "quantize_dropout": True}, (2, 50, 3)),
    (
        {
            "levels": [8, 5, 3],
            "num_quantizers": 5,
            "quantize_dropout": True,
            "quantize_dropout_cutoff_index": 1,
            "quantize_dropout_multiple_of": 2,
        },
        (2, 50, 3),
    ),
]


def pair(ours, theirs, *, training=True, **options):
    ours, theirs = ours(**options), theirs(**options)
    ours.load_state_dict(theirs.state_dict())
    return ours.train(training), theirs.train(training)


def near(found, expected):
    return found.shape == expected.shape and bool(
        (found - expected).abs().max() <= ULPS * expected.abs().max().clamp(min=1)
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("options", "shape"), CASES, ids=str)
@pytest.mark.filterwarnings("ignore")
def test_forward_and_backward_are_the_originals(options, shape, training, seeded):
    """Indices too, up to the level where a rounding of theirs puts a residual across a border."""
    ours, theirs = pair(ResidualFSQ, original.ResidualFSQ, training=training, **options)
    latents = torch.randn(shape, generator=seeded())
    weights = torch.randn(shape, generator=seeded(1))
    everything = "is_channel_first" not in options  # of those the original lists no codes
    for seed in range(3):
        results = []
        for module in (ours, theirs):
            leaf = latents.clone().requires_grad_()
            found = module(leaf, everything, rand_quantize_dropout_fixed_seed=seed)
            (found[0] * weights).sum().backward()
            results.append((*(part.detach() for part in found), leaf.grad))
        (vectors, indices, *codes, slope), (vectors_0, indices_0, *codes_0, slope_0) = results
        assert torch.equal(indices, indices_0)
        assert near(vectors, vectors_0)
        if "orthogonal_rotation" in options:  # theirs forgets to rotate what it decodes
            assert near(codes[0].sum(0), vectors)
        else:
            assert all(map(near, codes, codes_0))
        assert (slope - slope_0).abs().max() <= 8 * ULPS * slope_0.abs().max()


@pytest.mark.parametrize("name", ["ResidualFSQ", "GroupedResidualFSQ"])
def test_indices_have_one_type_for_every_depth(name):
    """With the original it depends on whether levels were left out."""
    options = {"levels": [5, 5], "num_quantizers": 3, "quantize_dropout": True, "dim": 4}
    kinds = []
    for package in (original, compat):
        torch.manual_seed(0)
        random.seed(0)
        layer = getattr(package, name)(**options)
        kinds.append({layer(torch.zeros(1, 2, 4))[1].dtype for _ in range(40)})
    assert kinds == [{torch.int32, torch.int64}, {torch.int32}]


@pytest.mark.parametrize("dim", [3, 6])
def test_decoding_is_the_originals(dim, seeded):
    options = {"levels": [8, 5, 3], "num_quantizers": 4, "dim": dim, "quantize_dropout": True}
    ours, theirs = pair(ResidualFSQ, original.ResidualFSQ, training=False, **options)
    vectors, indices = ours(torch.randn(2, 40, dim, generator=seeded()))
    assert near(ours.codebooks, theirs.codebooks)
    for count in (4, 2, 1):
        part = indices[..., :count]
        assert near(ours.get_codes_from_indices(part), theirs.get_codes_from_indices(part))
        assert near(ours.get_output_from_indices(part), theirs.get_output_from_indices(part))
    if dim == 3:
        assert torch.equal(ours.get_output_from_indices(indices), vectors)
    dropped = indices.clone()
    dropped[..., 2:] = -1
    assert torch.equal(
        ours.get_output_from_indices(dropped), ours.get_output_from_indices(indices[..., :2])
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (2, 30, 6)),
        ({"quantize_dropout": True}, (2, 30, 6)),
        ({"accept_image_fmap": True, "is_channel_first": True}, (2, 6, 4, 5)),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore")
def test_groups_are_the_originals(options, shape, training, seeded):
    ours, theirs = pair(
        GroupedResidualFSQ,
        original.GroupedResidualFSQ,
        training=training,
        dim=6,
        groups=2,
        levels=[8, 5, 3],
        num_quantizers=3,
        **options,
    )
    latents = torch.randn(shape, generator=seeded())
    results = []
    for module in (ours, theirs):
        torch.manual_seed(5)
        results.append(module(latents, return_all_codes=len(shape) == 3))
    assert torch.equal(results[0][1], results[1][1])
    assert near(results[0][0], results[1][0])
    assert len(results[0]) == len(results[1])
    for codes, codes_0 in zip(results[0][2:], results[1][2:], strict=True):
        assert all(map(near, codes, codes_0))
    assert ours.codebook_size == theirs.codebook_size
    assert near(ours.codebooks, theirs.codebooks)
    if len(shape) == 3:
        indices = results[0][1]
        assert near(ours.get_output_from_indices(indices), theirs.get_output_from_indices(indices))


def test_noise_reaches_the_levels(seeded):
    ours = ResidualFSQ(levels=[4, 4], num_quantizers=2, noise_dropout=0.5)
    latents = torch.randn(1, 100, 2, generator=seeded())
    vectors, indices = ours(latents)
    assert not torch.equal(vectors, ours.get_output_from_indices(indices))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"num_quantizers": 0}, "num_quantizers must be at least 1, got 0"),
        ({"quantize_dropout_cutoff_index": 2}, r"must lie in range\(2\), got 2"),
        ({"quantize_dropout_multiple_of": 0}, "multiple_of must be at least 1, got 0"),
        ({"soft_clamp_input_value": 2.0}, "follows from the levels .* got 2.0"),
        ({"num_codebooks": 2}, "take no num_codebooks, got 2"),
        ({"return_indices": False}, "got return_indices=False"),
    ],
)
def test_wrong_options_are_named(options, text):
    with pytest.raises(OptionError, match=text):
        ResidualFSQ(**{"levels": [4, 4], "num_quantizers": 2, **options})


def test_wrong_input_is_named():
    ours = ResidualFSQ(levels=[4, 4], num_quantizers=2)
    with pytest.raises(ShapeError, match=r"dim=2 features, got shape \(1, 2, 4\)"):
        ours(torch.zeros(1, 2, 4))
    with pytest.raises(NonFiniteError, match="got inf"):
        ours(torch.full((1, 2, 2), float("inf")))
    with pytest.raises(ShapeError, match=r"1 to 2 levels .* got shape \(1, 1, 3\)"):
        ours.get_codes_from_indices(torch.zeros(1, 1, 3, dtype=torch.int64))
    with pytest.raises(CodeRangeError, match=r"range\(16\), got 16"):
        ours.get_codes_from_indices(torch.tensor([[[16, 0]]]))
    with pytest.raises(CodeRangeError, match="must not follow -1"):
        ours.get_codes_from_indices(torch.tensor([[[-1, 0]]]))
    with pytest.raises(ShapeError, match="dim=4"):
        GroupedResidualFSQ(dim=4, groups=2, levels=[4, 4], num_quantizers=2)(torch.zeros(1, 2, 3))


@pytest.mark.parametrize("image", [False, True])
def test_groups_agree_on_the_axis_of_features(image):
    options = {"dim": 6, "groups": 2, "levels": [5, 5, 3], "num_quantizers": 2}
    with pytest.raises(OptionError, match="must agree on whether features are on axis 1"):
        GroupedResidualFSQ(**options, accept_image_fmap=image, is_channel_first=not image)


def test_groups_of_images_decode_what_forward_gave():
    """The original puts the groups side by side along the height."""
    layer = GroupedResidualFSQ(
        dim=4,
        groups=2,
        levels=[5, 3],
        num_quantizers=2,
        accept_image_fmap=True,
        is_channel_first=True,
    )
    quantized, indices = layer.eval()(torch.randn(2, 4, 5, 3))
    assert torch.equal(layer.get_output_from_indices(indices.movedim(2, -1)), quantized)
