"""`BinaryMapper` beside the installed original: codes, vectors, losses, gradients."""

import math

import pytest
import torch

from certvq.compat.vector_quantize_pytorch import BinaryMapper
from certvq.errors import NonFiniteError, OptionError, ShapeError

original = pytest.importorskip("vector_quantize_pytorch")

ULPS = 16 * 2.0**-23
"""Relative difference of sums of at most six logarithms, each rounded a few times."""


def pair(*, training, **options):
    ours, theirs = BinaryMapper(**options), original.BinaryMapper(**options)
    ours.load_state_dict(theirs.state_dict())
    return ours.train(training), theirs.train(training)


def both(ours, theirs, logits, **arguments):
    """Call both with the same random numbers to come, and gradients."""
    results = []
    for module in (ours, theirs):
        torch.manual_seed(0)
        leaf = logits.clone().requires_grad_()
        results.append((leaf, module(leaf, **arguments)))
    return results


@pytest.mark.rows("training", [True, False])
@pytest.mark.rows("shape", [(5,), (3, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"temperature": 0.5},
        {"deterministic": True},
        {"straight_through": False},
        {"straight_through": True, "calc_aux_loss": True},
        {"calc_aux_loss": True, "reduce_aux_kl_loss": False},
    ],
    ids=str,
)
def test_codes_and_losses_are_the_originals(training, shape, arguments, seeded):
    ours, theirs = pair(training=training, bits=5, kl_loss_threshold=0.3)
    logits = 2.0 * torch.randn(shape, generator=seeded())
    (mine, found), (other, expected) = both(ours, theirs, logits, return_indices=True, **arguments)
    assert torch.equal(found[1], expected[1])
    assert found[0].shape == expected[0].shape
    assert found[0].dtype == expected[0].dtype
    assert torch.equal(found[0], torch.nn.functional.one_hot(expected[1], 32).float())
    # theirs is 1 + G - G, off by the rounding of numbers below 2
    assert (found[0] - expected[0]).abs().max() <= 2.0**-22
    torch.testing.assert_close(found[2], expected[2], rtol=ULPS, atol=ULPS)
    assert found[0].requires_grad == expected[0].requires_grad
    if expected[0].requires_grad:
        weights = torch.randn(expected[0].shape, generator=seeded(1))
        for result in (found, expected):
            ((result[0] * weights).sum() + result[2].sum()).backward()
        torch.testing.assert_close(mine.grad, other.grad, rtol=64 * 2.0**-23, atol=1e-6)


def test_without_indices_there_are_two_results(seeded):
    ours, theirs = pair(training=True, bits=3)
    logits = torch.randn(2, 3, generator=seeded())
    (_, found), (_, expected) = both(ours, theirs, logits)
    assert len(found) == len(expected) == 2


def test_eval_mode_is_deterministic_where_wanted(seeded):
    ours, theirs = pair(training=False, bits=4, deterministic_on_eval=True)
    logits = torch.randn(20, 4, generator=seeded())
    found, expected = ours(logits, return_indices=True)[1], theirs(logits, return_indices=True)[1]
    assert torch.equal(found, expected)


def test_a_tiny_logit_is_a_one_which_the_original_rounds_to_a_half():
    ours, theirs = pair(training=False, bits=1, deterministic_on_eval=True)
    logits = torch.tensor([[1e-9]])
    assert ours(logits, return_indices=True)[1].tolist() == [1]
    assert theirs(logits, return_indices=True)[1].tolist() == [0]


@pytest.mark.parametrize("sum_bits", [True, False])
def test_log_probabilities_are_the_originals(sum_bits, seeded):
    ours, theirs = pair(training=False, bits=4)
    logits = torch.randn(2, 3, 4, generator=seeded())
    codes = torch.randint(16, (2, 3), generator=seeded(1))
    vectors = torch.nn.functional.one_hot(codes, 16)
    for given in ({"indices": codes}, {"one_hot": vectors}):
        found = ours.log_prob(logits, sum_bits=sum_bits, **given)
        expected = theirs.log_prob(logits, sum_bits=sum_bits, **given)
        torch.testing.assert_close(found, expected, rtol=ULPS, atol=0)


def test_attributes_are_the_originals(seeded):
    ours, theirs = pair(training=False, bits=4)
    assert torch.equal(ours.codes, theirs.codes)
    assert (ours.bits, ours.num_codes) == (theirs.bits, theirs.num_codes)
    logits = torch.randn(6, 4, generator=seeded())
    torch.testing.assert_close(
        ours.binary_entropy(logits), theirs.binary_entropy(logits), rtol=ULPS, atol=ULPS
    )
    assert ours.kl_loss_threshold == math.log(2.0)


def test_wrong_input_is_named():
    layer = BinaryMapper(3)
    with pytest.raises(ShapeError, match=r"3 entries in the last axis, got shape \(2, 4\)"):
        layer(torch.zeros(2, 4))
    with pytest.raises(NonFiniteError, match="got nan at row 1, column 0"):
        layer(torch.tensor([[0.0, 0.0, 0.0], [math.nan, 0.0, 0.0]]))
    with pytest.raises(OptionError, match="either indices or one_hot, got neither"):
        layer.log_prob(torch.zeros(2, 3))
    codes = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(OptionError, match="either indices or one_hot, got both"):
        layer.log_prob(torch.zeros(2, 3), indices=codes, one_hot=torch.zeros(2, 8))
