"""The codes of two runs against the canonical ones."""

from types import SimpleNamespace

import pytest
import torch

import certvq
from certvq.errors import OptionError, ShapeError
from certvq.models import VQVAE, VQVAEConfig
from certvq.network import CanonicalEncoder


@pytest.fixture
def model():
    """Return a model whose codebook started from latents."""
    config = VQVAEConfig(hidden=8, residual_blocks=1, residual_hidden=4, dim=4, codebook_size=64)
    model = VQVAE(config, generator=torch.Generator().manual_seed(0)).train()
    model(torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
    return model.eval()


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(2)
    return [torch.rand(2, 3, 32, 32, generator=generator) for _ in range(2)]


def places(codes, others):
    """Number the tokens through all batches that have another code."""
    flat = [torch.cat([each.flatten() for each in every]) for every in (codes, others)]
    return (flat[0] != flat[1]).nonzero().flatten().tolist()


def test_the_report_names_tokens_of_either_run_without_their_canonical_code(model, batches):
    report = certvq.stability_report(
        model, batches, perturbation="bfloat16", canonical=CanonicalEncoder(model)
    )
    canonical = [certvq.canonical_codes(model, batch).codes for batch in batches]
    with torch.autocast("cpu", torch.bfloat16):
        rough = [model.encode(batch) for batch in batches]
    plain = [model.encode(batch) for batch in batches]
    (layer,) = report.layers
    assert layer.canonical.first.tolist() == places(plain, canonical)
    assert layer.canonical.second.tolist() == places(rough, canonical)
    assert len(layer.canonical.second) > 0 == len(layer.canonical.open)
    assert set(layer.flipped) <= {*layer.canonical.first, *layer.canonical.second}
    assert report.to_dict()["layers"][0]["canonical"]["second"] == places(rough, canonical)
    counts = f"{len(layer.canonical.first)} tokens of the first run, {len(layer.canonical.second)}"
    assert f"not the canonical code: {counts} of the second; open: 0" in str(report)


def test_open_tokens_count_in_neither_run(model, batches):
    def unsure(batch):
        codes = model.encode(batch)
        codes[0, 0, :2] = torch.tensor([-1, (codes[0, 0, 1] + 1) % 64])
        return SimpleNamespace(codes=codes)

    report = certvq.stability_report(model, batches, perturbation=0.0, canonical=unsure)
    found = report.layers[0].canonical
    assert (found.open.tolist(), found.first.tolist()) == ([0, 128], [1, 129])
    assert len(found.second) == 0
    assert "not the canonical code: 2 tokens of the first run; open: 2" in str(report)


def test_without_canonical_codes_nothing_is_said(model, batches):
    report = certvq.stability_report(model, batches, perturbation=0.0)
    assert report.layers[0].canonical is None
    assert "canonical" not in str(report)


def test_levels_take_their_columns_in_the_order_of_the_search():
    levels = certvq.nn.ResidualVQ(4, 8, num_quantizers=2, layout="n d").eval()
    tokens = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    codes = levels(tokens).codes
    codes[3, 1] = (codes[3, 1] + 1) % 8
    codes[2, 0] = -1

    def canonical(_):
        return SimpleNamespace(codes=codes)

    report = certvq.stability_report(levels, tokens, perturbation=0.0, canonical=canonical)
    found = [layer.canonical for layer in report.layers]
    assert [each.first.tolist() for each in found] == [[], [3]]
    assert [each.open.tolist() for each in found] == [[2], []]


def test_what_does_not_belong_to_the_model_is_refused(model, batches):
    other = SimpleNamespace(codes=torch.zeros(2, 7, dtype=torch.int64))
    text = r"must be those of the tokens that the model's layers search, \[128\] in this batch, got"
    with pytest.raises(ShapeError, match=f"{text} 14 of shape"):
        certvq.stability_report(model, batches, perturbation=0.0, canonical=lambda _: other)
    with pytest.raises(OptionError, match="canonical must be a function of a batch .* got True"):
        certvq.stability_report(model, batches, canonical=True)
