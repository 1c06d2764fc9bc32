"""`FSQ` beside the installed original: indices, vectors, gradients, in its layouts."""

import io

import pytest
import torch

from certvq.compat.vector_quantize_pytorch import FSQ
from certvq.errors import CodeRangeError, OptionError, ShapeError

original = pytest.importorskip("vector_quantize_pytorch")

ULPS = 8 * 2.0**-23
"""Theirs round a level several times, and add and subtract the latent; maps add a few products."""

CASES = [
    ({"levels": [8, 5, 5]}, (2, 300, 3)),
    ({"levels": (8, 5, 5), "dim": 7}, (2, 300, 7)),
    ({"levels": [8, 5, 5], "dim": 7, "projection_has_bias": False}, (2, 7, 9, 8)),
    ({"levels": [4, 7], "num_codebooks": 3}, (2, 100, 6)),
    ({"levels": [4, 7], "num_codebooks": 3, "dim": 5}, (2, 5, 10, 9)),
    ({"levels": [8, 5, 5], "keep_num_codebooks_dim": True}, (2, 100, 3)),
    ({"levels": [8, 5, 5], "channel_first": True}, (2, 3, 100)),
    ({"levels": [8, 6, 5]}, (2, 3, 4, 5, 6)),
    ({"levels": [2, 3, 4], "preserve_symmetry": True}, (2, 300, 3)),
    ({"levels": [8, 5, 5], "bound_hard_clamp": True}, (2, 300, 3)),
    ({"levels": [8, 5, 4], "bound_hard_clamp": True, "preserve_symmetry": True}, (2, 300, 3)),
    ({"levels": [5, 5, 5], "orthogonal_rotation": True}, (2, 300, 3)),
    ({"levels": [4, 4], "orthogonal_rotation": True, "num_codebooks": 2, "dim": 9}, (2, 50, 9)),
    ({"levels": [8, 5, 5], "return_indices": False}, (2, 30, 3)),
]


def pair(*, training=True, **options):
    ours, theirs = FSQ(**options), original.FSQ(**options)
    ours.load_state_dict(theirs.state_dict())
    return ours.train(training), theirs.train(training)


@pytest.mark.rows("training", [True, False])
@pytest.mark.rows("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("options", "shape"), CASES, ids=str)
@pytest.mark.filterwarnings("ignore")
def test_forward_and_backward_are_the_originals(options, shape, dtype, training, seeded):
    ours, theirs = (module.to(dtype) for module in pair(training=training, **options))
    latents = torch.randn(shape, generator=seeded(), dtype=torch.float64).to(dtype)
    weights = torch.randn(shape, generator=seeded(1), dtype=torch.float64).to(dtype)
    results = []
    for module in (ours, theirs):
        leaf = latents.clone().requires_grad_()
        quantized, indices = module(leaf)
        (quantized * weights).sum().backward()
        results.append((quantized.detach(), indices, leaf.grad))
    (vectors, indices, slope), (vectors_0, indices_0, slope_0) = results
    if indices_0 is None:
        assert indices is None
    else:
        assert indices.dtype == indices_0.dtype == torch.int32
        assert torch.equal(indices, indices_0)
    assert vectors.dtype == vectors_0.dtype
    assert vectors.shape == vectors_0.shape
    scale = vectors_0.abs().max().clamp(min=1)
    assert (vectors - vectors_0).abs().max() <= ULPS * scale
    assert (slope - slope_0).abs().max() <= 8 * ULPS * slope_0.abs().max()
    if indices_0 is not None:
        ours, theirs = ours.float(), theirs.float()  # theirs decodes in float32 alone
        back = ours.indices_to_codes(indices)
        assert back.shape == theirs.indices_to_codes(indices_0).shape
        assert (back - theirs.indices_to_codes(indices_0)).abs().max() <= ULPS * scale
        assert (back - vectors).abs().max() <= ULPS * scale


@pytest.mark.parametrize("options", [{}, {"preserve_symmetry": True}])
def test_methods_are_the_originals(options, seeded):
    ours, theirs = pair(levels=[8, 5, 4], **options)
    indices = torch.randint(0, 160, (2, 50), generator=seeded())
    assert torch.equal(
        ours.indices_to_level_indices(indices), theirs.indices_to_level_indices(indices).long()
    )
    codes = theirs.indices_to_codes(indices)
    assert torch.equal(ours.codes_to_indices(codes), theirs.codes_to_indices(codes))
    assert (ours.implicit_codebook - theirs.implicit_codebook).abs().max() <= ULPS
    latents = torch.randn(2, 9, 3, generator=seeded(1))
    assert (ours.quantize(latents) - theirs.quantize(latents)).abs().max() <= ULPS
    names = (
        "dim codebook_dim codebook_size num_codebooks effective_codebook_dim has_projections scale "
        "keep_num_codebooks_dim channel_first return_indices allowed_dtypes noise_dropout "
        "force_quantization_f32 preserve_symmetry bound_hard_clamp orthogonal_rotation"
    )
    for name in names.split():
        assert getattr(ours, name) == getattr(theirs, name), name


def test_half_precision_in_and_out(seeded):
    ours, theirs = pair(levels=[8, 5, 5], training=False)
    latents = torch.randn(2, 100, 3, generator=seeded()).bfloat16()
    (vectors, indices), (vectors_0, indices_0) = ours(latents), theirs(latents)
    assert torch.equal(vectors, vectors_0)
    assert vectors.dtype == torch.bfloat16
    assert torch.equal(indices, indices_0)


def test_noise_leaves_the_indices_and_the_range(seeded):
    options = {"levels": [4, 4], "preserve_symmetry": True, "noise_dropout": 0.5}
    ours, theirs = pair(**options)
    latents = torch.randn(1, 4000, 2, generator=seeded())
    shares = []
    for module in (ours, theirs):
        vectors, indices = module(latents)
        shares.append((vectors - module.indices_to_codes(indices)).abs().gt(1e-5).float().mean())
        assert vectors.abs().max() <= 1
    assert torch.equal(ours(latents)[1], theirs(latents)[1])
    assert abs(shares[0] - shares[1]) < 0.05
    assert torch.equal(ours.eval()(latents)[0], ours.indices_to_codes(ours(latents)[1]))


def test_indices_that_the_original_cannot_count(seeded):
    """Theirs adds floats: at 2^28 most indices come back wrong, at 2^31 int32 overflows."""
    options = {"levels": [16] * 7, "preserve_symmetry": True, "return_indices": False}
    ours = FSQ(**options)
    indices = torch.randint(0, 2**28, (1, 500), generator=seeded())
    assert torch.equal(ours.codes_to_indices(ours.indices_to_codes(indices)), indices)
    theirs = original.FSQ(**options)
    wrong = theirs.codes_to_indices(theirs.indices_to_codes(indices)) != indices
    assert wrong.float().mean() > 0.5
    large = FSQ([8] * 21)
    codes = torch.randint(0, 2**63 - 1, (1, 500), generator=seeded())
    assert torch.equal(large.codes_to_indices(large.indices_to_codes(codes)), codes)
    assert large(torch.randn(1, 3, 21))[1].dtype == torch.int64


def test_ties_go_to_the_lower_level():
    """The original rounds zero up."""
    ours, theirs = pair(levels=[4], preserve_symmetry=True, training=False)
    assert ours(torch.zeros(1, 1, 1))[1].item() == 1
    assert theirs(torch.zeros(1, 1, 1))[1].item() == 2


def test_a_thousand_levels_stay_in_range():
    """The original's bound goes beyond the highest level from 1002 levels on."""
    latents = torch.full((1, 1, 1), 20.0)
    ours, theirs = pair(levels=[2001], training=False)
    assert ours(latents)[1].item() == 2000
    assert theirs(latents)[1].item() > 2000


def test_a_saved_module_loads():
    ours = FSQ([4, 4], dim=3, orthogonal_rotation=True)
    file = io.BytesIO()
    torch.save(ours.state_dict(), file)
    file.seek(0)
    other = FSQ([4, 4], dim=3, orthogonal_rotation=True)
    other.load_state_dict(torch.load(file, weights_only=True))
    latents = torch.randn(1, 9, 3)
    assert torch.equal(ours(latents)[1], other(latents)[1])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"levels": [2, 3]}, "levels of 2 need preserve_symmetry=True"),
        ({"levels": [3, 3], "noise_dropout": 0.1}, "noise needs preserve_symmetry=True"),
        ({"levels": [3], "num_codebooks": 2, "keep_num_codebooks_dim": False}, "must not be False"),
        ({"levels": [3], "num_codebooks": 0}, "num_codebooks must be at least 1, got 0"),
    ],
)
def test_wrong_options_are_named(options, text):
    with pytest.raises(OptionError, match=text):
        FSQ(**options)


def test_wrong_input_is_named():
    ours = FSQ([8, 5, 5])
    with pytest.raises(ShapeError, match=r"dim=3 features, got shape \(1, 2, 4\)"):
        ours(torch.zeros(1, 2, 4))
    with pytest.raises(CodeRangeError, match=r"range\(200\), got 200"):
        ours.indices_to_codes(torch.tensor([[200]]))
    with pytest.raises(ShapeError, match=r"3 features, got shape \(1, 2\)"):
        ours.codes_to_indices(torch.zeros(1, 2))
    with pytest.raises(CodeRangeError, match=r"points of the grid, got 2.0 at row 0, feature 1"):
        ours.codes_to_indices(torch.tensor([[0.0, 2.0, 0.0]]))
    with pytest.raises(OptionError, match=r"up to 2\^24 codes, got 9223372036854775808"):
        _ = FSQ([8] * 21).implicit_codebook


@pytest.mark.parametrize("preserve_symmetry", [False, True])
def test_rotated_points_have_the_indices_that_they_were_made_of(preserve_symmetry):
    layer = FSQ([5, 4], preserve_symmetry=preserve_symmetry, orthogonal_rotation=True)
    indices = torch.arange(20, dtype=torch.int32)[None]
    assert torch.equal(layer.codes_to_indices(layer.indices_to_codes(indices)), indices)
    vectors, found = layer(torch.randn(2, 9, 2))
    assert torch.equal(layer.codes_to_indices(vectors), found)
