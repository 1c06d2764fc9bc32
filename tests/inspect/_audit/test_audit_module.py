"""`audit_module` counts what is there, and leaves the model as it was."""

import copy
import json

import numpy as np
import pytest
import torch

import certvq
from certvq.errors import NonFiniteError, OptionError, UnknownQuantizerError
from certvq.inspect import LayerAudit


@pytest.fixture
def model(layers):
    made = torch.nn.Sequential(torch.nn.Dropout(0.5), layers.OneHotQuantizer(4, 1))
    made[1].embedding.weight.data = torch.tensor([[0.0], [1.0], [1.0], [4.0]])
    return made


def hooks_and_names(module):
    return [
        (set(each.__dict__), each.training, len(each._forward_hooks), len(each._forward_pre_hooks))
        for each in module.modules()
    ]


def test_counts_by_hand(model, layers):
    """One latent near each code vector; one exact tie of twins; one on the border."""

    class VectorQuantizer(layers.OneHotQuantizer):
        def forward(self, z):
            distances = torch.cdist(z, self.embedding.weight) + self.bias
            return distances.argmin(1)

    layer = VectorQuantizer(4, 1)
    layer.embedding.weight.data = model[1].embedding.weight.data
    layer.bias = torch.tensor([0.0, 1e-7, 0.0, 0.0])  # within rounding: the upper twin wins
    z = torch.tensor([[0.1], [0.5], [1.25], [4.0]])
    report = certvq.audit_module(layer, z)
    assert report.layers == (
        LayerAudit(
            name="",
            kind=VectorQuantizer.__qualname__,
            tokens=4,
            codebook_size=4,
            dim=1,
            wrong=0,
            ties_broken_otherwise=1,
            largest_excess=0.0,
            unstable=1,
            equal_vectors=1,
        ),
    )
    assert not report.ok
    assert report.perturbation is None


@pytest.mark.parametrize(
    ("perturbation", "unstable"), [(0.0, 0), (0.1, 1), (0.3, 2), (0.45, 3), (3.0, 4)]
)
def test_a_given_perturbation_is_a_distance(model, perturbation, unstable):
    """Borders lie at 0.5, 2.5 and 6.5; on one of them a code withstands nothing but 0."""
    model[1].embedding.weight.data = torch.tensor([[0.0], [1.0], [4.0], [9.0]])
    z = torch.tensor([[0.1], [0.7], [8.0], [0.5]])
    report = certvq.audit_module(model, z, perturbation=perturbation)
    assert report.unstable == unstable


@pytest.mark.parametrize(
    ("dtype", "step", "unstable"),
    [
        (torch.float32, 2.0**-23, 1),
        (torch.float32, 2.0**-7, 0),
        (torch.bfloat16, 2.0**-7, 1),
        (torch.float16, 2.0**-10, 1),
    ],
)
def test_the_default_perturbation_is_one_rounding(layers, dtype, step, unstable):
    """At distance step/2 and 3 step/2 from a border; one rounding is u |z| = step (1 + step/8)."""
    layer = layers.OneHotQuantizer(2, 4).to(dtype)
    layer.embedding.weight.data = torch.tensor([[0.0] * 4, [2.0] * 4], dtype=dtype)
    z = torch.ones(2, 4, dtype=dtype)
    z[:, 0] += torch.tensor([step, 3 * step], dtype=dtype)
    assert certvq.audit_module(layer, z).unstable == unstable


def test_wrong_codes_and_the_largest_excess(layers):
    layer = layers.VectorQuantizer2(64, 8, 0.25)
    layer.embedding.weight.data += 1000
    z = torch.randn(2, 8, 10, 10) + 1000
    rows = z.permute(0, 2, 3, 1).reshape(-1, 8)
    codes = layer(z)[2][2]
    expected = certvq.audit(rows, layer.embedding.weight, codes)
    (found,) = certvq.audit_module(layer, z).layers
    assert found.wrong == expected.wrong > 0
    assert found.largest_excess == float(max(each.excess for each in expected.violations))
    assert found.share_wrong == expected.wrong / 200


def test_batches_add_up(model):
    z = torch.rand(50, 1) * 5
    whole = certvq.audit_module(model, z)
    assert certvq.audit_module(model, z.split(20)) == whole
    assert certvq.audit_module(model, iter(z.split(7))) == whole
    assert certvq.audit_module(model[1], {"z": z}).tokens == 50
    called = certvq.audit_module(model, [z.numpy()], call=lambda m, b: m(torch.from_numpy(b)))
    assert called == whole
    assert whole.tokens == 50


def test_the_model_is_evaluated_and_left_as_it_was(model):
    model.train()
    model[1].eval()
    before, state = hooks_and_names(model), copy.deepcopy(model.state_dict())
    modes = []
    certvq.audit_module(
        model,
        torch.rand(9, 1),
        call=lambda m, z: modes.append((m.training, torch.is_grad_enabled())) or m(z),
    )
    assert modes == [(False, False)]
    assert hooks_and_names(model) == before
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert torch.is_grad_enabled()


def test_an_exception_leaves_no_trace(model):
    model.train()
    before = hooks_and_names(model)

    def call(each, batch):
        each(batch)
        raise KeyError("in the middle")

    with pytest.raises(KeyError, match="in the middle"):
        certvq.audit_module(model, torch.rand(9, 1), call=call)
    assert hooks_and_names(model) == before
    with pytest.raises(RuntimeError, match="shape"):
        certvq.audit_module(model, torch.rand(9, 3))
    assert hooks_and_names(model) == before


@pytest.mark.parametrize("patched", [False, True])
def test_nan_is_named_with_its_layer(model, patched):
    if patched:
        certvq.patch_module(model)
    before = hooks_and_names(model)
    z = torch.tensor([[0.0], [np.nan]])
    with pytest.raises(
        NonFiniteError, match=r"layer '1': latents must be finite, got nan at row 1"
    ):
        certvq.audit_module(model, z)
    assert hooks_and_names(model) == before
    if patched:
        with pytest.raises(NonFiniteError, match=r"layer '1'.*row 1, column 0"):
            model.eval()(z)


def test_nan_in_the_codebook_is_named(model):
    model[1].embedding.weight.data[2] = np.inf
    with pytest.raises(NonFiniteError, match=r"layer '1': codebook must be finite, got inf"):
        certvq.audit_module(model, torch.rand(3, 1))


def test_a_layer_that_is_not_reached_has_no_tokens(layers):
    model = torch.nn.ModuleDict(
        {"a": layers.OneHotQuantizer(4, 2), "b": layers.OneHotQuantizer(4, 2)}
    )
    report = certvq.audit_module(model, torch.rand(3, 2), call=lambda each, z: each["a"](z))
    assert [(each.name, each.tokens, each.share_wrong) for each in report.layers] == [
        ("a", 3, 0.0),
        ("b", 0, 0.0),
    ]


def test_data_that_reach_nothing_are_refused(model):
    text = r"data must reach a quantizer, but none of '1' was called with any in {} batches; give"
    for count, data, call in (
        (0, [], None),
        (0, iter([]), None),
        (1, torch.rand(0, 1), None),
        (2, [1, 1], lambda m, b: None),
    ):
        with pytest.raises(UnknownQuantizerError, match=text.format(count)):
            certvq.audit_module(model, data, call=call)


def test_arguments_of_the_wrong_kind_are_refused_before_the_model_runs(model):
    ran, z = [], torch.rand(3, 1)
    model.register_forward_hook(lambda *each: ran.append(each))
    with pytest.raises(OptionError, match=r"module must be a torch.nn.Module, got str 'a'"):
        certvq.audit_module("a", z)
    with pytest.raises(OptionError, match=r"call must be None or a function .* got int 3"):
        certvq.audit_module(model, z, call=3)
    with pytest.raises(OptionError, match=r"at least 0, or None, got nan"):
        certvq.audit_module(model, z, perturbation=np.nan)
    with pytest.raises(OptionError, match="data must be a tensor, .* got int 3"):
        certvq.audit_module(model, 3)
    with pytest.raises(OptionError, match="batch 0 must be a tensor .* got a list of 2"):
        certvq.audit_module(model, [[z, z]])
    assert ran == []
    assert certvq.audit_module(model, [[z, z]], call=lambda m, b: m(b[0])).tokens == 3
    assert len(ran) == 1


def test_a_bad_batch_is_named_by_its_number_and_leaves_no_trace(model):
    before = hooks_and_names(model)
    with pytest.raises(OptionError, match=r"batch 1 must be a tensor .* got NoneType"):
        certvq.audit_module(model, [torch.rand(3, 1), None])
    assert hooks_and_names(model) == before


def test_a_module_that_is_used_twice_is_one_layer(layers):
    layer = layers.OneHotQuantizer(4, 2)
    report = certvq.audit_module(torch.nn.ModuleList([layer, layer]), torch.rand(3, 2), call=_twice)
    assert [(each.name, each.tokens) for each in report.layers] == [("0", 6)]


def _twice(model, z):
    model[0](z)
    model[1](z)


def test_modules_that_look_like_quantizers_are_named(layers):
    class ProductQuantizer(torch.nn.Module):
        pass

    model = torch.nn.ModuleDict(
        {"known": layers.OneHotQuantizer(4, 2), "other": ProductQuantizer()}
    )
    report = certvq.audit_module(model, torch.rand(3, 2), call=lambda each, z: each["known"](z))
    assert report.unknown == ("other",)
    assert "not audited, not known: other" in str(report)


def test_the_report_is_json(model):
    report = certvq.audit_module(model, torch.rand(5, 1))
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()
