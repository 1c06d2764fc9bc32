"""Random numbers come from the generator that was given, and from no other."""

import pytest
import torch

from certvq.nn._torch import random as _random

CPU = torch.device("cpu")
DRAWS = {
    "uniform": lambda generator: _random.uniform(5, generator, CPU),
    "normal": lambda generator: _random.normal((5, 2), generator, CPU),
    "permutation": lambda generator: _random.permutation(9, generator, CPU),
    "integers": lambda generator: _random.integers(100, 9, generator, CPU),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_a_generator_decides_and_the_default_one_stays(draw, seeded):
    before = torch.get_rng_state()
    assert torch.equal(draw(seeded(3)), draw(seeded(3)))
    assert not torch.equal(draw(seeded(3)), draw(seeded(4)))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_none_is_the_default_generator(draw):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        first = draw(None)
        torch.manual_seed(7)
        assert torch.equal(draw(None), first)
        assert not torch.equal(draw(None), first)


def test_ranges(seeded):
    assert sorted(_random.permutation(6, seeded(), CPU).tolist()) == list(range(6))
    assert set(_random.integers(3, 200, seeded(), CPU).tolist()) == {0, 1, 2}
    unit = _random.uniform(1000, seeded(), CPU)
    assert unit.dtype == torch.float64
    assert 0.0 <= unit.min() < 0.1
    assert 0.9 < unit.max() < 1.0
