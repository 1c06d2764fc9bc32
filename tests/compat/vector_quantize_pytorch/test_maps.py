"""Types of number through projections."""

import pytest
import torch
from torch import nn

from certvq.compat import vector_quantize_pytorch as ours
from certvq.compat.vector_quantize_pytorch._tensors import mapped_back, through, wide_type

from ._classes import OPTIONS, batch, build

HALF, BRAIN, SINGLE = torch.float16, torch.bfloat16, torch.float32
KINDS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.rows("weights", KINDS)
@pytest.mark.rows("latents", KINDS)
def test_unlike_types_are_computed_in_the_wider(weights, latents):
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5)).to(weights)
    rows = torch.randn(4, 3).to(latents).requires_grad_()
    wide = torch.promote_types(weights, latents)
    found = through(layer, rows)
    assert found.dtype == wide
    if wide in {torch.float32, torch.float64}:
        assert torch.equal(found, layer.to(wide)(rows.to(wide)))
    found.float().sum().backward()
    assert rows.grad.dtype == latents
    assert all(p.grad is not None for p in layer.parameters())


def test_identities_and_autocast_are_left_alone():
    rows = torch.randn(4, 3)
    assert through(nn.Identity(), rows) is rows
    layer = nn.Linear(3, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert through(layer, rows).dtype == torch.bfloat16
        assert mapped_back(layer, rows, torch.float32).dtype == torch.bfloat16
        assert mapped_back(nn.Identity(), rows, torch.float64).dtype == torch.float64
    assert mapped_back(layer, rows, torch.float16).dtype == torch.float16


def test_losses_are_float32_or_wider():
    assert wide_type() == torch.float32
    for kind in KINDS:
        assert wide_type(torch.zeros(1, dtype=kind)) == torch.promote_types(kind, torch.float32)


@pytest.mark.filterwarnings("ignore:SimVQ")
@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "HierarchicalVQ"])
def test_indices_alone_give_what_forward_gave(name):
    """To the bit, up to the latents' type, in every narrow type and under autocast."""
    modes = [(HALF, HALF), (BRAIN, BRAIN), (SINGLE, BRAIN), (BRAIN, SINGLE), (SINGLE, SINGLE)]
    for options in OPTIONS[name]:
        for weights, latents in modes:
            torch.manual_seed(0)
            layer = build(ours, name, options).to(weights).eval()
            decode = [
                getattr(layer, each)
                for each in ("indices_to_codes", "get_output_from_indices")
                if hasattr(layer, each)
            ]
            x = batch(name, 3).to(latents)
            for auto in (False, weights != HALF):  # torch itself mixes no half with bfloat16
                with torch.no_grad(), torch.autocast("cpu", BRAIN, enabled=auto):
                    quantized, indices, *_ = layer(x)
                    for each in decode:
                        assert torch.equal(each(indices).to(quantized.dtype), quantized), options
