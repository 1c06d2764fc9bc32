"""A whole model is reported: which tokens could flip, which did, and that no other one did."""

import numpy as np
import pytest
import torch
from torch import nn

import certvq
from certvq.compat import vector_quantize_pytorch as compat
from certvq.errors import (
    CertificateError,
    NonFiniteError,
    OptionError,
    ShapeError,
    UnknownQuantizerError,
)
from certvq.inspect._scalar.grid import Grid
from certvq.inspect._stability import compare as _compare
from certvq.models import VQVAE, VQVAEConfig
from certvq.nn import FSQ, LFQ, Gradient, LatentQuantize, ResidualVQ, SimVQ, VectorQuantize


@pytest.fixture
def images():
    return torch.rand(6, 3, 24, 24)


@pytest.fixture
def vqvae(images):
    """Give a model whose codebook has started from its own latents."""
    model = VQVAE(VQVAEConfig.small()).train()
    model(images)
    return model.eval()


def flips_by_hand(model, images, other_codes):
    """Return the numbers of the tokens whose codes differ."""
    return np.nonzero((model.encode(images) != other_codes).flatten().numpy())[0].tolist()


def test_bfloat16_of_a_vqvae(vqvae, images):
    report = certvq.stability_report(vqvae, images, perturbation="bfloat16")
    (found,) = report.layers
    assert (found.name, found.kind) == ("quantizer", "VectorQuantize")
    assert (found.tokens, found.codebook_size, found.dim) == (
        216,
        vqvae.config.codebook_size,
        vqvae.config.dim,
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        codes, latents = vqvae.encode(images), vqvae.latents(images)
    assert found.flipped.tolist() == flips_by_hand(vqvae, images, codes)
    assert 0 < len(found.flipped) < len(found.could_flip) < found.tokens
    moved = (vqvae.latents(images).double() - latents.double()).norm(dim=-1).flatten().detach()
    assert found.noise.greatest == pytest.approx(float(moved.max()), rel=1e-12)
    rows = vqvae.latents(images).detach().reshape(-1, vqvae.config.dim)
    radius = certvq.stability_radius(rows, vqvae.quantizer.codebook, vqvae.encode(images).flatten())
    unsure = np.nonzero((moved >= radius).numpy())[0]
    assert found.could_flip.tolist() == unsure.tolist()
    assert found.inexact == 0
    assert report.perturbation == "the model under bfloat16 autocast"


@pytest.mark.parametrize("way", ["precision", "batch"])
def test_small_noise_flips_little(vqvae, images, way):
    (found,) = certvq.stability_report(vqvae, images, perturbation=way).layers
    assert found.noise.greatest < 1e-5
    assert set(found.flipped) <= set(found.could_flip)
    if way == "precision":
        assert found.noise.median > 0.0
        codes = VQVAE.encode(_double(vqvae), images.double())
        assert found.flipped.tolist() == flips_by_hand(vqvae, images, codes)


def _double(vqvae):
    wide = VQVAE(vqvae.config)
    wide.load_state_dict(vqvae.state_dict())
    return wide.double().eval()


def test_by_hand(shifted, line):
    """Latents a tenth from a border move by a quarter; those beyond do not cross it."""
    z = torch.tensor([0.1, 0.4, 1.4, 2.0, 2.75])[None, :, None]
    report = certvq.stability_report(shifted(0.0), z, perturbation=shifted(0.25))
    (found,) = report.layers
    assert found.could_flip.tolist() == [1, 2, 4]
    assert found.flipped.tolist() == [1, 2]
    assert (report.tokens, report.unstable, report.flips) == (5, 3, 2)
    assert found.share_could_flip == 0.6
    assert found.noise.greatest == pytest.approx(0.25)
    assert found.radius.least == pytest.approx(0.1)
    (given,) = certvq.stability_report(line, z, perturbation=0.3).layers
    assert given.could_flip.tolist() == [1, 2, 4]
    assert given.noise is None


def test_batches_add_up(vqvae, images):
    whole = certvq.stability_report(vqvae, images, perturbation=0.01)
    parts = certvq.stability_report(vqvae, iter([{"images": images}]), perturbation=0.01)
    assert parts.to_dict() == whole.to_dict()
    pieces = certvq.stability_report(
        vqvae, images.split(4), perturbation=0.0, call=lambda model, batch: model.encode(batch)
    )
    assert pieces.tokens == whole.tokens


def test_pieces_are_told_apart(vqvae, images):
    """A function that runs the model in pieces, twice the number of batches."""

    def halves(model, batch):
        for part in batch.split(2):
            model.encode(part)

    report = certvq.stability_report(vqvae, images.split(4), perturbation=halves)
    (found,) = report.layers
    assert found.tokens == 216
    assert found.noise.greatest < 1e-5


def test_later_levels_after_a_flip():
    """What is left over after another code is another vector altogether."""
    model = nn.Sequential(nn.Linear(8, 8), ResidualVQ(8, 32, num_quantizers=3)).train()
    z = torch.randn(1, 2000, 8)
    model(z)
    report = certvq.stability_report(model, z, perturbation="bfloat16")
    model.eval()
    before = model[1].encode(model[0](z))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        after = model[1].encode(model[0](z))
    other = (before != after)[0].numpy()
    for level, found in enumerate(report.layers):
        earlier = other[:, :level].any(axis=1)
        assert found.name == f"1.parts.{level}"
        assert found.after_flip.tolist() == np.nonzero(earlier)[0].tolist()
        assert found.flipped.tolist() == np.nonzero(other[:, level] & ~earlier)[0].tolist()
        assert found.flipped_after == (other[:, level] & earlier).sum()
        assert set(found.flipped) <= set(found.could_flip)
        assert found.noise.greatest < 0.1
    assert len(report.layers[2].after_flip) > len(report.layers[1].after_flip) > 0


def test_a_model_of_another_library():
    """Its own argmin flips tokens that cannot flip; certified codes do not."""
    vq = pytest.importorskip("vector_quantize_pytorch")
    model = nn.Sequential(nn.Linear(8, 8), vq.ResidualVQ(dim=8, codebook_size=32, num_quantizers=2))
    for layer in model[1].layers:
        layer.codebook = torch.randn(32, 8)
    z = torch.randn(1, 2000, 8)
    own = certvq.stability_report(model, z, perturbation="bfloat16")
    assert [each.name for each in own.layers] == [f"1.layers.{i}._codebook" for i in range(2)]
    assert sum(each.inexact for each in own.layers) > 0
    assert any(len(each.flipped_inexactly) for each in own.layers)
    certvq.patch_module(model)
    patched = certvq.stability_report(model, z, perturbation="bfloat16")
    assert sum(each.inexact for each in patched.layers) == 0
    assert not any(len(each.flipped_inexactly) for each in patched.layers)
    assert patched.flips > 0
    assert certvq.stability_report(model, z).flips <= patched.flips


SCALAR = {
    "certvq": lambda: FSQ((8, 5, 5)),
    "compat": lambda: compat.FSQ([8, 5, 5]),
    "theirs": lambda: pytest.importorskip("vector_quantize_pytorch").FSQ([8, 5, 5]),
    "signs": lambda: LFQ(3),
    "their signs": lambda: pytest.importorskip("vector_quantize_pytorch").LFQ(
        codebook_size=8, dim=3, soft_clamp_input_value=5.0
    ),
}


@pytest.mark.parametrize("kind", SCALAR)
def test_scalar_quantizers(kind):
    """The proof is checked by each report; codes and flips are those of the layer itself."""
    encoder, layer = nn.Linear(6, 3), SCALAR[kind]().eval()
    model, z = nn.Sequential(encoder, layer), torch.randn(2, 400, 6)
    report = certvq.stability_report(model, z, perturbation="bfloat16")
    (found,) = report.layers
    codes = layer(encoder(z))[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        other = layer(encoder(z))[1]
    assert (found.tokens, found.dim, found.codebook_size) == (800, 3, int(np.prod(SIZES[kind])))
    assert found.flipped.tolist() == (codes != other).flatten().nonzero()[:, 0].tolist()
    assert 0 < len(found.flipped) <= len(found.could_flip) < 100
    assert set(found.flipped) <= set(found.could_flip)
    assert (found.inexact, report.unreported) == (0, ())
    assert certvq.stability_report(model, z, perturbation=100.0).unstable == 800


SIZES = {kind: (2, 2, 2) if "signs" in kind else (8, 5, 5) for kind in SCALAR}


def test_a_sign_by_hand():
    """Moved along one axis by a quarter; the nearest threshold is that of any feature."""
    z = torch.tensor([[[0.5, -0.125], [0.125, 3.0], [-0.25, 1.0], [0.0, 1.0], [-0.5, 0.5]]])
    moved = z + torch.tensor([0.25, 0.0])
    (found,) = certvq.stability_report(LFQ(2), z, perturbation=lambda m, _: m(moved)).layers
    assert found.could_flip.tolist() == [0, 1, 2, 3]
    assert found.flipped.tolist() == [3]
    assert found.radius.least == 0.0
    assert 0.5 - 1e-15 < found.radius.greatest <= 0.5
    (given,) = certvq.stability_report(LFQ(2), z, perturbation=0.2).layers
    assert given.could_flip.tolist() == [0, 1, 3]


def test_their_index_out_of_range_is_inexact_until_it_is_patched():
    vq = pytest.importorskip("vector_quantize_pytorch")
    layer, z = vq.FSQ([1500, 3]), torch.full((1, 4, 2), 30.0)
    (own,) = certvq.stability_report(layer, z, perturbation=0.1).layers
    certvq.patch_module(layer)
    (patched,) = certvq.stability_report(layer, z, perturbation=0.1).layers
    assert (own.inexact, patched.inexact) == (4, 0)
    assert certvq.unpatch_module(layer) == [""]


def test_latent_quantize_has_a_codebook_for_each_feature():
    layer = LatentQuantize((3, 2)).eval()
    z = torch.tensor([[[0.1, 0.1], [0.26, 0.3]]])
    report = certvq.stability_report(layer, z, perturbation=0.05)
    assert [(each.name, each.codebook_size) for each in report.layers] == [("[0]", 3), ("[1]", 2)]
    assert [each.could_flip.tolist() for each in report.layers] == [[1], []]


def test_other_thresholds_are_refused():
    z = torch.zeros(1, 3, 2)
    with pytest.raises(OptionError, match="layer '': both runs must compare with the same thresho"):
        certvq.stability_report(FSQ((5, 5)), z, perturbation=FSQ((5, 7)))


def test_the_model_is_left_as_it_was(vqvae, images):
    vqvae.train()
    before = {name: each.clone() for name, each in vqvae.state_dict().items()}
    names = [set(each.__dict__) for each in vqvae.modules()]
    for way in ("precision", "bfloat16", "batch", 0.1, lambda model, batch: model(batch)):
        certvq.stability_report(vqvae, images, perturbation=way)
    assert vqvae.training
    assert [set(each.__dict__) for each in vqvae.modules()] == names
    assert all(torch.equal(before[name], each) for name, each in vqvae.state_dict().items())
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("fault", ["radius", "noise", "reversed"])
def test_faults_of_the_proof_are_found(shifted, monkeypatch, fault):
    z = torch.linspace(0, 3, 50)[None, :, None]
    right = {each: getattr(_compare, each) for each in ("stability_radius", "distance_upper")}
    if fault == "radius":
        changed = "stability_radius", lambda *given: 2.0 * right["stability_radius"](*given)
    elif fault == "noise":
        changed = "distance_upper", lambda *given: 0.5 * right["distance_upper"](*given)
    else:
        changed = "could_flip", lambda noise, radius: noise < radius
    monkeypatch.setattr(_compare, *changed)
    with pytest.raises(CertificateError, match="layer 'quantizer'.*this is an error of certvq"):
        certvq.stability_report(shifted(0.0), z, perturbation=shifted(0.125))


def test_a_fault_of_the_distance_to_a_threshold_is_found(monkeypatch):
    right, z = Grid.distances, torch.linspace(-1, 1, 50)[None, :, None]
    monkeypatch.setattr(Grid, "distances", lambda *given: 2.0 * right(*given))
    with pytest.raises(CertificateError, match="layer ''.*this is an error of certvq"):
        certvq.stability_report(LFQ(1), z, perturbation=lambda m, batch: m(batch + 0.125))


def test_codebooks_that_are_computed_may_differ_in_another_precision():
    model = nn.Sequential(SimVQ(3, 8))
    z = torch.randn(1, 9, 3)
    with pytest.raises(OptionError, match="layer '0': both runs must search the same code vectors"):
        certvq.stability_report(model, z)
    assert certvq.stability_report(model, z, perturbation="batch").tokens == 9
    assert certvq.stability_report(model, z, perturbation="bfloat16").tokens == 9


def test_other_codebooks_are_refused(shifted):
    z = torch.zeros(1, 3, 1)
    other = VectorQuantize(1, 4, update=Gradient())
    other.codebook.data = torch.arange(4.0)[:, None] + 1e-3
    model, moved = shifted(0.0), shifted(0.0)
    moved.quantizer = other
    with pytest.raises(OptionError, match="4 other ones, the first is row 0, by up to 0.001"):
        certvq.stability_report(model, z, perturbation=moved)


def test_other_latents_are_refused(line):
    z = torch.zeros(1, 3, 1)
    text = r"layer '': the second run must hand .* of shape \(3, 1\) in all, got \(2, 1\)"
    with pytest.raises(ShapeError, match=text):
        certvq.stability_report(line, z, perturbation=lambda model, batch: model(batch[:, :2]))
    with pytest.raises(ShapeError, match="got 0 calls for 1"):
        certvq.stability_report(line, z, perturbation=lambda model, batch: None)


def test_nan_is_named(shifted):
    z = torch.tensor([0.0, float("nan")])[None, :, None]
    text = "layer 'quantizer': latents must be finite, got nan at row 1"
    with pytest.raises(NonFiniteError, match=text):
        certvq.stability_report(shifted(0.0), z, perturbation="batch")


def test_data_that_reach_nothing_are_refused(line):
    text = "the data must reach a quantizer, but none of '' was called with any; give more data"
    for data in ([], torch.zeros(1, 0, 1)):
        with pytest.raises(UnknownQuantizerError, match=text):
            certvq.stability_report(line, data, perturbation=0.1)


def test_layers_that_are_not_reached_are_named(line):
    model = nn.ModuleDict({"a": line, "b": VectorQuantize(1, 4), "c": FSQ((3,))})
    report = certvq.stability_report(
        model, torch.zeros(1, 3, 1), perturbation=0.1, call=lambda m, batch: m["a"](batch)
    )
    assert [each.name for each in report.layers] == ["a"]
    assert report.unreported == ("b", "c")
