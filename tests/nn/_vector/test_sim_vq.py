"""SimVQ: exact codes among the mapped vectors, gradients of the map, named errors."""

from fractions import Fraction

import pytest
import torch

from certvq import spec
from certvq.errors import NonFiniteError, OptionError, ShapeError
from certvq.nn import Estimator, SimVQ, straight_through
from certvq.nn._torch.generators import without_generators


def exact_codes(tokens, codebook):
    """Lowest nearest codes by exact rational arithmetic."""
    book = spec.Codebook(tuple(tuple(map(Fraction, row)) for row in codebook.double().tolist()))
    return [
        min(spec.nearest_codes(book, tuple(map(Fraction, z)))) for z in tokens.double().tolist()
    ]


def doubling(rows, **options):
    """Return a float64 layer whose map doubles the rows."""
    layer = SimVQ(len(rows[0]), len(rows), **options).double()
    with torch.no_grad():
        layer.frozen.copy_(torch.tensor(rows))
        layer.transform.weight.copy_(2.0 * torch.eye(len(rows[0])))
    return layer


@pytest.mark.parametrize("mean", [0.0, 30.0])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
def test_codes_are_the_nearest_of_the_mapped_vectors(kind, mean, seeded):
    transform = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 5))
    layer = SimVQ(5, 40, code_dim=3, transform=transform, generator=seeded()).to(kind)
    latents = (mean + torch.randn(2, 30, 5, generator=seeded(1))).to(kind)
    for mode in (True, False):
        result = layer.train(mode)(latents)
        expected = exact_codes(latents.reshape(-1, 5), layer.codebook.detach())
        assert result.codes.flatten().tolist() == expected


def test_a_tie_goes_to_the_lowest_code():
    """0 lies between 2 * (1, 0) and 2 * (-1, 0), which two codes share."""
    layer = doubling([[4.0, 4.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]).eval()
    assert layer.encode(torch.zeros(1, 1, 2).double()).tolist() == [[1]]


def test_loss_and_gradients_by_hand():
    """z = (1, 0), C = 2 (1, 0.5): (z - C) = (-1, -1), means over two entries, all dyadic."""
    layer = doubling([[1.0, 0.5], [9.0, 9.0]], commitment_weight=0.5)
    z = torch.tensor([[[1.0, 0.0]]], dtype=torch.float64, requires_grad=True)
    quantized, codes, loss = layer(z)
    assert codes.tolist() == [[0]]
    assert quantized.tolist() == [[[2.0, 1.0]]]
    assert loss.item() == 1.0 + 0.5 * 1.0
    (loss + (quantized * torch.tensor([3.0, 5.0])).sum()).backward()
    assert z.grad.tolist() == [[[3.0 + 0.5 * -1.0, 5.0 + 0.5 * -1.0]]]
    # mse' = C - z = (1, 1) for the chosen row only, times the frozen row (1, 0.5)
    assert layer.transform.weight.grad.tolist() == [[1.0, 0.5], [1.0, 0.5]]
    assert layer.metrics()["codebook_loss"] == layer.metrics()["commitment_loss"] == 1.0


def test_only_the_map_learns(seeded):
    layer = SimVQ(4, 16, generator=seeded())
    assert [name for name, _ in layer.named_parameters()] == ["transform.weight"]
    assert without_generators(layer.state_dict()).keys() == {"frozen", "transform.weight"}
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    frozen, before = layer.frozen.clone(), layer.codebook.detach()
    layer(torch.randn(2, 20, 4, generator=seeded(1))).loss.backward()
    optimizer.step()
    assert torch.equal(layer.frozen, frozen)
    moved = (layer.codebook.detach() - before).abs().amax(dim=1)
    assert (moved > 0).all(), "one linear map moves every code vector"


def test_training_uses_more_of_the_codebook_than_a_codebook_of_its_own(seeded):
    """The reason for the map: latents far from most codes still leave no code behind."""
    layer = SimVQ(8, 64, generator=seeded())
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2)
    latents = 3.0 + torch.randn(1, 512, 8, generator=seeded(1))
    first = layer(latents).loss.item()
    for _ in range(150):
        optimizer.zero_grad()
        result = layer(latents)
        result.loss.backward()
        optimizer.step()
    assert result.loss.item() < 0.5 * first


class _Backwards(Estimator):
    """Chooses the last code, and scales the gradient by 10."""

    def choose(self, latents, codebook, generator):
        del generator
        return torch.full((len(latents),), len(codebook) - 1)

    def estimate(self, latents, codebook, codes, generator):
        del generator
        return straight_through(10.0 * latents, codebook, codes)


def test_the_estimator_is_asked_in_train_mode_only(seeded):
    layer = SimVQ(4, 6, estimator=_Backwards(), generator=seeded())
    for mode, factor in ((True, 10.0), (False, 1.0)):
        z = torch.randn(1, 3, 4, generator=seeded(1), requires_grad=True)
        quantized, codes, _ = layer.train(mode)(z)
        quantized.sum().backward()
        assert (z.grad == factor).all()
        assert (codes == 5).all() == mode


def test_frozen_numbers_have_the_documented_spread(seeded):
    layer = SimVQ(4, 4000, code_dim=16, generator=seeded())
    assert layer.frozen.shape == (4000, 16)
    # the standard error of a variance of 64000 numbers is 0.0056 of it; six of them
    assert abs(layer.frozen.var().item() * 16 - 1.0) < 0.034
    assert layer.transform.weight.abs().max() <= 0.25


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"codebook_size": 0}, "codebook_size must be at least 1, got 0"),
        ({"code_dim": 0}, "code_dim must be at least 1, got 0"),
        ({"commitment_weight": -1.0}, "commitment_weight must be .* got -1.0"),
        ({"commitment_weight": float("nan")}, "commitment_weight must be .* got nan"),
        ({"transform": torch.nn.Dropout()}, "Dropout at 'its root'"),
        (
            {"transform": torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))},
            "same code vectors .* got BatchNorm1d at '1'",
        ),
    ],
)
def test_wrong_options_are_named(options, text):
    with pytest.raises(OptionError, match=text):
        SimVQ(**{"dim": 4, "codebook_size": 6, **options})


def test_a_map_of_another_shape_is_named():
    layer = SimVQ(4, 6, transform=torch.nn.Linear(4, 3))
    with pytest.raises(ShapeError, match=r"\(6, 4\) to \(6, 4\), got \(6, 3\).*of 4 features"):
        layer(torch.zeros(1, 1, 4))


@pytest.mark.parametrize("training", [True, False])
def test_a_map_that_broke_is_named(training):
    layer = SimVQ(4, 6).train(training)
    with torch.no_grad():
        layer.transform.weight[1, 2] = torch.nan
    with pytest.raises(NonFiniteError, match="codebook must be finite, got nan at row 0, column 1"):
        layer(torch.zeros(1, 1, 4))


def test_functional_call(seeded):
    layer = SimVQ(3, 5, generator=seeded()).eval()
    weight = torch.eye(3)
    latents = torch.randn(1, 7, 3, generator=seeded(1))
    called = torch.func.functional_call(layer, {"transform.weight": weight}, (latents,))
    assert called.codes[0].tolist() == exact_codes(latents[0], layer.frozen)
