"""`FSP` beside the installed original: codes, vectors, losses, figures."""

import pytest
import torch

from certvq.compat.vector_quantize_pytorch import FSP
from certvq.errors import CodeRangeError, OptionError, ShapeError

original = pytest.importorskip("vector_quantize_pytorch")

VECTOR = 2.0**-20
"""Absolute difference of vectors of at most about 3: theirs are rounded four times to float32, and
where the inverse of the activation is steep its argument's rounding counts more."""


def pair(levels, *, training=False, **options):
    ours, theirs = FSP(levels, **options), original.FSP(levels, **options)
    ours.load_state_dict(theirs.state_dict())
    return ours.train(training), theirs.train(training)


SHAPES = [
    ({}, (2, 6, 3)),
    ({}, (7, 3)),
    ({"channel_first": True}, (2, 3, 4, 5)),
    ({"dim": 5}, (2, 6, 5)),
    ({"dim": 5, "channel_first": True, "projection_has_bias": False}, (2, 5, 3, 2)),
]


@pytest.mark.parametrize(("options", "shape"), SHAPES, ids=str)
@pytest.mark.rows("act_name", ["tanh", "sigmoid", "normal", "laplace", "cauchy"])
@pytest.mark.rows("need_inv_act", [True, False])
def test_eval_mode_is_the_originals(options, shape, act_name, need_inv_act, seeded):
    ours, theirs = pair([3, 4, 7], act_name=act_name, need_inv_act=need_inv_act, **options)
    latents = torch.randn(shape, generator=seeded())
    found, expected = ours(latents), theirs(latents)
    assert torch.equal(found[1], expected[1])
    assert found[1].dtype == expected[1].dtype
    assert torch.equal(found[3]["level_indices"], expected[3]["level_indices"])
    scale = expected[0].abs().max().clamp(min=1.0)
    assert (found[0] - expected[0]).abs().max() <= VECTOR * scale
    torch.testing.assert_close(found[2], expected[2], rtol=1e-5, atol=1e-6)
    for name, value in expected[3]["norm_info"].items():
        torch.testing.assert_close(found[3]["norm_info"][name], value, rtol=1e-5, atol=1e-5)
    decoded = ours.indices_to_codes(found[1])
    assert (decoded - theirs.indices_to_codes(expected[1])).abs().max() <= VECTOR * scale


@pytest.mark.parametrize(
    "vector_norm", ["none", "var", "kurt", "var_tanh", "var_sigmoid", "var_laplace"]
)
def test_losses_and_their_gradients_are_the_originals(vector_norm, seeded):
    ours, theirs = pair([3, 4, 7], training=True, vector_norm=vector_norm)
    latents = torch.randn(2, 30, 3, generator=seeded())
    grads = []
    for module in (ours, theirs):
        leaf = latents.clone().requires_grad_()
        loss = module(leaf)[2]
        (loss + 0.0 * leaf.sum()).backward()
        grads.append((loss.detach(), leaf.grad))
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("need_inv_act", [True, False])
def test_with_rate_one_train_mode_is_the_originals(need_inv_act, seeded):
    """With other rates the noise is another: it comes from other random numbers."""
    ours, theirs = pair([5, 6], training=True, quantize_rate=1.0, need_inv_act=need_inv_act)
    latents = torch.randn(2, 30, 2, generator=seeded())
    results = []
    for module in (ours, theirs):
        leaf = latents.clone().requires_grad_()
        quantized, codes, loss, _ = module(leaf)
        (quantized.square().sum() + loss).backward()
        results.append((quantized.detach(), codes, leaf.grad))
    assert torch.equal(results[0][1], results[1][1])
    assert (results[0][0] - results[1][0]).abs().max() <= 4 * VECTOR
    torch.testing.assert_close(results[0][2], results[1][2], rtol=1e-4, atol=1e-5)


def test_noise_has_the_originals_distribution(seeded):
    """Mean and spread of what training adds, over 40000 entries."""
    ours, theirs = pair([3, 8], training=True, quantize_rate=0.25)
    latents = torch.randn(1, 20000, 2, generator=seeded())
    torch.manual_seed(0)
    found, expected = ours(latents), theirs(latents)
    assert torch.equal(found[1], expected[1])
    for one, other in ((found[0], expected[0]),):
        torch.testing.assert_close(one.mean((0, 1)), other.mean((0, 1)), rtol=0, atol=0.03)
        torch.testing.assert_close(one.std((0, 1)), other.std((0, 1)), rtol=0.03, atol=0)
    accepted = [float(result[3]["p_accept_prob"]) for result in (found, expected)]
    assert abs(accepted[0] - accepted[1]) < 0.01


def test_indices_are_the_originals():
    ours, theirs = pair([3, 4, 7])
    indices = torch.arange(84).reshape(2, 42)
    bins = theirs.indices_to_level_indices(indices)
    assert torch.equal(ours.indices_to_level_indices(indices).long(), bins.long())
    assert torch.equal(ours.level_indices_to_indices(bins), theirs.level_indices_to_indices(bins))
    assert torch.equal(ours.indices_to_act_value(indices), theirs.indices_to_act_value(indices))
    assert (ours.codebook_size, ours.codebook_dim, ours.dim) == (84, 3, 3)


def test_indices_beyond_int32_are_exact():
    indices = torch.tensor([[2**48 - 1, 2**40 + 12345]])
    layer = FSP([1 << 16] * 3, need_inv_act=True).double()
    assert torch.equal(layer(layer.indices_to_codes(indices))[1], indices)


def test_the_border_of_two_bins_belongs_to_the_lower_one():
    ours, theirs = pair([4])
    latents = torch.zeros(1, 2, 1)
    assert ours(latents)[1].tolist() == [[1, 1]]
    assert theirs(latents)[1].tolist() == [[2, 2]]


def test_wrong_input_is_named():
    layer = FSP([3, 4])
    with pytest.raises(ShapeError, match=r"dim=2 features, got shape \(1, 5, 3\)"):
        layer(torch.zeros(1, 5, 3))
    with pytest.raises(OptionError, match="vector_norm must be one of 'none', .* got 'l2'"):
        FSP([3, 4], vector_norm="l2")
    for call in (layer, layer.indices_to_codes):
        with pytest.raises(OptionError, match="eps must be below 0.125, half a bin, .* got 0.2"):
            call(torch.zeros(1, 1, 2), 0.2)
    with pytest.raises(CodeRangeError, match=r"range\(12\), got 12"):
        layer.indices_to_codes(torch.tensor([[12]]))
