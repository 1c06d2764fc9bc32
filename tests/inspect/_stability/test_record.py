"""A run is recorded whole, and leaves no trace."""

import numpy as np
import pytest
import torch
from torch import nn

from certvq.errors import UnknownQuantizerError
from certvq.inspect._stability.record import Place, recording, unreported
from certvq.nn import FSP, Beam, RandomProjectionQuantizer, ResidualVQ, VectorQuantize


class VectorQuantizer(nn.Module):
    """As people write it, with an argmin of its own."""

    def __init__(self, size, dim):
        super().__init__()
        self.embedding = nn.Embedding(size, dim)

    def forward(self, z):
        return torch.cdist(z, self.embedding.weight).argmin(dim=1)


def test_own_and_other_layers_in_the_order_of_the_run():
    model = nn.ModuleDict({"a": VectorQuantize(2, 3), "b": VectorQuantizer(4, 2)}).train()
    z, w = torch.randn(1, 5, 2), torch.randn(3, 2).bfloat16().float()
    with recording(model) as recorder:
        assert not model.training
        run = recorder.record(lambda: (model["b"](w), model["a"](z), model["b"](w[:2])))
        again = recorder.record(lambda: model["a"](z[:, :1]))
    assert recorder.kinds == {"a": "VectorQuantize", "b": "VectorQuantizer"}
    assert list(run) == [Place("b", 0, (0, 0)), Place("a", 0, (0, 0)), Place("b", 1, (0, 0))]
    first, own, second = run.values()
    assert (first.latents == w.double().numpy()).all()
    assert (first.codes == model["b"](w).numpy()).all()
    assert (own.latents == z[0].double().numpy()).all()
    assert (own.codebook == model["a"].codebook.double().numpy()).all()
    assert second.latents.shape == (2, 2)
    assert second.codebook is first.codebook
    assert again[Place("a", 0, (0, 0))].latents.shape == (1, 2)
    assert all(each.latents.dtype == np.float64 for each in run.values())


def test_what_was_recorded_does_not_change_with_the_model():
    layer, z = VectorQuantize(2, 3).eval(), torch.randn(1, 5, 2)
    with recording(layer) as recorder:
        (search,) = recorder.record(lambda: layer(z)).values()
        before = search.latents.copy(), search.codebook.copy()
        z.zero_()
        layer.codebook.zero_()
        (other,) = recorder.record(lambda: layer(z)).values()
    assert (search.latents == before[0]).all()
    assert (search.codebook == before[1]).all()
    assert not other.codebook.any()


def test_it_leaves_no_trace():
    model = nn.ModuleDict({"a": VectorQuantize(2, 3), "b": VectorQuantizer(4, 2)}).train()
    model["a"].eval()
    before = [(dict(each.__dict__), each.training) for each in model.modules()]

    def attempt():
        with recording(model) as recorder:
            recorder.record(lambda: model["a"](torch.ones(1, 1, 2)))
            raise KeyError

    with pytest.raises(KeyError):
        attempt()
    assert [(dict(each.__dict__), each.training) for each in model.modules()] == before


def test_figures_of_the_layers_around_are_put_back_too():
    layer = ResidualVQ(2, 8, num_quantizers=2).eval()
    layer(torch.randn(1, 30, 2))
    before = layer.metrics()
    with recording(layer) as recorder:
        recorder.record(lambda: layer(torch.zeros(1, 3, 2)))
        assert layer.metrics() != before
    assert layer.metrics() == before


def test_a_model_without_quantizers_is_refused():
    text = "no vector quantizer found in Linear; known: Codebook"
    with pytest.raises(UnknownQuantizerError, match=text), recording(nn.Linear(1, 1)):
        pass


def test_quantizers_without_a_nearest_code_are_refused():
    model = nn.ModuleDict({"a": FSP((4, 4)), "b": ResidualVQ(2, 8, num_quantizers=2, beam=Beam(4))})
    text = (
        r"as VectorQuantize and FSQ have it, but 'a', 'b' find codes otherwise \(FSP, BinaryMapper"
    )
    with pytest.raises(UnknownQuantizerError, match=text), recording(model):
        pass


def test_what_is_not_reported_is_named():
    class GumbelQuantizer(nn.Module):
        pass

    model = nn.ModuleDict(
        {"a": FSP((4, 4)), "b": VectorQuantize(2, 3), "c": GumbelQuantizer(), "d": nn.Identity()}
    )
    assert unreported(model) == ("a", "c")


def test_codebooks_side_by_side_are_parts_of_one_call():
    layer = RandomProjectionQuantizer(4, 8, 2, codebooks=2)
    with recording(layer) as recorder:
        run = recorder.record(lambda: [layer(torch.randn(1, 3, 4)) for _ in range(2)])
    assert list(run) == [Place("", call, (part, 0)) for call in range(2) for part in range(2)]
