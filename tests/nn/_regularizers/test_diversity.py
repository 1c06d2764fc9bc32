"""Diversity: the formula, the range, what it does to a collapsing encoder."""

import math

import pytest
import torch

from certvq.errors import OptionError
from certvq.nn import Batch, Diversity, Uniform, VectorQuantize


def test_it_is_the_entropy_of_the_mean(seeded):
    z = torch.randn(30, 3, dtype=torch.float64, generator=seeded())
    book = torch.randn(5, 3, dtype=torch.float64, generator=seeded(1))
    found = Diversity(temperature=3.0).penalty(Batch(z, book, None, "euclidean", None))
    p = (-3.0 * torch.cdist(z, book)).softmax(1).mean(0)
    torch.testing.assert_close(found, (p * p.log()).sum())


def test_even_use_is_best_and_one_code_is_worst():
    book = torch.eye(4)
    even, single = (
        Diversity().penalty(Batch(z, book, None, "euclidean", None)) for z in (book, book[:1])
    )
    assert float(even) == pytest.approx(-math.log(4))
    assert float(single) == pytest.approx(0.0, abs=1e-6)


def test_the_loss_has_it_with_its_weight_in_train_mode_alone(seeded):
    layer = VectorQuantize(
        2,
        5,
        start=Uniform(2.0),
        revive=None,
        commitment_weight=0.0,
        generator=seeded(),
        regularizers=(Diversity(0.25, temperature=2.0),),
    )
    x = torch.randn(1, 9, 2, generator=seeded(1), requires_grad=True)
    loss = layer(x).loss
    assert loss.item() == pytest.approx(0.25 * layer.metrics()["diversity_loss"])
    loss.backward()
    assert x.grad.any()
    assert layer.eval()(x).loss == 0.0
    assert "diversity_loss" not in layer.metrics()


def test_wrong_options_are_named():
    with pytest.raises(OptionError, match="Diversity weight .* got nan"):
        Diversity(math.nan)
    with pytest.raises(OptionError, match="temperature must be positive and finite, got 0"):
        Diversity(temperature=0.0)
