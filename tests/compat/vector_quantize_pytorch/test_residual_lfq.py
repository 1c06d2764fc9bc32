"""`ResidualLFQ` and `GroupedResidualLFQ` beside the installed originals."""

import math

import pytest
import torch

from certvq.compat.vector_quantize_pytorch import GroupedResidualLFQ, ResidualLFQ
from certvq.errors import DTypeError, NonFiniteError, OptionError, ShapeError

original = pytest.importorskip("vector_quantize_pytorch")

ULPS = 32 * 2.0**-23
"""Theirs normalise, add and subtract at each of up to 5 quantizers."""

ENTROPY = 0.1 * (64 * 1e-5 / math.e * 2 + 2e-4)
"""Two entropies over at most 64 codes, whose logarithm the original cuts off at 1e-5."""

CASES = [
    ({"dim": 4, "codebook_size": 16, "num_quantizers": 4}, (2, 50, 4)),
    ({"dim": 7, "codebook_size": 16, "num_quantizers": 4}, (2, 50, 7)),
    ({"dim": 6, "codebook_size": 64, "num_quantizers": 3, "spherical": True}, (2, 50, 6)),
    (
        {"dim": 4, "codebook_size": 16, "num_quantizers": 3, "soft_clamp_input_value": 4.0},
        (2, 50, 4),
    ),
    ({"dim": 4, "codebook_size": 16, "num_quantizers": 5, "quantize_dropout": True}, (2, 50, 4)),
    (
        {
            "dim": 4,
            "codebook_size": 16,
            "num_quantizers": 5,
            "quantize_dropout": True,
            "quantize_dropout_multiple_of": 2,
            "commitment_loss_weight": 0.5,
        },
        (2, 50, 4),
    ),
]


def pair(ours, theirs, *, training=True, **options):
    ours, theirs = ours(**options), theirs(**options)
    ours.load_state_dict(theirs.state_dict())
    return ours.train(training), theirs.train(training)


def near(found, expected, bound=ULPS):
    return found.shape == expected.shape and bool(
        (found - expected).abs().max() <= bound * expected.abs().max().clamp(min=1)
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("options", "shape"), CASES, ids=str)
@pytest.mark.filterwarnings("ignore")
def test_forward_and_backward_are_the_originals(options, shape, masked, training, seeded):
    ours, theirs = pair(ResidualLFQ, original.ResidualLFQ, training=training, **options)
    latents = torch.randn(shape, generator=seeded())
    weights = torch.randn(shape, generator=seeded(1))
    mask = torch.rand(shape[:2], generator=seeded(2)) < 0.7 if masked else None
    for seed in range(3):
        results = []
        for module in (ours, theirs):
            leaf = latents.clone().requires_grad_()
            found = module(leaf, mask, True, rand_quantize_dropout_fixed_seed=seed)
            if training:
                (found[0] * weights).sum().backward()
            results.append((*(part.detach() for part in found), leaf.grad))
        found, expected = results
        assert torch.equal(found[1], expected[1])
        assert near(found[0], expected[0])
        if "spherical" not in options:  # theirs lists corners that are not normalised
            assert near(found[3], expected[3])
        assert found[2].shape == expected[2].shape
        if not masked:  # with a mask theirs averages nothing over the batch
            assert (found[2] - expected[2]).abs().max() <= ENTROPY
        if training:
            assert (found[4] - expected[4]).abs().max() <= 8 * ULPS * expected[4].abs().max()


@pytest.mark.parametrize("spherical", [False, True])
def test_decoding_gives_what_forward_gave(spherical, seeded):
    """The original forgets to normalise: its decoded vectors are too long by sqrt(D)."""
    options = {"dim": 4, "codebook_size": 16, "num_quantizers": 3, "quantize_dropout": True}
    ours, theirs = pair(
        ResidualLFQ, original.ResidualLFQ, training=False, spherical=spherical, **options
    )
    vectors, indices, _ = ours(torch.randn(2, 40, 4, generator=seeded()))
    assert torch.equal(ours.get_output_from_indices(indices), vectors)
    assert near(ours.codebooks, theirs.codebooks)
    for count in (3, 1):
        part = indices[..., :count]
        same = near(ours.get_output_from_indices(part), theirs.get_output_from_indices(part))
        assert same != spherical


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_groups_are_the_originals(training, seeded):
    ours, theirs = pair(
        GroupedResidualLFQ,
        original.GroupedResidualLFQ,
        training=training,
        dim=10,
        groups=2,
        codebook_size=16,
        num_quantizers=3,
        quantize_dropout=True,
    )
    latents = torch.randn(2, 30, 10, generator=seeded())
    results = []
    for module in (ours, theirs):
        torch.manual_seed(5)
        results.append(module(latents, return_all_codes=True))
    found, expected = results
    assert torch.equal(found[1], expected[1])
    assert near(found[0], expected[0])
    assert near(found[2], expected[2], ENTROPY)
    assert all(map(near, found[3], expected[3]))
    assert near(ours.codebooks, theirs.codebooks)
    indices = found[1]
    assert near(ours.get_output_from_indices(indices), theirs.get_output_from_indices(indices))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"num_quantizers": 0}, "num_quantizers must be at least 1, got 0"),
        ({"num_codebooks": 2}, "have one codebook each, got"),
        ({"codebook_size": 10}, "power of 2, at least 2, got 10"),
    ],
)
def test_wrong_options_are_named(options, text):
    with pytest.raises(OptionError, match=text):
        ResidualLFQ(**{"dim": 4, "codebook_size": 16, "num_quantizers": 2, **options})


def test_wrong_input_is_named():
    options = {"codebook_size": 4, "num_quantizers": 2}
    with pytest.raises(ShapeError, match=r"dim=2 features, got shape \(1, 2, 4\)"):
        ResidualLFQ(dim=2, **options)(torch.zeros(1, 2, 4))
    with pytest.raises(ShapeError, match="dim=4"):
        GroupedResidualLFQ(dim=4, groups=2, **options)(torch.zeros(1, 2, 3))


def test_losses_are_finite_or_refused():
    layer = ResidualLFQ(dim=4, codebook_size=16, num_quantizers=3)
    with pytest.raises(NonFiniteError, match=r"at most .* in magnitude.*got 3e\+38 at row 1, col"):
        layer(torch.tensor([[[1.0, 2.0, 3.0, 4.0], [1.0, 3e38, -3e38, 0.0]]]))
    assert all(torch.isfinite(each).all() for each in layer(torch.full((1, 2, 4), 1e17)))
    assert torch.isfinite(layer.eval()(torch.full((1, 2, 4), 3e38))[0]).all()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_images_are_the_originals(groups, training):
    """Features on axis 1 with four axes and more, as levels without a map take them."""
    options = {"codebook_size": 16, "num_quantizers": 3}
    torch.manual_seed(0)
    if groups == 1:
        ours, theirs = (each(dim=4, **options) for each in (ResidualLFQ, original.ResidualLFQ))
    else:
        options |= {"dim": 8, "groups": 2, "accept_image_fmap": True}
        ours, theirs = (
            each(**options) for each in (GroupedResidualLFQ, original.GroupedResidualLFQ)
        )
    ours, theirs = ours.train(training), theirs.train(training)
    x = torch.randn(2, 4 * groups, 5, 3)
    found, expected = ours(x), theirs(x)
    assert torch.equal(found[1], expected[1])
    for mine, other in zip(found, expected, strict=True):
        assert mine.shape == other.shape
        torch.testing.assert_close(mine.float(), other.float(), rtol=1e-4, atol=1e-4)
    back = ours.get_output_from_indices(found[1])
    assert torch.equal(back if groups > 1 else back.movedim(-1, 1), found[0])


def test_images_with_a_map():
    """Features stay on axis 1; the original fails."""
    ours = ResidualLFQ(dim=6, codebook_size=16, num_quantizers=2)
    flat = torch.randn(2, 15, 6)
    image = flat.movedim(-1, 1).unflatten(-1, (5, 3))
    found, expected = ours(image), ours(flat)
    assert torch.equal(found[0].flatten(2).movedim(1, -1), expected[0])
    assert torch.equal(found[1].flatten(1, 2), expected[1])
    with pytest.raises(Exception):  # noqa: B017 (whatever it is)
        original.ResidualLFQ(dim=6, codebook_size=16, num_quantizers=2)(image)
    mask = torch.ones(2, 5, 3, dtype=torch.bool)
    assert torch.equal(ours(image, mask=mask)[2], found[2])
    with pytest.raises(DTypeError, match="mask must be bool"):
        ours(image, mask=mask.float())
    with pytest.raises(OptionError, match="excludes channel_first=False"):
        GroupedResidualLFQ(
            dim=8,
            groups=2,
            codebook_size=16,
            num_quantizers=2,
            accept_image_fmap=True,
            channel_first=False,
        )
