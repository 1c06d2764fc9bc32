"""`patch_module` and `unpatch_module`: names, copies, pickles, twice, undone."""

import copy
import io

import pytest
import torch

import certvq
from certvq.compat import vector_quantize_pytorch as compat
from certvq.errors import UnknownQuantizerError


@pytest.fixture
def model(layers):
    made = torch.nn.Sequential(torch.nn.Identity(), layers.OneHotQuantizer(64, 8))
    made[1].embedding.weight.data += 1000
    return made


def test_patching_twice_is_harmless(model, offset):
    z = offset(300, 8)
    right = certvq.assign(z, model[1].embedding.weight).codes
    own = model(z)[1]
    assert (own[:, 0] != right).any()
    assert certvq.patch_module(model) == ["1"]
    assert certvq.patch_module(model) == ["1"]
    assert torch.equal(model(z)[1][:, 0], right)
    assert certvq.unpatch_module(model) == ["1"]
    assert certvq.unpatch_module(model) == []
    assert torch.equal(model(z)[1], own)
    assert "forward" not in vars(model[1])


def test_nothing_is_added_to_the_state(model):
    before = [name for name, _ in model.named_modules()], list(model.state_dict())
    certvq.patch_module(model)
    assert ([name for name, _ in model.named_modules()], list(model.state_dict())) == before
    model.load_state_dict(model.state_dict())


def test_a_copy_is_patched_and_stands_alone(model, offset):
    """A copy compares with its own codebook, not with that of the original."""
    certvq.patch_module(model)
    twin = copy.deepcopy(model)
    twin[1].embedding.weight.data.mul_(2)
    z = 2 * offset(300, 8)
    assert torch.equal(twin(z)[1][:, 0], certvq.assign(z, twin[1].embedding.weight).codes)
    certvq.unpatch_module(model)
    assert torch.equal(twin(z)[1][:, 0], certvq.assign(z, twin[1].embedding.weight).codes)
    assert certvq.unpatch_module(twin) == ["1"]


def test_a_pickled_module_is_patched(layers, offset):
    layer = layers.VectorQuantizer2(64, 8, 0.25)
    layer.embedding.weight.data += 1000
    certvq.patch_module(layer)
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    z = offset(1, 8, 15, 20)
    right = certvq.assign(z.permute(0, 2, 3, 1).reshape(-1, 8), layer.embedding.weight).codes
    assert torch.equal(loaded(z)[2][2], right)
    assert vars(loaded)["forward"].module is loaded


def test_a_method_that_was_replaced_before_is_kept(model, offset):
    """Some libraries put their own function in the place of `forward`; it stays within."""
    calls = []
    plain = model[1].forward

    def counted(z):
        calls.append(len(z))
        return plain(z)

    model[1].forward = counted
    z = offset(300, 8)
    certvq.audit_module(model, z)
    assert model[1].forward is counted
    certvq.patch_module(model)
    right = certvq.assign(z, model[1].embedding.weight).codes
    assert torch.equal(model(z)[1][:, 0], right)
    assert certvq.audit_module(model, z).ok
    assert calls == [300, 300, 300]
    certvq.unpatch_module(model)
    assert model[1].forward is counted


def test_an_audit_keeps_the_patch(model, offset):
    z = offset(300, 8)
    certvq.patch_module(model)
    site = vars(model[1])["forward"]
    assert certvq.audit_module(model, z).ok
    assert vars(model[1])["forward"] is site
    assert site.observe is None


@pytest.mark.parametrize("first", ["patch", "compile"])
def test_a_compiled_module_is_patched(layers, offset, first):
    """The quantizer runs outside of the graph, whichever comes first."""
    layer, z = layers.VectorQuantizer2(64, 8, 0.25), offset(2, 8, 12, 12)
    layer.embedding.weight.data += 1000
    model = torch.nn.Sequential(torch.nn.Identity(), layer)
    if first == "patch":
        certvq.patch_module(model)
    compiled = torch.compile(model, backend="eager")
    own = compiled(z)[2][2]
    certvq.patch_module(compiled)
    right = certvq.assign(z.permute(0, 2, 3, 1).reshape(-1, 8), layer.embedding.weight).codes
    assert torch.equal(compiled(z)[2][2], right)
    assert torch.equal(own, right) == (first == "patch")
    assert certvq.audit_module(compiled, z).ok
    assert certvq.unpatch_module(compiled) == ["_orig_mod.1"]
    assert certvq.audit_module(compiled, z).wrong > 0
    assert not torch.equal(compiled(z)[2][2], right)


def test_hooks_of_others_still_run(model, offset):
    seen = []
    model[1].register_forward_hook(lambda module, args, out: seen.append(out[1].shape))
    certvq.patch_module(model)
    model(offset(5, 8))
    assert seen == [(5, 1)]


def test_gradients_flow_as_before(layers):
    layer = layers.VectorQuantizer2(16, 4, 0.25)
    z = torch.randn(1, 4, 3, 3, requires_grad=True)
    certvq.patch_module(layer)
    z_q, loss, _ = layer(z)
    (z_q.sum() + loss).backward()
    assert z.grad is not None
    assert layer.embedding.weight.grad.abs().sum() > 0


def test_models_without_a_quantizer_are_refused():
    text = r"no vector quantizer found in Linear; known: Codebook, .*DacVectorQuantize of transf"
    with pytest.raises(UnknownQuantizerError, match=text):
        certvq.patch_module(torch.nn.Linear(2, 2))


def test_the_names_come_with_torch_only_when_asked_for():
    assert {"audit_module", "patch_module", "unpatch_module"} <= set(dir(certvq))
    assert certvq.patch_module.__module__ == "certvq.inspect._patch"
    with pytest.raises(AttributeError, match="module 'certvq' has no attribute 'patch_modules'"):
        certvq.patch_modules  # noqa: B018 - asked for on purpose


def test_layers_of_certvq_have_nothing_to_patch(layers):
    own = torch.nn.Sequential(certvq.nn.VectorQuantize(2, 4), certvq.nn.FSQ((3, 3)))
    before = [dict(each.__dict__) for each in own.modules()]
    assert certvq.patch_module(own) == []
    assert [dict(each.__dict__) for each in own.modules()] == before
    for each in (compat.BinaryMapper(bits=2), compat.VectorQuantize(dim=2, codebook_size=4)):
        assert certvq.patch_module(each) == []
    projection = compat.RandomProjectionQuantizer(dim=2, codebook_size=4, codebook_dim=2)
    assert certvq.patch_module(projection) == []
    mixed = torch.nn.Sequential(own, layers.OneHotQuantizer(4, 2))
    assert certvq.patch_module(mixed) == ["1"]
    assert certvq.unpatch_module(mixed) == ["1"]
    assert certvq.unpatch_module(own) == []
