"""Held-out photographs over the real numbers."""

import numpy as np
import pytest
import torch

import certvq
from certvq.data import Photograph
from certvq.errors import BackendUnavailableError
from certvq.jobs import _canonical
from certvq.jobs._canonical import canonical_run
from certvq.models import VQVAE, VQVAEConfig


@pytest.fixture
def model():
    config = VQVAEConfig(hidden=8, residual_blocks=1, residual_hidden=4, dim=4, codebook_size=64)
    model = VQVAE(config, generator=torch.Generator().manual_seed(0)).train()
    model(torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
    return model.eval()


@pytest.fixture
def photographs(rng):
    sizes = {"a": (32, 40), "b": (29, 32)}
    return [
        Photograph(key, rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        for key, size in sizes.items()
    ]


def test_codes_of_rounded_runs_are_compared_with_the_canonical_ones(model, photographs):
    found = canonical_run(model, photographs)
    others, margins = 0, []
    for photograph in photographs:
        pixels = torch.tensor(photograph.pixels).permute(2, 0, 1)[None]
        canonical = certvq.canonical_codes(model, pixels)
        margins.append(canonical.margin[0].numpy())
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            rough = model.latents(pixels.float() / 255)[0].reshape(-1, 4)
        codes = certvq.assign(rough, model.quantizer.codebook.detach()).codes
        others += int((codes != canonical.codes.flatten()).sum())
        assert np.array_equal(found.margins[photograph.key], margins[-1])
    figures, tokens = found.figures, 8 * 10 + 8 * 8
    assert figures.decided_by == {"float64": tokens, "wider": 0, "exact": 0, "open": 0}
    assert figures.least_margin == min(each.min() for each in margins) > 0
    assert figures.runs["bfloat16"].other_codes == others > 0
    assert {name: run.other_codes for name, run in figures.runs.items() if name != "bfloat16"} == {
        "float32": 0,
        "float32, first of a batch of 4": 0,
        "float64": 0,
    }
    moved = [figures.runs[name].moved for name in ("float64", "float32", "bfloat16")]
    assert moved[0] == 0 < moved[1] < 1e-5 < moved[2]


def test_without_python_flint_there_are_none(model, photographs, monkeypatch):
    def missing(_):
        raise BackendUnavailableError

    monkeypatch.setattr(_canonical, "CanonicalEncoder", missing)
    assert canonical_run(model, photographs) is None
