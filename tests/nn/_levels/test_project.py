"""Maps around a quantizer: what they compute, how they learn, what they refuse."""

import pytest
import torch

from certvq.errors import NonFiniteError, OptionError
from certvq.nn import FSP, FSQ, LFQ, LatentQuantize, Project, ResidualFSQ, VectorQuantize


def layer_of(seeded, **options):
    torch.manual_seed(0)
    return Project(VectorQuantize(3, 8, generator=seeded()), 5, **options)


@pytest.mark.parametrize("norm", [False, True])
def test_it_is_the_composition(norm, seeded):
    layer = layer_of(seeded, norm=norm).eval()
    x = torch.randn(2, 7, 5, generator=seeded(1))
    inside = layer.project_in(x)
    inside = layer.norm(inside) if norm else inside
    codes = layer.quantizer.encode(inside)
    assert torch.equal(layer.encode(x), codes)
    torch.testing.assert_close(
        layer(x).quantized, layer.project_out(layer.quantizer.codebook[codes])
    )


def test_both_maps_learn(seeded):
    layer = layer_of(seeded, norm=True)
    x = torch.randn(2, 30, 5, generator=seeded(1))
    (layer(x).quantized - x).square().mean().backward()
    assert all(parameter.grad.any() for parameter in layer.parameters())


def test_autocast_does_not_narrow_the_maps(seeded, same_bits):
    layer = layer_of(seeded).eval()
    x = torch.randn(2, 7, 5, generator=seeded(1))
    expected = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x)
    assert same_bits(found.quantized, expected.quantized)
    assert torch.equal(found.codes, expected.codes)


def test_a_bad_number_is_named_before_the_map(seeded):
    layer = layer_of(seeded)
    x = torch.zeros(1, 4, 5)
    x[0, 2, 4] = torch.inf
    for method in (layer, layer.encode, layer.eval(), layer.encode):
        with pytest.raises(NonFiniteError, match="inf at row 2, column 4"):
            method(x)


def test_without_bias_and_wrong_size(seeded):
    assert layer_of(seeded, bias=False).project_in.bias is None
    with pytest.raises(OptionError, match="dim must be at least 1, got 0"):
        Project(VectorQuantize(3, 8), 0)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "part",
    [FSQ((5, 5)), FSP((5, 5)), LFQ(2), LatentQuantize((5, 4)), ResidualFSQ((5, 4), 2)],
    ids=lambda part: type(part).__name__,
)
def test_codes_alone_give_the_same_bits_in_narrow_types(part, kind, seeded, same_bits):
    """However the part lays its vectors out: narrow products depend on that."""
    torch.manual_seed(0)
    layer = Project(part, 6).to(kind).eval()
    for latents in (kind, torch.float32):
        x = torch.randn(2, 40, 6, generator=seeded(1)).to(latents)
        for auto in (False, kind == torch.bfloat16):
            with torch.autocast("cpu", torch.bfloat16, enabled=auto):
                found = layer(x)
                assert same_bits(layer.decode(found.codes), found.quantized)
