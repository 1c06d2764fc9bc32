"""Coins under torch.func.vmap: those of a loop, or of one batch."""

import pytest
import torch
from torch import func

from certvq.compat.vector_quantize_pytorch import BinaryMapper
from certvq.errors import TransformError
from certvq.nn._torch.coins import coins

ODDS = torch.rand(3, 4, 50, generator=torch.Generator().manual_seed(0))


def seeded(run):
    torch.manual_seed(7)
    return run()


def test_they_are_those_of_torch():
    expected = seeded(ODDS.bernoulli)
    assert torch.equal(seeded(lambda: coins(ODDS)), expected)
    assert torch.equal(seeded(lambda: func.grad(lambda x: (x * coins(ODDS)).sum())(ODDS)), expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_same_numbers_for_each_sample(axis):
    samples = ODDS.unbind(axis)
    found = seeded(lambda: func.vmap(coins, in_dims=axis, randomness="same")(ODDS))
    after = torch.rand(())
    assert torch.equal(
        found, torch.stack([seeded(lambda each=each: coins(each)) for each in samples])
    )
    seeded(lambda: coins(samples[0]))
    assert torch.equal(torch.rand(()), after), "the generator is not where one sample leaves it"


def test_nested_samples():
    run = func.vmap(func.vmap(coins, randomness="same"), randomness="same")
    expected = [[seeded(lambda each=each: coins(each)) for each in row] for row in ODDS]
    assert torch.equal(seeded(lambda: run(ODDS)), torch.stack([torch.stack(r) for r in expected]))
    mixed = func.vmap(func.vmap(coins, randomness="same"), randomness="different")
    found = seeded(lambda: mixed(torch.full((2, 3, 50), 0.5)))
    assert torch.equal(found[:, 0], found[:, 1])
    assert not torch.equal(found[0], found[1])


def test_different_numbers_for_each_sample():
    run = func.vmap(coins, randomness="different")
    assert torch.equal(seeded(lambda: run(ODDS)), seeded(lambda: coins(ODDS)))
    fixed = func.vmap(lambda x: coins(ODDS[0]) + 0 * x[0], randomness="different")
    each = seeded(lambda: fixed(ODDS))
    assert not torch.equal(each[0], each[1])
    shared = func.vmap(lambda x: coins(ODDS[0]) + 0 * x[0], randomness="same")
    each = seeded(lambda: shared(ODDS))
    assert torch.equal(each[0], each[1])
    assert torch.equal(each[0], seeded(lambda: coins(ODDS[0])))


def test_randomness_must_be_said():
    layer = BinaryMapper(bits=4).eval()
    with pytest.raises(TransformError, match='got randomness="error"; give vmap randomness="same"'):
        func.vmap(lambda x: layer(x)[0])(torch.zeros(3, 2, 4))
    found = func.vmap(lambda x: layer(x, deterministic=True)[0])(torch.ones(3, 2, 4))
    assert found.argmax(-1).tolist() == [[15, 15]] * 3
