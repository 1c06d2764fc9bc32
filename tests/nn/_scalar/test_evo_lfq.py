"""The search among bits: what is fit stays, what wins has children, what is wrong is named.

Also of `certvq.nn._scalar.evolution`.
"""

import pytest
import torch
from torch import nn

from certvq.errors import DTypeError, NonFiniteError, OptionError, ShapeError
from certvq.nn import LFQ, EvoLFQ, Evolution


def model():
    return EvoLFQ(nn.Linear(5, 6), nn.Linear(6, 5), LFQ(6))


def identity(**options):
    return EvoLFQ(nn.Identity(), nn.Identity(), LFQ(10), **options)


def total(data):
    return data.flatten(1).sum(dim=1)


def test_bits_are_signs_and_decode_to_corners(seeded):
    layer = identity()
    latents = torch.randn(4, 3, 10, generator=seeded())
    bits = layer.encode(latents)
    assert torch.equal(bits, latents > 0)
    assert torch.equal(layer.decode(bits), torch.where(bits, 1.0, -1.0))


def test_forward_reconstructs_and_trains(seeded):
    layer = model()
    data = torch.randn(2, 7, 5, generator=seeded())
    reconstruction, codes, loss = layer(data)
    assert reconstruction.shape == data.shape
    assert codes.shape == (2, 7)
    ((reconstruction - data).square().mean() + loss).backward()
    assert layer.encoder.weight.grad.any()
    assert torch.equal(layer.decode(layer.encode(data)), layer.eval()(data).reconstruction)


@pytest.mark.parametrize("elites", [1, 3])
def test_the_best_fitness_never_falls(elites, seeded):
    layer = identity(
        evolution=Evolution(population=20, mutation_rate=0.3, elites=elites), generator=seeded()
    )
    best = []
    for step in layer.search(total, shape=(2,), generations=25):
        best.append(step.fitness)
        assert total(layer.decode(step.bits[:1])).item() == step.fitness
        assert total(layer.decode(step.best[None])).item() == step.fitness
        assert step.bits.shape == (20, 2, 10)
    assert best == sorted(best)
    assert best[-1] > best[0]


def test_without_mutation_children_have_bits_of_their_parents(seeded):
    """All members alike in some bits keep them for ever."""
    evolution = Evolution(population=12, mutation_rate=0.0)
    bits = torch.rand(12, 8, generator=seeded()) < 0.5
    bits[:, 3], bits[:, 5] = True, False
    following = evolution.follow(bits, torch.arange(12.0), seeded(1))
    assert following[:, 3].all()
    assert not following[:, 5].any()
    assert torch.equal(following[0], bits[11])


def test_with_certain_mutation_children_of_twins_are_opposite(seeded):
    bits = (torch.rand(1, 8, generator=seeded()) < 0.5).expand(5, 8)
    following = Evolution(population=5, mutation_rate=1.0).follow(bits, torch.zeros(5), seeded(1))
    assert torch.equal(following[0], bits[0])
    assert torch.equal(following[1:], ~bits[1:])


def test_winners_of_large_tournaments_are_the_fittest(seeded):
    """With 200 contenders of 4 members the fittest is among them all but surely."""
    winners = Evolution(tournament=200)._winners(torch.tensor([0.0, 3.0, 1.0, 2.0]), 50, seeded())
    assert (winners == 1).all()


def test_mutations_have_their_rate(seeded):
    bits = torch.zeros(201, 500, dtype=torch.bool)
    following = Evolution(mutation_rate=0.1).follow(bits, torch.zeros(201), seeded())
    share = following[1:].double().mean().item()
    assert abs(share - 0.1) < 6 * (0.09 / 100000) ** 0.5


def test_a_search_goes_on_from_a_population_and_a_seed_decides_it(seeded):
    start = torch.rand(16, 1, 10, generator=seeded()) < 0.5
    found = [
        list(identity(generator=seeded(2)).search(total, bits=start, generations=4))
        for _ in range(2)
    ]
    for one, other in zip(*found, strict=True):
        assert torch.equal(one.bits, other.bits)
    assert len(found[0]) == 4


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"population": 1}, "population must exceed elites=1, got 1"),
        ({"elites": 0}, "elites must be at least 1, got 0"),
        ({"tournament": 0}, "tournament must be at least 1, got 0"),
        ({"mutation_rate": 1.5}, r"mutation_rate must lie in \[0, 1\], got 1.5"),
    ],
)
def test_wrong_options_are_named(options, text):
    with pytest.raises(OptionError, match=text):
        Evolution(**options)


def test_wrong_input_is_named():
    layer = identity()
    bits = torch.zeros(4, 1, 10, dtype=torch.bool)
    with pytest.raises(DTypeError, match="bits must be bool, got torch.float32"):
        layer.decode(bits.float())
    with pytest.raises(ShapeError, match=r"dim=10 entries in the last axis, got \(4, 1, 9\)"):
        layer.decode(bits[..., :9])
    with pytest.raises(OptionError, match="either bits or shape, got neither"):
        next(layer.search(total))
    with pytest.raises(OptionError, match="either bits or shape, got both"):
        next(layer.search(total, bits=bits, shape=(1,)))
    with pytest.raises(OptionError, match="more than elites=1 members, got shape"):
        next(layer.search(total, bits=bits[:1]))
    with pytest.raises(ShapeError, match=r"each of 4 members, got \(\)"):
        next(layer.search(torch.sum, bits=bits))
    with pytest.raises(NonFiniteError, match="got nan for member 0"):
        next(layer.search(lambda data: total(data) * torch.nan, bits=bits))


def test_what_is_no_tensor_or_no_number_of_generations_is_named():
    layer = identity()
    bits = torch.zeros(4, 1, 10, dtype=torch.bool)
    with pytest.raises(DTypeError, match=r"bits must be a torch.Tensor, got list"):
        layer.decode(bits.tolist())
    with pytest.raises(ShapeError, match=r"dim=10 entries in the last axis, got \(\)"):
        layer.decode(torch.tensor(True))
    with pytest.raises(DTypeError, match=r"bits must be a torch.Tensor, got list"):
        next(layer.search(total, bits=bits.tolist()))
    with pytest.raises(OptionError, match=r"more than elites=1 members, got shape \(\)"):
        next(layer.search(total, bits=torch.tensor(True)))
    with pytest.raises(DTypeError, match=r"fitness must be a torch.Tensor, got float"):
        next(layer.search(lambda data: float(data.sum()), bits=bits))
    with pytest.raises(OptionError, match="no fewer than 0 generations, got generations=-1"):
        next(layer.search(total, bits=bits, generations=-1))
