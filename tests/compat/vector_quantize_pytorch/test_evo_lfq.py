"""`EvoLFQ` beside the installed original: the same populations from the same random numbers."""

import pytest
import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch import LFQ, EvoLFQ
from certvq.errors import OptionError, ShapeError

original = pytest.importorskip("vector_quantize_pytorch")


def pair(**options):
    options = {"dim": 6, "codebook_size": 64, "pop_size": 12, **options}
    torch.manual_seed(0)
    dim = options["dim"]
    theirs = original.EvoLFQ(nn.Linear(5, dim), nn.Linear(dim, 5), **options)
    ours = EvoLFQ(nn.Linear(5, dim), nn.Linear(dim, 5), **options)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def total(decoded, bits):
    return decoded.flatten(1).sum(dim=1)


@pytest.mark.parametrize("shape", [(7, 5), (2, 7, 5)])
@pytest.mark.parametrize("options", [{}, {"dim": 12, "num_codebooks": 2}], ids=str)
def test_results_are_the_originals(shape, options, seeded):
    ours, theirs = pair(**options)
    data = torch.randn(shape, generator=seeded())
    found, expected = ours.eval()(data), theirs.eval()(data)
    assert torch.equal(found.indices, expected.indices)
    torch.testing.assert_close(found.reconstructed, expected.reconstructed, rtol=1e-6, atol=1e-6)
    for signs in (True, False):
        bits = ours.encode(data, return_signs=signs)
        assert torch.equal(bits, theirs.encode(data, return_signs=signs))
        decoded = ours.train().decode_bits(bits)
        torch.testing.assert_close(decoded, found.reconstructed, rtol=1e-6, atol=1e-6)
        assert ours.training


@pytest.mark.parametrize("is_sign", [True, False])
@pytest.mark.parametrize("options", [{}, {"elitism_count": 3, "tournament_size": 4}], ids=str)
def test_a_search_is_the_originals(is_sign, options):
    ours, theirs = pair(mutation_rate=0.1, **options)
    results = []
    for model in (ours, theirs):
        torch.manual_seed(1)
        results.append(
            list(
                model.evolve(
                    total, shape=(6,), generations=6, is_sign=is_sign, return_best_decoded=True
                )
            )
        )
    for found, expected in zip(*results, strict=True):
        assert torch.equal(found.pop_bits, expected.pop_bits)
        assert found.best_fitness == pytest.approx(expected.best_fitness, rel=1e-6)
        assert found.best_decoded.shape == expected.best_decoded.shape


def test_the_best_gene_has_the_best_fitness():
    """The original's belongs to the next population, at the place of the fittest of this one."""
    ours, theirs = pair()
    for model, right in ((ours, True), (theirs, False)):
        torch.manual_seed(2)
        *_, last = model.evolve(total, shape=(6,), generations=3)
        fit = total(model.decode_bits(last.best_gene[None]), None).item()
        assert (abs(fit - last.best_fitness) < 1e-5) == right


def test_populations_from_data_are_the_originals(seeded):
    ours, theirs = pair()
    data = torch.randn(5, 5, generator=seeded())
    found = []
    for model in (ours, theirs):
        torch.manual_seed(3)
        bits = model.init_population_from_data(data)
        found.append((bits, model.tournament_selection(bits, torch.arange(12.0))))
    assert all(map(torch.equal, *found))


def test_wrong_options_are_named():
    layers = nn.Linear(5, 6), nn.Linear(6, 5)
    with pytest.raises(OptionError, match="pop_size must exceed elitism_count=4, got 4"):
        EvoLFQ(*layers, dim=6, pop_size=4, elitism_count=4)
    with pytest.raises(OptionError, match="needs lfq, dim or codebook_size, got none"):
        EvoLFQ(*layers)
    with pytest.raises(OptionError, match="needs pop_bits or shape, got neither"):
        next(EvoLFQ(*layers, dim=6).evolve(total))
    with pytest.raises(ShapeError, match="6 entries in the last axis, got 5"):
        EvoLFQ(*layers, dim=6).decode_bits(torch.zeros(2, 5))


@pytest.mark.parametrize(
    "options",
    [
        {"dim": 3, "orthogonal_rotation": True},
        {"dim": 4, "codebook_size": 8, "num_codebooks": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("signs", [False, True])
def test_bits_are_those_of_the_codes_behind_a_map(options, signs):
    lfq = LFQ(**options)
    layer = EvoLFQ(nn.Identity(), nn.Identity(), lfq=lfq).eval()
    for data in (torch.randn(5, lfq.dim), torch.randn(5, 4, lfq.dim)):
        bits = layer.encode(data, return_signs=signs)
        assert bits.shape == (*data.shape[:-1], lfq.codebook_dim * lfq.num_codebooks)
        torch.testing.assert_close(layer.decode_bits(bits), layer(data).reconstructed)


def test_bits_of_images_stay_where_their_features_are():
    layer, data = EvoLFQ(nn.Identity(), nn.Identity(), dim=3).eval(), torch.randn(5, 3, 2, 4)
    assert torch.equal(layer.encode(data) > 0, layer(data).reconstructed > 0)
