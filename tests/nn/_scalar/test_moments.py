"""The loss on four moments, against the definition in exact numbers."""

from fractions import Fraction

import pytest
import torch

from certvq.errors import OptionError
from certvq.nn import Moments


def test_the_four_terms_by_hand():
    """Tokens -1, -1, 2: mean 0, variance 3, cubes of scores sum to 6 / 3^1.5, fourths to 18 / 9."""
    tokens = torch.tensor([[-1.0], [-1.0], [2.0]], dtype=torch.float64)
    skewness = (6 / 3**1.5) / 3
    kurtosis = Fraction(18, 9) / 3 - 3
    for place, moment in enumerate((0.0, 3.0, skewness, float(kurtosis))):
        weights = [0.0] * 4
        weights[place] = 0.5
        loss = Moments((0.25, 0.25, 0.25, 0.25), tuple(weights))(tokens)
        assert loss.item() == pytest.approx(0.5 * (moment - 0.25) ** 2, rel=1e-14)


def test_features_are_averaged():
    tokens = torch.tensor([[-1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    assert Moments((0.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0))(tokens).item() == 2.0


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_tokens_cost_nothing(count):
    tokens = torch.ones(count, 3, requires_grad=True)
    loss = Moments()(tokens)
    loss.backward()
    assert loss.item() == 0.0


def test_a_constant_feature_has_a_finite_gradient():
    tokens = torch.full((5, 2), 3.0, requires_grad=True)
    loss = Moments()(tokens)
    loss.backward()
    assert torch.isfinite(tokens.grad).all()
    # mean 3, variance 0, skewness 0, kurtosis -3
    assert loss.item() == pytest.approx(0.1 * 9 + 0.07 * 1 + 0.05 * 9, rel=1e-6)


def test_half_precision_does_not_overflow():
    tokens = torch.tensor([[-3000.0], [3000.0]], dtype=torch.float16)
    assert torch.isfinite(Moments()(tokens))


def test_gradcheck(seeded):
    tokens = torch.randn(6, 2, dtype=torch.float64, generator=seeded(), requires_grad=True)
    assert torch.autograd.gradcheck(Moments(), (tokens,))


def test_spread_wants_a_variance_only():
    assert Moments.spread(2.0).targets == (0.0, 2.0, 0.0, 0.0)
    assert Moments.spread(2.0).weights[2:] == (0.0, 0.0)


def test_wrong_options_are_named():
    with pytest.raises(OptionError, match=r"targets must be finite, got \(nan"):
        Moments(targets=(float("nan"), 1.0, 0.0, 0.0))
    with pytest.raises(OptionError, match=r"weights must be .* got \(-1"):
        Moments(weights=(-1.0, 0.0, 0.0, 0.0))


def test_huge_latents_have_a_finite_loss():
    latents = torch.tensor([[3e38, -3e38], [-3e38, 1.0], [0.0, 1.0]])
    loss = Moments()(latents)
    assert torch.isfinite(loss)
    most = torch.finfo(torch.float32).max ** 0.25 / 4
    assert torch.equal(loss, Moments()(latents.clamp(-most, most)))
    assert loss > Moments()(latents.clamp(-most / 2, most / 2))
