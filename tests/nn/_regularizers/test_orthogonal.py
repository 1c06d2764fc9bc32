"""Orthogonality: the formula, which codes are looked at, where it is refused."""

import pytest
import torch

from certvq.errors import OptionError
from certvq.nn import EMA, Batch, Gradient, Online, Orthogonal, Uniform, VectorQuantize


def batch(vectors, codes, generator=None):
    return Batch(torch.zeros(len(codes), vectors.shape[1]), vectors, codes, "euclidean", generator)


def test_it_is_the_formula(seeded):
    vectors = torch.randn(5, 3, dtype=torch.float64, generator=seeded()).requires_grad_()
    value = Orthogonal().penalty(batch(vectors, torch.tensor([0])))
    units = torch.nn.functional.normalize(vectors)
    torch.testing.assert_close(value, (units @ units.T).square().sum() / 25 - 1 / 5)
    value.backward()
    assert vectors.grad.any()


def test_only_codes_of_the_batch(seeded):
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    active = Orthogonal(active_only=True)
    assert active.penalty(batch(vectors, torch.tensor([0, 2, 2]))) == 0.0
    assert active.penalty(batch(vectors, torch.tensor([0, 1]))) == 0.5


def test_at_most_so_many_codes(seeded):
    vectors = torch.cat([torch.ones(1, 2), torch.zeros(9, 2)]).requires_grad_()
    few = Orthogonal(max_codes=3)
    values = {few.penalty(batch(vectors, torch.tensor([0]), seeded(s))).item() for s in range(20)}
    assert sorted(values) == pytest.approx([-1 / 3, 1 / 9 - 1 / 3])


def test_training_makes_code_vectors_orthogonal(seeded):
    layer = VectorQuantize(
        4,
        4,
        update=Gradient(weight=0.0),
        start=Uniform(),
        revive=None,
        regularizers=(Orthogonal(1.0),),
        generator=seeded(),
    )
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
    values = []
    for _ in range(100):
        optimizer.zero_grad()
        layer(torch.randn(1, 8, 4, generator=seeded(1))).loss.backward()
        optimizer.step()
        values.append(layer.metrics()["orthogonal_loss"])
    assert values[-1] < 0.1 * values[0]


@pytest.mark.parametrize("update", [EMA(), Online(torch.optim.SGD)], ids=["EMA", "Online"])
def test_without_a_gradient_it_is_refused(update):
    with pytest.raises(OptionError, match=r"Orthogonal acts on .*update=.*use update=Gradient\(\)"):
        VectorQuantize(2, 3, update=update, regularizers=(Orthogonal(),))


def test_wrong_options_are_named():
    with pytest.raises(OptionError, match="Orthogonal weight .* got -1"):
        Orthogonal(-1.0)
    with pytest.raises(OptionError, match="max_codes must be at least 1 or None, got 0"):
        Orthogonal(max_codes=0)
