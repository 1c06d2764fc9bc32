"""Everything public of the installed original's classes is here, or on a list with a reason."""

import inspect
from pathlib import Path

import pytest
import torch
import vector_quantize_pytorch as original
from torch import nn

from certvq.compat import vector_quantize_pytorch as ours

VQ = {"dim": 4, "codebook_size": 8}
SEVERAL = {"num_quantizers": 2}
BUILT = {
    "VectorQuantize": VQ,
    "ResidualVQ": {**VQ, **SEVERAL},
    "GroupedResidualVQ": {**VQ, **SEVERAL},
    "RandomProjectionQuantizer": {**VQ, "codebook_dim": 3},
    "FSQ": {"levels": [4, 3]},
    "FSP": {"levels": [4, 3]},
    "LFQ": {"dim": 3},
    "EvoLFQ": {"encoder": nn.Identity(), "decoder": nn.Identity(), "dim": 3},
    "ResidualLFQ": {**VQ, **SEVERAL},
    "GroupedResidualLFQ": {**VQ, **SEVERAL},
    "ResidualFSQ": {"levels": [4, 3], **SEVERAL},
    "GroupedResidualFSQ": {"levels": [4, 3], **SEVERAL, "dim": 4},
    "LatentQuantize": {"levels": [4, 3], "dim": 2},
    "SimVQ": VQ,
    "ResidualSimVQ": {**VQ, **SEVERAL},
    "BinaryMapper": {},
    "HierarchicalVQ": {**VQ, "scales": [1, 2]},
}
INNER = {
    "ResidualVQ": "VectorQuantize",
    "GroupedResidualVQ": "ResidualVQ",
    "RandomProjectionQuantizer": "VectorQuantize",
    "EvoLFQ": "LFQ",
    "ResidualLFQ": "LFQ",
    "GroupedResidualLFQ": "ResidualLFQ",
    "ResidualFSQ": "FSQ",
    "GroupedResidualFSQ": "ResidualFSQ",
    "ResidualSimVQ": "SimVQ",
}
"""Whose keywords the further ones of a class are."""

NOT_OFFERED = {
    ("FSQ", "bound"),
    ("FSQ", "symmetry_preserving_bound"),
    ("FSQ", "maybe_apply_noise"),
    ("FSP", "quantize_act_value"),
    ("LatentQuantize", "quantize_and_project"),
    ("HierarchicalVQ", "choose_phi"),
}
"""Methods that docs/migration.md has a reason for."""

FROZEN = {"RandomProjectionQuantizer"}
"""Refuse keywords of learning, as docs/migration.md says."""

MIGRATION = Path(__file__).parents[3] / "docs" / "migration.md"


def public(name):
    """The public methods, properties and class attributes of a class of the original."""
    found = {}
    for each in getattr(original, name).__mro__:
        if each.__module__.startswith("vector_quantize_pytorch"):
            found = vars(each) | found
    return {key: value for key, value in found.items() if not key.startswith("_")}


def members():
    return [(name, member) for name in BUILT for member in public(name)]


def keywords(name):
    found = {}
    for each in inspect.signature(getattr(original, name)).parameters.values():
        if each.kind is not each.VAR_KEYWORD:
            found[each.name] = each.default
        elif name in INNER:
            found = keywords(INNER[name]) | found
    return found


def test_every_class_is_here():
    classes = {name for name, value in vars(original).items() if inspect.isclass(value)}
    assert classes == BUILT.keys() | {"Sequential"}
    assert all(hasattr(ours, name) for name in classes)
    assert set(members()) >= NOT_OFFERED


@pytest.mark.parametrize(("name", "member"), members())
def test_every_method_and_property_is_here(name, member):
    built = getattr(ours, name)(**BUILT[name])
    if (name, member) in NOT_OFFERED:
        assert not hasattr(built, member)
        assert f"`{member}`" in MIGRATION.read_text()
        return
    theirs, mine = getattr(original, name), getattr(built, member)
    if not inspect.isfunction(public(name)[member]):
        return
    expected = list(inspect.signature(getattr(theirs, member)).parameters.values())[1:]
    found = inspect.signature(mine).parameters
    for place, parameter in enumerate(expected):
        same = found[parameter.name]
        assert same.default in (parameter.default, None, ())
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            assert list(found).index(parameter.name) == place
            assert same.kind is parameter.kind


@pytest.mark.parametrize("name", BUILT)
def test_every_keyword_is_taken_with_its_default(name):
    """Those that the original itself takes: some of the inner class's it sets on its own."""
    taken = []
    for keyword, default in keywords(name).items():
        arguments = {keyword: default, **BUILT[name]}
        if default is inspect.Parameter.empty:
            assert keyword in BUILT[name] or name in INNER
            continue
        try:
            getattr(original, name)(**arguments)
        except (TypeError, AssertionError):
            continue
        if name in FROZEN:
            continue
        getattr(ours, name)(**arguments)
        taken.append(keyword)
    own = inspect.signature(getattr(original, name)).parameters.values()
    assert set(taken) | BUILT[name].keys() >= {
        each.name for each in own if each.kind is not each.VAR_KEYWORD and name not in FROZEN
    }


@pytest.mark.parametrize("name", BUILT)
def test_arguments_without_a_name_are_in_the_same_order(name):
    expected = inspect.signature(getattr(original, name)).parameters.values()
    found = inspect.signature(getattr(ours, name)).parameters.values()
    wanted = [each.name for each in expected if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert [each.name for each in found if each.kind is each.POSITIONAL_OR_KEYWORD] == wanted
    defaults = {each.name: each.default for each in found}
    for each in expected:
        if each.name in defaults and each.kind is not each.VAR_KEYWORD:
            assert defaults[each.name] == each.default or defaults[each.name] is None


def test_scales_have_the_helpers_of_the_original():
    torch.manual_seed(0)
    options = {"dim": 4, "codebook_size": 8, "scales": [1, 3, 5], "share_quant_resi": 2}
    theirs, layer = (each.HierarchicalVQ(**options).eval() for each in (original, ours))
    layer.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 4, 5)
    mask = torch.rand(2, 5) > 0.3
    for given in (None, mask):
        averages, present = theirs.pool_residual(x, (3,), given)
        mine, held = layer.pool_residual(x, (3,), given)
        there = torch.ones(2, 3, dtype=torch.bool) if present is None else present
        torch.testing.assert_close(
            mine.movedim(1, -1)[there], averages.movedim(1, -1)[there], rtol=1e-6, atol=1e-6
        )
        assert (held is None) == (present is None)
        assert held is None or torch.equal(held, present)
    for level in range(3):
        coarse = torch.randn(2, 4, options["scales"][level])
        found = layer.upsample_to_full(coarse, (5,), level)
        expected = theirs.upsample_to_full(coarse, (5,), level)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
        assert layer.get_vq(level) is layer.levels[level]
    assert layer.sample_nested_cutoff(x.device) is None


@pytest.mark.parametrize("separate", [False, True])
def test_heads_are_split_as_in_the_original(separate):
    options = {**VQ, "codebook_dim": 3, "heads": 2, "separate_codebook_per_head": separate}
    x = torch.randn(2, 5, 6)
    theirs, layer = (each.VectorQuantize(**options) for each in (original, ours))
    expected = theirs.maybe_split_heads_from_input(x)
    assert torch.equal(layer.maybe_split_heads_from_input(x), expected)
    one = ours.VectorQuantize(**VQ)
    assert one.maybe_split_heads_from_input(x) is x
