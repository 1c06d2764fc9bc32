"""Everything public of the installed original's classes is here, or on a list with a reason."""

import copy
import inspect
from pathlib import Path

import pytest
import torch
import vector_quantize_pytorch as original
from torch import nn

from certvq.compat import vector_quantize_pytorch as ours

from ._classes import BUILT, INNER, SGD, VQ, build, cases, keywords

NOT_OFFERED = {
    ("FSQ", "bound"),
    ("FSQ", "symmetry_preserving_bound"),
    ("FSQ", "maybe_apply_noise"),
    ("FSP", "quantize_act_value"),
    ("LatentQuantize", "quantize_and_project"),
    ("HierarchicalVQ", "choose_phi"),
}
"""Methods that docs/migration.md has a reason for."""

NOT_KEPT = {
    ("VectorQuantize", "zero"),
    ("LFQ", "zero"),
    ("LFQ", "mask"),
    ("LFQ", "maybe_l2norm"),
    ("BinaryMapper", "zero"),
    ("BinaryMapper", "power_two"),
    ("RandomProjectionQuantizer", "vq"),
    ("FSP", "act_func"),
    ("FSP", "inv_act_func"),
    ("FSP", "vector_norm"),
    ("HierarchicalVQ", "phi_shared"),
    ("HierarchicalVQ", "phi_levels"),
    ("HierarchicalVQ", "flatten_indices"),
    ("HierarchicalVQ", "flatten_spatial"),
    ("HierarchicalVQ", "unflatten_spatial"),
    ("HierarchicalVQ", "indices_to_spatial"),
    ("HierarchicalVQ", "mask_from_channel"),
    ("HierarchicalVQ", "mask_to_channel"),
    ("HierarchicalVQ", "to_channel_first"),
    ("HierarchicalVQ", "to_channel_last"),
}
"""Attributes that docs/migration.md has a reason for."""

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


def test_every_class_is_here():
    classes = {name for name, value in vars(original).items() if inspect.isclass(value)}
    assert classes == BUILT.keys() | {"Sequential"}
    assert all(hasattr(ours, name) for name in classes)
    assert set(members()) >= NOT_OFFERED


@pytest.mark.rows(("name", "member"), members())
def test_every_method_and_property_is_here(name, member):
    built = getattr(ours, name)(**BUILT[name])
    if (name, member) in NOT_OFFERED:
        assert not hasattr(built, member)
        assert f"`{member}`" in MIGRATION.read_text()
        return
    assert hasattr(built, member)
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


def is_plain(value):
    if isinstance(value, tuple | list):
        return all(map(is_plain, value))
    return value is None or isinstance(value, bool | int | float | str | torch.dtype)


def attributes(built):
    """Everything public that an object has beside what every module has.

    `hasattr` leaves out a property of the original that raises `AttributeError` itself.
    """
    found = set(dir(built)) - set(dir(nn.Module()))
    return sorted(name for name in found if not name.startswith("_") and hasattr(built, name))


WALKED = [*cases(), *(pytest.param(name, BUILT[name], id=f"{name}-built") for name in BUILT)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BUILT)
def test_every_attribute_is_here_with_its_value(name):
    for case in WALKED:
        if case.values[0] == name:
            compare_attributes(*case.values)


def compare_attributes(name, options):
    theirs, mine = (build(package, name, options) for package in (original, ours))
    for attribute in attributes(theirs):
        if (name, attribute) in NOT_OFFERED | NOT_KEPT:
            assert not hasattr(mine, attribute)
            continue
        expected, found = getattr(theirs, attribute), getattr(mine, attribute)
        if is_plain(expected):
            assert type(found) is type(expected)
            assert found == expected, attribute
        elif isinstance(expected, torch.Tensor) and isinstance(found, torch.Tensor):
            assert (found.shape, found.dtype) == (expected.shape, expected.dtype), attribute
        elif isinstance(expected, torch.Tensor):
            assert found == pytest.approx(float(expected)), attribute
        elif inspect.ismethod(expected):
            assert callable(found), attribute


@pytest.mark.filterwarnings("ignore")
def test_what_is_not_kept_is_documented():
    """And is still an attribute of the original."""
    found = {
        (case.values[0], attribute)
        for case in WALKED
        for attribute in attributes(build(original, *case.values))
    }
    assert found >= NOT_KEPT
    text = MIGRATION.read_text()
    assert all(f"`{attribute}`" in text for _, attribute in NOT_KEPT)


@pytest.mark.parametrize("name", ["ResidualVQ", "GroupedResidualVQ"])
def test_values_that_follow_from_others_cannot_be_set(name):
    """Set, they would act in the original, and say something wrong here."""
    layer = getattr(ours, name)(**BUILT[name], quant_grad_frac=0.25)
    layer = layer.rvqs[0] if name == "GroupedResidualVQ" else layer
    assert layer.quant_grad_frac == 0.25
    with pytest.raises(AttributeError):
        layer.quant_grad_frac = 0.5


def test_inner_optimisers_are_attributes():
    options = {"learnable_codebook": True, "ema_update": False, "in_place_codebook_optimizer": SGD}
    one = ours.VectorQuantize(**VQ, **options).in_place_codebook_optimizer
    assert isinstance(one, torch.optim.SGD)
    separate = {"heads": 2, "codebook_dim": 2, "separate_codebook_per_head": True}
    both = ours.VectorQuantize(**VQ, **options, **separate).in_place_codebook_optimizer
    assert [type(each) for each in both] == [torch.optim.SGD] * 2


def test_networks_and_scales_are_attributes():
    neural = ours.ResidualVQ(**BUILT["ResidualVQ"], implicit_neural_codebook=True)
    assert [isinstance(each, nn.Module) for each in neural.mlps] == [True]
    assert neural.beam_score_weights.tolist() == [1.0, 1.0]
    for shared in (True, False):
        layer = ours.HierarchicalVQ(**BUILT["HierarchicalVQ"], shared_codebook=shared)
        assert (layer.vq is None) == (not shared)
        assert (layer.vqs is None) == shared


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


@pytest.mark.parametrize("name", BUILT)
def test_what_was_said_at_the_beginning_cannot_be_set(name):
    """It would act in the original, and change nothing here."""
    layer = getattr(ours, name)(**BUILT[name])
    for attribute in sorted(getattr(layer, "fixed", ())):
        before = getattr(layer, attribute)
        text = (
            f"{attribute} of {name} is fixed when it is built, but 3 was assigned to it; build anot"
        )
        with pytest.raises(AttributeError, match=text):
            setattr(layer, attribute, 3)
        assert getattr(layer, attribute) == before
        assert getattr(copy.deepcopy(layer), attribute) == before


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["ResidualVQ", "ResidualLFQ", "ResidualFSQ", "ResidualSimVQ"])
def test_the_options_of_a_random_depth_are_fixed(name):
    names = {key for key in keywords(name) if key.startswith("quantize_dropout")}
    assert len(names) == 3
    assert getattr(ours, name).fixed >= names


def test_the_view_of_the_codebook_names_what_it_does_not_have():
    """Each is a new object, on which an attribute would be lost at once."""
    layer = ours.VectorQuantize(**VQ)
    with pytest.raises(AttributeError, match="on which decay cannot be set: a new one is made"):
        layer._codebook.decay = 0.5
    with pytest.raises(AttributeError, match="without decay; it has embed, embed_avg, cluster_siz"):
        _ = layer._codebook.decay
    layer._codebook.embed.zero_()
    assert not layer.codebook.any()
