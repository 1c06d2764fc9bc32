"""Every search of certvq's own layers is seen, with the very numbers that were handed over."""

from contextlib import ExitStack
from functools import partial

import pytest
import torch
from torch import nn

import certvq
from certvq.compat import vector_quantize_pytorch as compat
from certvq.errors import NonFiniteError
from certvq.nn import (
    FSQ,
    LFQ,
    Beam,
    Gradient,
    GroupedResidualVQ,
    HierarchicalVQ,
    Neural,
    NeuralCodebook,
    ProductQuantize,
    RandomProjectionQuantizer,
    ResidualVQ,
    SimVQ,
    VectorQuantize,
)
from certvq.stability._own import other_layers, own_layers, watched


def searches(model, run):
    """Return the name, place and numbers of each search of a run."""
    seen = []
    with ExitStack() as stack:
        for name, layer in own_layers(model).items():
            note = partial(_note, seen, name)
            stack.enter_context(watched(name, layer, note))
        run(model)
    return seen


def _note(seen, name, *found):
    seen.append((name, *found))


WAYS = {"forward": lambda m, z: m(z), "encode": lambda m, z: m.encode(z)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "options",
    [{}, {"metric": "cosine"}, {"metric": "cosine", "update": Gradient()}, {"layout": "b d n"}],
)
def test_vector_quantize(way, options):
    layer, z = VectorQuantize(6, 9, **options).eval(), torch.randn(2, 6, 6) + 3
    expected = layer.encode(z)
    ((name, place, latents, codebook, codes),) = searches(layer, lambda m: WAYS[way](m, z))
    assert (name, place) == ("", 0)
    assert torch.equal(codes.reshape(2, 6), expected)
    assert torch.equal(codebook, layer.code_vectors())
    assert torch.equal(certvq.assign(latents, codebook).codes, codes)
    if options == {}:
        assert torch.equal(latents, z.reshape(-1, 6))


@pytest.mark.parametrize("way", WAYS)
def test_vectors_that_are_mapped(way):
    layer, z = SimVQ(3, 9).eval(), torch.randn(2, 5, 3)
    ((_, _, latents, codebook, codes),) = searches(layer, lambda m: WAYS[way](m, z))
    assert torch.equal(latents, z.reshape(-1, 3))
    assert torch.equal(codebook, layer.codebook)
    assert torch.equal(codes.reshape(2, 5), layer.encode(z))


@pytest.mark.parametrize("way", WAYS)
def test_several_codebooks_side_by_side(way):
    layer, z = RandomProjectionQuantizer(6, 9, 4, codebooks=3), torch.randn(2, 5, 6)
    expected = layer.encode(z).reshape(10, 3)
    seen = searches(layer, lambda m: WAYS[way](m, z))
    assert [place for _, place, *_ in seen] == [0, 1, 2]
    for place, (_, _, latents, codebook, codes) in enumerate(seen):
        assert latents.shape == (10, 4)
        assert torch.equal(codebook, layer.codebooks[place])
        assert torch.equal(codes, expected[:, place])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shared", [False, True])
def test_levels_come_one_after_another(way, shared):
    layer, z = ResidualVQ(3, 9, levels=3, shared=shared).eval(), torch.randn(2, 5, 3)
    seen = searches(layer, lambda m: WAYS[way](m, z))
    assert [name for name, *_ in seen] == [f"parts.{0 if shared else i}" for i in range(3)]
    codes = torch.stack([each[4] for each in seen], dim=1).reshape(2, 5, 3)
    assert torch.equal(codes, layer.encode(z))
    left = z.reshape(-1, 3)
    for _, _, latents, codebook, chosen in seen:
        assert torch.equal(latents, left)
        left = left - codebook[chosen]


@pytest.mark.parametrize("shared", [False, True])
def test_scales(shared):
    layer, z = HierarchicalVQ(3, 8, scales=(1, 2, 4), shared=shared).eval(), torch.randn(2, 3, 4)
    seen = searches(layer, lambda m: m(z))
    codes = torch.cat([each[4].reshape(2, -1) for each in seen], dim=1)
    assert torch.equal(codes, layer.encode(z))


def test_layers_by_the_names_of_the_original():
    layer, z = (
        compat.ResidualVQ(dim=3, codebook_size=8, num_quantizers=2).eval(),
        torch.randn(2, 5, 3),
    )
    seen = searches(layer, lambda m: m(z))
    codes = torch.stack([each[4].reshape(2, 5) for each in seen], dim=2)
    assert torch.equal(codes, layer(z)[1])
    for _, _, latents, codebook, chosen in seen:
        assert torch.equal(certvq.assign(latents, codebook).codes, chosen)


def test_under_autocast_and_in_train_mode():
    layer, z = VectorQuantize(3, 9).train(), torch.randn(2, 50, 3)
    layer(z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ((_, _, latents, _, codes),) = searches(layer, lambda m: m(z.bfloat16()))
    assert latents.dtype == torch.bfloat16
    assert torch.equal(certvq.assign(latents, layer.codebook).codes, codes)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # torch's own
def test_a_compiled_model_is_seen_too():
    layer, z = VectorQuantize(3, 9).eval(), torch.ones(1, 5, 3)
    compiled = torch.compile(nn.Sequential(nn.Identity(), layer), backend="eager")
    compiled(z)
    ((name, _, latents, _, codes),) = searches(compiled, lambda m: m(z))
    assert name == "_orig_mod.1"
    assert torch.equal(latents, z[0])
    assert torch.equal(codes, layer.encode(z)[0])


def test_what_has_no_codebook_to_search_is_named():
    model = nn.ModuleDict(
        {
            "fsq": FSQ((4, 4)),
            "lfq": LFQ(2),
            "vq": VectorQuantize(2, 3),
            "beam": ResidualVQ(2, 8, levels=2, beam=Beam(4)),
            "greedy": ResidualVQ(2, 8, levels=2, beam=Beam(1)),
            "mixed": ProductQuantize([FSQ((4, 4)), VectorQuantize(2, 8)]),
            "neural": NeuralCodebook(2, 8, neural=Neural(depth=1)),
            "grouped": GroupedResidualVQ(4, 8, groups=2, levels=1, beam=Beam(4)),
        }
    )
    assert other_layers(model) == ("fsq", "lfq", "beam", "mixed.parts.0", "neural", "grouped")
    assert list(own_layers(model)) == ["vq", "greedy.parts.0", "greedy.parts.1", "mixed.parts.1"]


def test_nan_is_named_with_its_layer():
    model, z = nn.Sequential(VectorQuantize(2, 3)).eval(), torch.full((1, 2, 2), torch.nan)
    with pytest.raises(NonFiniteError, match="layer '0': latents must be finite, got nan at row 0"):
        searches(model, lambda m: m(z))
