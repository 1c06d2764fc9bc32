"""State dicts of every class of the installed original, of trained layers with several options.

Each loads with ``strict=True``, and then the codes compare by `==`.
"""

import pytest
import torch
import vector_quantize_pytorch as original
from torch import nn

from certvq.compat import vector_quantize_pytorch as ours
from certvq.errors import NonFiniteError

from ._classes import OPTIONS, SIX, batch, build, cases


def trained(name, options):
    torch.manual_seed(0)
    theirs = build(original, name, options)
    for step in range(3):
        result = theirs(batch(name, step))
        parts = result if isinstance(result, tuple) else (result,)
        terms = [p.sum() for p in parts if isinstance(p, torch.Tensor) and p.requires_grad]
        weights = [p for p in theirs.parameters() if p.requires_grad]
        if terms and weights:
            slopes = torch.autograd.grad(sum(terms), weights, allow_unused=True)
            with torch.no_grad():
                for weight, slope in zip(weights, slopes, strict=True):
                    if slope is not None and torch.isfinite(slope).all():
                        weight.sub_(1e-3 * slope.clamp(-1.0, 1.0))
    for module in theirs.modules():
        if hasattr(module, "update_affine"):  # the original learns moments in eval mode too
            module.update_affine = lambda *_, **__: None
    return theirs.eval()


def codes(name, module, x):
    """Indices as one tensor."""
    if name == "BinaryMapper":
        return module(x, deterministic=True, return_indices=True)[1]
    result = module(x)
    found = result if isinstance(result, torch.Tensor) else result[1]
    if isinstance(found, tuple):
        found = torch.cat([each.flatten(1) for each in found], dim=1)
    return found.long()


def test_every_class_is_here():
    classes = {name for name, value in vars(original).items() if hasattr(value, "state_dict")}
    assert classes - {"Sequential", "EvoLFQ"} == OPTIONS.keys()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "options"), cases())
def test_trained_weights_load_and_give_the_same_codes(name, options):
    theirs = trained(name, options)
    torch.manual_seed(1)
    layer = build(ours, name, options)
    x = batch(name, 9)
    state = theirs.state_dict()
    before = {key: value.clone() for key, value in state.items()}
    assert layer.load_state_dict(state, strict=True).missing_keys == []
    assert all(torch.equal(value, state[key]) for key, value in before.items())
    with torch.no_grad():
        expected, found = codes(name, theirs, x), codes(name, layer.eval(), x)
        assert torch.equal(found, expected)
        fresh = build(ours, name, options).eval()
        fresh.load_state_dict(layer.state_dict(), strict=True)
        assert torch.equal(codes(name, fresh, x), expected)
    assert len(expected.unique()) > 1


def test_a_layer_that_was_not_loaded_gives_others():
    """So that the comparison above can fail."""
    theirs = trained("VectorQuantize", {})
    layer, x = build(ours, "VectorQuantize", {}).eval(), batch("VectorQuantize", 9)
    assert not torch.equal(codes("VectorQuantize", layer, x), codes("VectorQuantize", theirs, x))


def test_members_of_larger_models_load():
    """Encoder, quantizer and decoder of `EvoLFQ`, and the modules of `Sequential`."""
    torch.manual_seed(0)
    models = [
        package.EvoLFQ(nn.Linear(5, 6), nn.Linear(6, 5), dim=6, codebook_size=16)
        for package in (original, ours)
    ]
    models[1].load_state_dict(models[0].state_dict(), strict=True)
    x = torch.randn(2, 9, 5)
    theirs, mine = (model.eval()(x) for model in models)
    assert torch.equal(mine.indices, theirs.indices)
    models = [
        package.Sequential(nn.Linear(5, 6), package.VectorQuantize(**SIX), nn.Linear(6, 5))
        for package in (original, ours)
    ]
    models[0](x)
    models[1].load_state_dict(models[0].state_dict(), strict=True)
    theirs, mine = (model.eval()(x) for model in models)
    assert torch.equal(mine[1], theirs[1])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OPTIONS)
def test_states_with_nan_are_refused_as_a_whole(name, snapshot, unchanged):
    """Under the original's names and under ours."""
    for place, options in enumerate(OPTIONS[name]):
        refuse_nan(name, options, snapshot, unchanged, strict=place % 2 == 0)


def refuse_nan(name, options, snapshot, unchanged, *, strict):
    theirs, layer = trained(name, options), build(ours, name, options)
    before = snapshot(layer)
    for source in (theirs, layer):
        for key, value in source.state_dict().items():
            if isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel():
                state = dict(source.state_dict())
                state[key] = torch.full_like(value, torch.nan)
                with pytest.raises(NonFiniteError, match=f"'{key}' in the state must be finite"):
                    layer.load_state_dict(state, strict=strict)
                assert unchanged(layer, before)
    layer.load_state_dict(theirs.state_dict())
