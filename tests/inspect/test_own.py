"""Every search of certvq's own layers is seen, with the very numbers that were handed over."""

from contextlib import ExitStack
from functools import partial

import pytest
import torch
from torch import nn

import certvq
from certvq.compat import vector_quantize_pytorch as compat
from certvq.errors import NonFiniteError
from certvq.inspect._own import audited_layers, other_layers, outermost, own_layers, watched
from certvq.nn import (
    FSP,
    FSQ,
    LFQ,
    Beam,
    Gradient,
    GroupedResidualVQ,
    HierarchicalVQ,
    LatentQuantize,
    Neural,
    NeuralCodebook,
    ProductQuantize,
    RandomProjectionQuantizer,
    ResidualVQ,
    SimVQ,
    VectorQuantize,
)


def searches(model, run):
    """Return the name, place and numbers of each search of a run."""
    seen = []
    with ExitStack() as stack:
        for name, layer in own_layers(model).items():
            note = partial(_note, seen, name)
            stack.enter_context(watched(name, layer, note))
        run(model)
    return seen


def _note(seen, name, place, comparison, codes, held):
    """Note one search, whose codes are those that the layer returned."""
    assert comparison.latents.shape[0] == codes.shape[0] == 1
    assert held.is_floating_point
    seen.append((name, place, comparison.latents[0], comparison.codebook[0], codes[0]))


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
    layer, z = ResidualVQ(3, 9, num_quantizers=3, shared=shared).eval(), torch.randn(2, 5, 3)
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
            "fsp": FSP((4, 4)),
            "fsq": FSQ((4, 4)),
            "lfq": LFQ(2),
            "vq": VectorQuantize(2, 3),
            "beam": ResidualVQ(2, 8, num_quantizers=2, beam=Beam(4)),
            "greedy": ResidualVQ(2, 8, num_quantizers=2, beam=Beam(1)),
            "mixed": ProductQuantize([FSQ((4, 4)), VectorQuantize(2, 8)]),
            "neural": NeuralCodebook(2, 8, neural=Neural(depth=1)),
            "grouped": GroupedResidualVQ(4, 8, groups=2, num_quantizers=1, beam=Beam(4)),
        }
    )
    ours = own_layers(model)
    assert list(ours) == [
        *("fsq", "lfq", "vq", "greedy.parts.0", "greedy.parts.1"),
        *("mixed.parts.0", "mixed.parts.1"),
    ]
    others = other_layers(model, ours)
    assert list(others) == ["fsp", "beam", "neural", "grouped"]
    assert "puts each feature into its bin" in others["fsp"]


def test_nan_is_named_with_its_layer():
    model, z = nn.Sequential(VectorQuantize(2, 3)).eval(), torch.full((1, 2, 2), torch.nan)
    with pytest.raises(NonFiniteError, match="layer '0': latents must be finite, got nan at row 0"):
        searches(model, lambda m: m(z))


def comparisons(model, run):
    """Return what each layer that can be looked into compared, and the codes that it returned."""
    seen, otherwise = [], []
    with ExitStack() as stack:
        for name, layer in audited_layers(model).items():
            note = partial(_keep, seen, name)
            stack.enter_context(watched(name, layer, note, otherwise=otherwise.append))
        run(model)
    return seen, otherwise


def _keep(seen, name, place, comparison, codes, held):
    seen.append((name, place, comparison, codes, held))


@pytest.mark.parametrize("way", WAYS)
def test_latent_quantize_is_seen_feature_by_feature(way):
    layer, z = LatentQuantize((5, 4)).eval(), torch.randn(2, 6, 2, dtype=torch.float64)
    expected = layer.level_indices(layer.encode(z)).reshape(12, 2)
    seen, otherwise = comparisons(layer, lambda m: WAYS[way](m, z))
    assert [(place, held) for _, place, _, _, held in seen] == [(d, torch.float64) for d in (0, 1)]
    for d, (_, _, comparison, codes, _) in enumerate(seen):
        assert torch.equal(comparison.latents[0, :, 0], z.reshape(-1, 2)[:, d])
        assert torch.equal(comparison.codebook[0, :, 0], layer.values.split((5, 4))[d])
        assert torch.equal(codes[0], expected[:, d])
        assert certvq.audit(comparison.latents[0], comparison.codebook[0], codes[0]).ok
    assert otherwise == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("options", [{}, {"spherical": True}, {"soft_clamp": 3.0}])
def test_lfq_is_seen_bit_by_bit(way, options):
    layer, z = LFQ(3, **options).eval(), torch.randn(2, 6, 3)
    z[0, 0] = torch.tensor([0.0, -0.0, 1e-30])
    expected = layer.bits(layer.encode(z)).reshape(12, 3)
    seen, _ = comparisons(layer, lambda m: WAYS[way](m, z))
    for d, (_, place, comparison, codes, _) in enumerate(seen):
        assert place == d
        assert torch.equal(comparison.latents[0, :, 0], z.reshape(-1, 3)[:, d])
        assert comparison.codebook[0, :, 0].tolist() == [-1.0, 1.0]
        assert torch.equal(codes[0], expected[:, d])
        assert certvq.audit(comparison.latents[0], comparison.codebook[0], codes[0]).ok


@pytest.mark.parametrize("way", WAYS)
def test_a_beam_is_seen_by_its_rankings(way):
    layer, z = ResidualVQ(3, 9, num_quantizers=3, beam=Beam(4)).eval(), torch.randn(2, 5, 3)
    seen, otherwise = comparisons(layer, lambda m: WAYS[way](m, z))
    assert otherwise == []
    assert [(name, len(codes[0])) for name, _, _, codes, _ in seen] == [
        ("parts.0", 10),
        ("parts.1", 40),
        ("parts.2", 40),
    ]
    for _, _, comparison, codes, held in seen:
        right = certvq.rank(comparison.latents[0], comparison.codebook[0], 4).codes
        assert torch.equal(codes[0], right)
        assert held == torch.float32
    (first, *_), _ = comparisons(layer, lambda m: WAYS[way](m, z.bfloat16()))
    assert first[4] == torch.bfloat16


@pytest.mark.parametrize("way", WAYS)
def test_a_network_is_seen_with_the_code_vectors_of_each_token(way):
    layer = ResidualVQ(3, 9, num_quantizers=2, neural=Neural(depth=1, skip=False)).eval()
    z = torch.randn(2, 5, 3)
    codes = layer.encode(z).reshape(10, 2)
    before = dict(layer.parts[1].__dict__)
    seen, otherwise = comparisons(layer, lambda m: WAYS[way](m, z))
    assert otherwise == []
    assert layer.parts[1].__dict__ == before
    assert not layer.parts[1].transform._forward_hooks
    (first, _, _, _, _), (name, place, comparison, found, held) = seen
    assert (first, name, place, held) == ("parts.0", "parts.1", 0, torch.float32)
    sums = layer.parts[0].codebook[codes[:, 0]]
    vectors = layer.parts[1].transform(layer.parts[1].base.codebook[None], sums[:, None])
    assert comparison.own
    assert torch.equal(comparison.latents, (z.reshape(10, 3) - sums)[:, None])
    assert torch.equal(comparison.codebook, vectors)
    assert torch.equal(found, codes[:, 1:])


def test_the_original_s_projections_are_seen():
    """The class of certvq.compat that is made of no other layer."""
    layer = compat.RandomProjectionQuantizer(
        dim=6, codebook_size=9, codebook_dim=4, num_codebooks=2
    )
    z = torch.randn(2, 5, 6)
    expected = layer(z).reshape(10, 2)
    seen = searches(layer, lambda m: m(z))
    assert [place for _, place, *_ in seen] == [0, 1]
    for place, (_, _, _, codebook, codes) in enumerate(seen):
        assert torch.equal(codebook, layer.codebooks[place])
        assert torch.equal(codes, expected[:, place])
    assert searches(layer, lambda m: m(z, expected.reshape(2, 5, 2))) == []  # a loss, no codes


class Shifted(VectorQuantize):
    """Returns another code than the search found."""

    def encode_tokens(self, tokens):
        return (super().encode_tokens(tokens) + 1) % self.codebook_size


class Guessing(VectorQuantize):
    """Searches nothing."""

    def encode_tokens(self, tokens):
        return torch.zeros(len(tokens), dtype=torch.int64)


def test_codes_are_those_that_the_layer_returns():
    layer, z = Shifted(2, 8).eval(), torch.randn(1, 6, 2)
    ((_, _, latents, codebook, codes),) = searches(layer, lambda m: m.encode(z))
    right = certvq.assign(latents, codebook).codes
    assert torch.equal(codes, (right + 1) % 8)


def test_codes_without_a_search_are_told():
    seen, otherwise = comparisons(Guessing(2, 8).eval(), lambda m: m.encode(torch.ones(1, 6, 2)))
    assert (seen, otherwise) == ([], ["encode_tokens"])
    several = compat.VectorQuantize(dim=2, codebook_size=8).eval()
    z = torch.randn(1, 6, 2)
    seen, otherwise = comparisons(
        several,
        lambda m: m(z, codebook_transform_fn=lambda c: c[:, None, None].expand(1, 1, 6, 8, 2)),
    )
    assert (seen, otherwise) == ([], ["find"])
    ((_, _, comparison, codes, _),), otherwise = comparisons(several, lambda m: m(z, topk=3))
    assert otherwise == []
    assert torch.equal(codes, several(z, topk=3)[1])
    assert torch.equal(comparison.latents[0], z[0])


def test_a_watch_within_a_watch_is_put_back():
    """A method that was set on the instance before is there again."""
    layer, z = VectorQuantize(2, 8).eval(), torch.ones(1, 3, 2)
    theirs, calls = layer.encode_tokens, []

    def mine(tokens):
        calls.append(tokens)
        return theirs(tokens)

    layer.encode_tokens = mine
    seen, _ = comparisons(layer, lambda m: m.encode(z))
    assert (len(seen), len(calls)) == (1, 1)
    assert vars(layer)["encode_tokens"] is mine
    outer, _ = comparisons(layer, lambda m: comparisons(m, lambda each: each.encode(z)))
    assert len(outer) == 1


def test_the_outermost_hold_all_figures():
    model = nn.Sequential(
        ResidualVQ(2, 8, num_quantizers=2),
        nn.Sequential(HierarchicalVQ(2, 8, scales=(1, 2))),
        compat.ResidualVQ(dim=2, codebook_size=8, num_quantizers=2),
    )
    assert outermost(model) == [model[0], model[1][0], model[2]]
    assert outermost(nn.Linear(2, 2)) == []


def test_names_alone_are_not_enough():
    """A class of the user's is none of certvq's because of its name."""
    model = nn.Sequential(type("VectorQuantize", (nn.Module,), {})())
    assert audited_layers(model) == {}
    assert other_layers(model, ()) == {}
