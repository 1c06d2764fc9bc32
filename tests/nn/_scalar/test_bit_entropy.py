"""Entropies of independent bits against the distribution over all codes, written out."""

import itertools
import math

import pytest
import torch

from certvq.errors import OptionError
from certvq.nn import Entropy
from certvq.nn._scalar import bit_entropy
from certvq.nn._scalar.bit_entropy import batch_entropy, sample_entropy


def written_out(logits):
    """The softmax over all corners, as the papers define it: (N, 2^D)."""
    corners = torch.tensor(list(itertools.product([-0.5, 0.5], repeat=logits.shape[1])))
    return (logits @ corners.to(logits.dtype).T).softmax(-1)


def entropy(probabilities):
    return torch.special.entr(probabilities).sum(-1)


@pytest.mark.parametrize("bits", [1, 2, 5, 8])
@pytest.mark.parametrize("size", [0.0, 1.0, 20.0])
def test_entropies_are_those_of_all_codes(bits, size, seeded):
    logits = torch.randn(30, bits, generator=seeded(), dtype=torch.float64) * size
    table = written_out(logits)
    torch.testing.assert_close(sample_entropy(logits), entropy(table).mean())
    torch.testing.assert_close(batch_entropy(logits), entropy(table.mean(0)))


def test_gradients_are_those_of_all_codes(seeded):
    logits = torch.randn(20, 5, generator=seeded(), dtype=torch.float64, requires_grad=True)
    ours = sample_entropy(logits) - 0.7 * batch_entropy(logits)
    (gradient,) = torch.autograd.grad(ours, logits)
    table = written_out(logits)
    theirs = entropy(table).mean() - 0.7 * entropy(table.mean(0))
    (expected,) = torch.autograd.grad(theirs, logits)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("grad", [False, True])
def test_chunks_change_nothing_but_the_memory(grad, seeded, monkeypatch):
    logits = torch.randn(100, 7, generator=seeded(), dtype=torch.float64, requires_grad=grad)
    whole = batch_entropy(logits)
    monkeypatch.setattr(bit_entropy, "_CHUNK", 64)
    parts = batch_entropy(logits)
    torch.testing.assert_close(parts, whole)
    if grad:
        (expected,) = torch.autograd.grad(whole, logits)
        (gradient,) = torch.autograd.grad(parts, logits)
        torch.testing.assert_close(gradient, expected)


def test_groups_bound_the_entropy_of_the_batch_from_above(seeded):
    logits = 3 * torch.randn(200, 6, generator=seeded(), dtype=torch.float64)
    exact = batch_entropy(logits)
    bounds = [batch_entropy(logits, group_bits=width) for width in (6, 4, 3, 2, 1)]
    torch.testing.assert_close(bounds[0], exact)
    assert all(bound > exact for bound in bounds[1:])
    halves = [batch_entropy(part) for part in (logits[:, :4], logits[:, 4:])]
    torch.testing.assert_close(bounds[1], sum(halves))


def test_independent_groups_reach_the_bound():
    logits = torch.tensor([[60.0, 60.0], [60.0, -60.0], [-60.0, 60.0], [-60.0, -60.0]])
    torch.testing.assert_close(batch_entropy(logits, group_bits=1), batch_entropy(logits))
    torch.testing.assert_close(batch_entropy(logits), torch.tensor(2 * math.log(2)))


def test_certain_and_absent_latents_have_none():
    sure = torch.full((3, 4), 1e30)
    assert sample_entropy(sure) == 0.0
    assert batch_entropy(sure) == 0.0
    assert sample_entropy(sure[:0]) == batch_entropy(sure[:0]) == 0.0


def test_gradients_are_finite_where_probabilities_vanish():
    logits = torch.tensor([[500.0, -500.0], [0.0, 90.0]], requires_grad=True)
    (sample_entropy(logits) - batch_entropy(logits)).backward()
    assert torch.isfinite(logits.grad).all()


def test_autocast_does_not_narrow_the_product(seeded):
    logits = torch.randn(50, 6, generator=seeded())
    plain = batch_entropy(logits)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(batch_entropy(logits), plain)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"weight": -1.0}, "weight must be finite and at least 0, got -1.0"),
        ({"diversity": math.inf}, "diversity must be finite and at least 0, got inf"),
        ({"inverse_temperature": 0.0}, "inverse_temperature must be .* above 0, got 0.0"),
        ({"group_bits": 21}, "group_bits must be None or 1 to 20, got 21"),
    ],
)
def test_wrong_options_are_named(options, text):
    with pytest.raises(OptionError, match=text):
        Entropy(**options)


def test_infinite_logits_have_no_entropy():
    logits = torch.tensor([[math.inf, -math.inf, 0.0]])
    assert sample_entropy(logits).item() == pytest.approx(math.log(2.0))
