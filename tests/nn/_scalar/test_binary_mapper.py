"""Bits from logits: nearest corners, draws of the right frequency, the gradient of G."""

import math
from fractions import Fraction
from itertools import product

import pytest
import torch

from certvq import spec
from certvq.errors import NonFiniteError, OptionError
from certvq.nn import BinaryMapper
from certvq.nn._scalar import binary_mapper as module
from certvq.nn._scalar.binary_mapper import (
    bits_to_codes,
    code_log_probability,
    codes_to_bits,
    draw_bits,
    fair_coin_divergence,
    one_hot,
    probabilities,
)


def test_codes_of_eval_mode_are_nearest_corners(seeded):
    """`sign_isNearestCode`, against the corners in the order of the codes."""
    corners = [
        tuple(Fraction(2 * bit - 1) for bit in bits[::-1]) for bits in product((0, 1), repeat=3)
    ]
    book = spec.Codebook(tuple(corners))
    logits = torch.randn(1, 40, 3, generator=seeded())
    logits[0, :3] = torch.tensor([[0.0, -0.0, 1.0], [0.0, 0.0, 0.0], [1e-40, -1e-40, 0.0]])
    codes = BinaryMapper(3).eval()(logits).codes[0]
    for row, code in zip(logits[0].double().tolist(), codes.tolist(), strict=True):
        assert code == min(spec.nearest_codes(book, tuple(map(Fraction, row))))
    assert codes[:3].tolist() == [4, 0, 1]


def test_vectors_are_one_hot_in_both_modes(seeded):
    layer = BinaryMapper(5, generator=seeded())
    logits = torch.randn(2, 6, 5, generator=seeded(1), requires_grad=True)
    for mode in (True, False):
        quantized, codes, _ = layer.train(mode)(logits)
        assert quantized.shape == (2, 6, 32)
        assert torch.equal(quantized, torch.nn.functional.one_hot(codes, 32).float())


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_draws_have_the_probability_of_the_logits(temperature, seeded):
    logits = torch.tensor([[-3.0, -0.5, 0.0, 2.0]]).expand(40000, 4)
    share = draw_bits(logits, temperature, seeded()).double().mean(0)
    chance = torch.sigmoid(logits[0].double() / temperature)
    deviation = (chance * (1 - chance) / 40000).sqrt()
    assert ((share - chance).abs() < 6 * deviation).all()


def test_draws_are_independent(seeded):
    """The joint frequency of two fair bits is a quarter each."""
    codes = bits_to_codes(draw_bits(torch.zeros(40000, 2), 1.0, seeded()))
    share = torch.bincount(codes, minlength=4) / 40000
    assert ((share - 0.25).abs() < 6 * math.sqrt(0.25 * 0.75 / 40000)).all()


def test_certain_logits_are_drawn_with_certainty():
    logits = torch.tensor([[1e30, -1e30]])
    assert draw_bits(logits, 1.0, None).tolist() == [[True, False]]


def test_bits_and_codes_are_each_other_inverted(seeded):
    codes = torch.randint(2**62, (50,), generator=seeded())
    assert torch.equal(bits_to_codes(codes_to_bits(codes, 62)), codes)
    assert bits_to_codes(torch.ones(63, dtype=torch.bool)) == 2**63 - 1


def test_probabilities_are_products_of_those_of_the_bits():
    chances = [0.25, 0.9, 0.5]
    logits = torch.tensor([[math.log(p / (1 - p)) for p in chances]], dtype=torch.float64)
    found = probabilities(logits)[0]
    for code in range(8):
        expected = math.prod(p if code >> h & 1 else 1 - p for h, p in enumerate(chances))
        assert found[code].item() == pytest.approx(expected, rel=1e-14)
    every = code_log_probability(logits.expand(8, 3), torch.arange(8)).sum(-1).exp()
    torch.testing.assert_close(every, found, rtol=1e-14, atol=0)


@pytest.mark.parametrize("block", [2**19, 16, 1])
def test_the_gradient_is_that_of_the_probabilities(block, seeded, monkeypatch):
    """Also where the backward pass works through blocks of two rows, or one, at a time."""
    monkeypatch.setattr(module, "_BLOCK", block)
    logits = torch.randn(5, 3, dtype=torch.float64, generator=seeded(), requires_grad=True)
    weights = torch.randn(5, 8, dtype=torch.float64, generator=seeded(1))
    codes = torch.tensor([0, 7, 3, 4, 1])
    (one_hot(logits, codes, torch.float64) * weights).sum().backward()
    assert torch.autograd.gradcheck(probabilities, (logits,))
    (expected,) = torch.autograd.grad((probabilities(logits) * weights).sum(), logits)
    torch.testing.assert_close(logits.grad, expected, rtol=1e-12, atol=1e-15)


def test_divergence_from_fair_coins():
    """0 for a fair coin, log 2 for a certain one, the definition between, never NaN."""
    chance = torch.tensor([0.01, 0.3, 0.5, 0.9], dtype=torch.float64)
    entropy = -(chance * chance.log() + (1 - chance) * (1 - chance).log())
    found = fair_coin_divergence(torch.logit(chance)[:, None])
    torch.testing.assert_close(found, math.log(2.0) - entropy, rtol=1e-12, atol=1e-15)
    extreme = torch.tensor([[1e38], [-1e38], [torch.finfo(torch.float32).max]], requires_grad=True)
    divergence = fair_coin_divergence(extreme)
    assert (divergence == math.log(2.0)).all() or (divergence - math.log(2.0)).abs().max() < 1e-7
    divergence.sum().backward()
    assert not extreme.grad.any()


def test_loss_leaves_some_nats_free():
    """One certain bit of two, over two latents: KL is log 2 and 2 log 2."""
    logits = torch.tensor([[[60.0, 0.0], [60.0, -60.0]]], dtype=torch.float64)
    ln2 = math.log(2.0)
    for free, expected in ((0.0, 1.5 * ln2), (ln2, 0.5 * ln2), (2 * ln2, 0.0)):
        layer = BinaryMapper(2, free_nats=free).eval()
        assert layer(logits).loss.item() == pytest.approx(expected, abs=1e-15)
    assert layer.metrics()["nats"] == pytest.approx(1.5 * ln2)
    assert layer.metrics()["free_nats_loss"] == pytest.approx(0.0, abs=1e-15)


def test_eval_mode_draws_nothing(seeded):
    layer = BinaryMapper(3, generator=seeded())
    before = layer.generator.get_state()
    layer.eval()(torch.randn(1, 4, 3))
    layer.train().encode(torch.randn(1, 4, 3))
    assert torch.equal(layer.generator.get_state(), before)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"bits": 0}, "bits must lie in 1 to 30, got 0"),
        ({"bits": 31}, "bits must lie in 1 to 30, got 31"),
        ({"free_nats": -0.5}, "free_nats must be finite and at least 0, got -0.5"),
        ({"temperature": 0.0}, "temperature must be finite and above 0, got 0.0"),
    ],
)
def test_wrong_options_are_named(options, text):
    with pytest.raises(OptionError, match=text):
        BinaryMapper(**{"bits": 3, **options})


@pytest.mark.parametrize("training", [True, False])
def test_nan_is_named(training):
    logits = torch.zeros(1, 3, 2)
    logits[0, 2, 1] = torch.inf
    with pytest.raises(NonFiniteError, match="latents must be finite, got inf at row 2, column 1"):
        BinaryMapper(2).train(training)(logits)
