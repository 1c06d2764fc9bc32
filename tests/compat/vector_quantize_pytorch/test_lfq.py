"""`LFQ` beside the installed original: indices, vectors, losses, gradients, in its layouts."""

import math

import pytest
import torch

from certvq.compat.vector_quantize_pytorch import LFQ, ResidualLFQ
from certvq.compat.vector_quantize_pytorch.lookup_free_quantization import LossBreakdown, Return
from certvq.errors import CodeRangeError, DTypeError, NonFiniteError, OptionError, ShapeError

original = pytest.importorskip("vector_quantize_pytorch")

ULPS = 16 * 2.0**-23
"""Theirs normalise corners and add and subtract the latent; maps add a few products."""


def clamp_error(size):
    """What the original's logarithm, cut off at 1e-5, can change of an entropy over all codes.

    A probability p below 1e-5 counts ``p ln(1e5)`` rather than ``p ln(1 / p)``; the difference is
    at most ``1e-5 / e``.
    """
    return size * 1e-5 / math.e


CASES = [
    ({"dim": 6}, (2, 50, 6)),
    ({"codebook_size": 16, "dim": 7, "commitment_loss_weight": 0.3}, (2, 50, 7)),
    ({"codebook_size": 16, "num_codebooks": 3, "dim": 7}, (2, 50, 7)),
    ({"codebook_size": 16, "num_codebooks": 2, "commitment_loss_weight": 1.0}, (2, 50, 8)),
    ({"dim": 5}, (2, 5, 6, 7)),
    ({"dim": 5, "channel_first": True, "keep_num_codebooks_dim": True}, (2, 5, 20)),
    ({"dim": 5, "spherical": True, "commitment_loss_weight": 0.2}, (2, 50, 5)),
    ({"dim": 5, "spherical": True, "codebook_scale": 0.5, "diversity_gamma": 0.3}, (2, 50, 5)),
    ({"dim": 5, "soft_clamp_input_value": 2.0, "codebook_scale": 0.5}, (2, 50, 5)),
    ({"dim": 5, "experimental_softplus_entropy_loss": True}, (2, 50, 5)),
    ({"dim": 5, "orthogonal_rotation": True}, (2, 50, 5)),
    ({"dim": 5, "codebook_size": 16, "orthogonal_rotation": True, "spherical": True}, (2, 9, 5)),
    ({"dim": 5, "codebook_size": 16, "cosine_sim_project_in": True}, (2, 50, 5)),
    ({"dim": 5, "straight_through_activation": torch.nn.Tanh()}, (2, 50, 5)),
    ({"dim": 4, "has_projections": True, "projection_has_bias": False}, (2, 50, 4)),
    ({"dim": 4, "frac_per_sample_entropy": 0.5}, (2, 50, 4)),
]


def pair(*, training=True, **options):
    ours, theirs = LFQ(**options), original.LFQ(**options)
    ours.load_state_dict(theirs.state_dict())
    return ours.train(training), theirs.train(training)


@pytest.mark.rows("temperature", [0.2, 1.0, 100.0])
@pytest.mark.parametrize(
    ("options", "shape", "masked"),
    [
        (options, shape, masked)
        for options, shape in CASES
        for masked in (False, True)
        if not masked or (len(shape) < 4 and "channel_first" not in options)
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore")
def test_training_is_the_originals(options, shape, masked, temperature, seeded):
    """With a mask the original's entropy of the batch is that of each token: it averages nothing.

    It takes masks of (b, n) alone. So losses are compared with the original's for the tokens that
    the mask keeps, without a mask.
    """
    ours, theirs = pair(**options)
    latents = torch.randn(shape, generator=seeded())
    weights = torch.randn(shape, generator=seeded(1))
    mask = torch.rand(shape[:2], generator=seeded(2)) < 0.7 if masked else None
    results = []
    for module in (ours, theirs):
        torch.manual_seed(3)
        leaf = latents.clone().requires_grad_()
        result, terms = module(
            leaf, inv_temperature=temperature, return_loss_breakdown=True, mask=mask
        )
        (result.quantized * weights).sum().backward()
        results.append((result, terms, leaf.grad))
    if masked:
        torch.manual_seed(3)
        result, terms = theirs(
            latents[mask][None], inv_temperature=temperature, return_loss_breakdown=True
        )
        found_0 = results[1][0]._replace(entropy_aux_loss=result.entropy_aux_loss)
        results[1] = (found_0, terms, results[1][2])
    (found, terms, slope), (found_0, terms_0, slope_0) = results
    assert isinstance(found, Return)
    assert isinstance(terms, LossBreakdown)
    assert found._fields == found_0._fields
    assert terms._fields == terms_0._fields
    assert torch.equal(found.indices, found_0.indices)
    assert found.indices.dtype == found_0.indices.dtype
    scale = found_0.quantized.abs().max().clamp(min=1)
    assert found.quantized.shape == found_0.quantized.shape
    assert (found.quantized - found_0.quantized).abs().max() <= ULPS * scale
    assert (slope - slope_0).abs().max() <= 8 * ULPS * slope_0.abs().max()
    entropy = clamp_error(ours.codebook_size) + 1e-4
    assert abs(terms.per_sample_entropy - terms_0.per_sample_entropy) <= entropy
    assert abs(terms.batch_entropy - terms_0.batch_entropy) <= entropy
    assert abs(terms.commitment - terms_0.commitment) <= 1e-5
    assert abs(found.entropy_aux_loss - found_0.entropy_aux_loss) <= 0.3 * entropy + 1e-5


@pytest.mark.parametrize(("options", "shape"), CASES, ids=str)
@pytest.mark.rows("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.filterwarnings("ignore")
def test_eval_and_decoding_are_the_originals(options, shape, dtype, seeded):
    if "orthogonal_rotation" in options:
        dtype = torch.float32  # the original multiplies bfloat16 by float32
    ours, theirs = pair(training=False, **options)
    ours, theirs = ours.to(dtype), theirs.to(dtype)
    latents = torch.randn(shape, generator=seeded()).to(dtype)
    found, found_0 = ours(latents), theirs(latents)
    assert torch.equal(found.indices, found_0.indices)
    assert found.quantized.dtype == found_0.quantized.dtype == dtype
    error = (found.quantized - found_0.quantized).abs().max()
    scale = found_0.quantized.abs().max().clamp(min=1)
    assert error <= (ULPS if dtype == torch.float32 else 2.0**-7) * scale
    assert found.entropy_aux_loss == found_0.entropy_aux_loss == 0.0
    if dtype == torch.float32:
        for project in (True, False):
            back = ours.indices_to_codes(found.indices, project_out=project)
            back_0 = theirs.indices_to_codes(found_0.indices, project_out=project)
            assert back.shape == back_0.shape
            assert (back - back_0).abs().max() <= ULPS * scale
        assert (ours.indices_to_codes(found.indices) - found.quantized).abs().max() <= ULPS * scale


def test_the_entropy_loss_has_the_originals_gradient(seeded):
    """Where no probability is cut off: few codes, high temperature."""
    ours, theirs = pair(dim=3, commitment_loss_weight=0.5, entropy_loss_weight=1.0)
    latents = torch.randn(1, 40, 3, generator=seeded())
    slopes = []
    for module in (ours, theirs):
        leaf = latents.clone().requires_grad_()
        module(leaf, inv_temperature=0.3).entropy_aux_loss.backward()
        slopes.append(leaf.grad)
    torch.testing.assert_close(*slopes)


def test_attributes_are_the_originals():
    ours, theirs = pair(dim=6, codebook_scale=0.5)
    assert torch.equal(ours.codebook, theirs.codebook)
    names = (
        "dim codebook_dim codebook_size num_codebooks has_projections keep_num_codebooks_dim dtype "
        "channel_first spherical orthogonal_rotation frac_per_sample_entropy diversity_gamma "
        "entropy_loss_weight codebook_scale commitment_loss_weight soft_clamp_input_value "
        "entropy_loss_offset experimental_softplus_entropy_loss force_quantization_f32"
    )
    for name in names.split():
        assert getattr(ours, name) == getattr(theirs, name), name
    bits = torch.tensor([0.0, 1.0])
    assert torch.equal(ours.bits_to_codes(bits), theirs.bits_to_codes(bits))


def test_codes_that_the_original_cannot_hold(seeded):
    ours = LFQ(codebook_size=2**63)
    result = ours(torch.randn(1, 20, 63, generator=seeded()))
    assert torch.isfinite(result.entropy_aux_loss)
    indices = torch.randint(0, 2**63 - 1, (1, 50), generator=seeded(1))
    assert torch.equal(ours(ours.indices_to_codes(indices)).indices, indices)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "dim or codebook_size must be given"),
        ({"codebook_size": 12}, "power of 2, at least 2, got 12; 16 is the next one"),
        ({"dim": 4, "frac_per_sample_entropy": 0.0}, "frac_per_sample_entropy must lie .* got 0.0"),
        ({"dim": 4, "soft_clamp_input_value": 0.5}, "at least codebook_scale=1.0, got 0.5"),
    ],
)
def test_wrong_options_are_named(options, text):
    with pytest.raises(OptionError, match=text):
        LFQ(**options)


def test_wrong_input_is_named():
    ours = LFQ(dim=4)
    with pytest.raises(ShapeError, match=r"dim=4 features, got shape \(1, 2, 5\)"):
        ours(torch.zeros(1, 2, 5))
    with pytest.raises(ShapeError, match=r"mask must have the shape .*\(1, 2\), got \(1, 3\)"):
        ours(torch.zeros(1, 2, 4), mask=torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(DTypeError, match="mask must be bool.*got float32"):
        ours(torch.zeros(1, 2, 4), mask=torch.ones(1, 2))
    with pytest.raises(CodeRangeError, match=r"range\(16\), got 16"):
        ours.indices_to_codes(torch.tensor([[16]]))


@pytest.mark.parametrize(
    "options", [{}, {"spherical": True}, {"commitment_loss_weight": 1.0}], ids=str
)
def test_losses_are_finite_or_refused(options):
    """The original's are NaN or infinite."""
    layer = LFQ(dim=4, **options)
    with pytest.raises(NonFiniteError, match=r"at most .* in magnitude.*got 3e\+38 at row 1, col"):
        layer(torch.tensor([[[1.0, 2.0, 3.0, 4.0], [1.0, 3e38, -3e38, 0.0]]]))
    for size in (1e5, 1e10, 1e17, 2e18):
        latents = (size * torch.tensor([[[1.0, -1.0, 0.5, 1e-9]]])).requires_grad_()
        result, terms = layer(latents, return_loss_breakdown=True)
        assert all(torch.isfinite(each).all() for each in (*result, *terms))
        (result.quantized.sum() + result.entropy_aux_loss).backward()
        assert torch.isfinite(latents.grad).all()
        assert result.indices.tolist() == [[0b1011]]
    latents = torch.tensor([[[1.0, 3e38, -3e38, 0.0]]])
    assert layer.eval()(latents).indices.tolist() == [[0b1100]]
    padded = torch.tensor([[[1.0, -2.0, 3.0, 4.0], [1.0, 3e38, -3e38, 0.0]]])
    result = layer.train()(padded, mask=torch.tensor([[True, False]]))
    assert torch.isfinite(result.entropy_aux_loss)


def test_a_mask_of_samples_keeps_all_their_tokens(seeded):
    x = torch.randn(3, 4, 2, 5, generator=seeded())
    samples = torch.tensor([True, False, True])
    grid = samples[:, None, None].expand(3, 2, 5)
    layer = LFQ(dim=4, commitment_loss_weight=0.5)
    expected = layer(x, mask=grid, return_loss_breakdown=True)[1]
    alone = layer(x[samples], return_loss_breakdown=True)[1]
    for mask in (samples, grid.flatten(1)):
        found = layer(x, mask=mask, return_loss_breakdown=True)[1]
        assert found == expected
    torch.testing.assert_close(torch.stack(expected), torch.stack(alone))
    levels = ResidualLFQ(dim=4, codebook_size=16, num_quantizers=2)
    assert torch.equal(levels(x, mask=samples)[2], levels(x, mask=grid)[2])


def test_a_mask_that_keeps_nothing_costs_nothing():
    layer, x = LFQ(dim=4, commitment_loss_weight=0.5), torch.ones(2, 4, 3, 3, requires_grad=True)
    for share in (1.0, 0.1):
        layer.frac_per_sample_entropy = share
        loss = layer(x, mask=torch.tensor([False, False])).entropy_aux_loss
        assert loss.item() == 0.0
        assert not torch.autograd.grad(loss, x)[0].any()


def test_a_share_of_the_tokens_is_at_least_one():
    full, part = LFQ(dim=2), LFQ(dim=2, frac_per_sample_entropy=0.1)
    x = torch.tensor([[[0.1, -0.2]]])
    assert torch.equal(part(x, 1.0).entropy_aux_loss, full(x, 1.0).entropy_aux_loss)
