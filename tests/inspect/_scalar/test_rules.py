"""Scalar quantizers of other libraries: their indices, audited and patched.

Latents lie at the borders of levels, one and two floats beside them, and far out. What is patched
is compared with `certvq.nn.FSQ` and exact grids, and by decoding the index.
"""

import copy
import runpy
from pathlib import Path

import pytest
import torch
import vector_quantize_pytorch as original

import certvq
from certvq import nn
from certvq.errors import NonFiniteError, UnknownQuantizerError
from certvq.inspect._scalar.grid import rounded_grid, sign_grid, twice_bound_grid
from certvq.inspect._scalar.rules import RULES
from certvq.inspect._scalar.site import scalar_layers

LAYERS = runpy.run_path(str(Path(__file__).parents[1] / "scalar_layers.py"))


def beside_borders(grid, count=400):
    """Latents (count, D) float32 at borders and next to them."""
    columns = []
    for row, levels in zip(grid.limits, grid.levels, strict=True):
        place = torch.randint(0, levels - 1, (count,))
        near = row[place].float()
        for _ in range(2):
            end = torch.tensor([-9.0, 0.0, 9.0])[torch.randint(0, 3, (count,))]
            near = torch.where(end == 0, near, torch.nextafter(near, end))
        columns.append(near)
    return torch.stack(columns, dim=1)


FSQS = [
    ((8, 5, 5, 5), {}),
    ((8, 6, 5), {"preserve_symmetry": True}),
    ((7, 4), {"bound_hard_clamp": True}),
    ((4, 4), {"preserve_symmetry": True, "bound_hard_clamp": True}),
    ((1500, 3), {}),
]


@pytest.mark.parametrize(("levels", "options"), FSQS)
def test_fsq_of_vector_quantize_pytorch(levels, options):
    layer = original.FSQ(list(levels), **options)
    hard = options.get("bound_hard_clamp", False)
    symmetric = options.get("preserve_symmetry", False)
    z = torch.cat(
        [
            beside_borders(rounded_grid(levels, preserve_symmetry=symmetric, hard_clamp=hard)),
            40 * torch.randn(100, len(levels)),
        ]
    )[None]
    reference = nn.FSQ(levels, preserve_symmetry=symmetric, hard_clamp=hard).eval()
    right = reference.encode(z)
    values, codes = layer(z)
    found = certvq.audit_module(layer, z).layers[0]
    assert found.tokens == 500
    assert found.wrong + found.ties_broken_otherwise == int((codes != right).sum()) > 0
    assert (found.ties_broken_otherwise > 0) == symmetric
    assert certvq.patch_module(layer) == [""]
    assert certvq.audit_module(layer, z).ok
    patched, index = layer(z)
    assert torch.equal(index.long(), right)
    assert torch.equal(layer.indices_to_codes(index), patched)
    same = codes == right
    assert torch.equal(patched[same], values[same])
    assert torch.equal(copy.deepcopy(layer)(z)[1], index)
    assert certvq.unpatch_module(layer) == [""]
    assert torch.equal(layer(z)[1], codes)


def test_levels_that_saturate_get_an_index_of_another_code():
    """Beyond 1001 levels the slack of 1/1000 is more than half a level, and tanh reaches more."""
    layer = original.FSQ([1500, 3])
    z = torch.full((1, 1, 2), 30.0)
    assert layer(z)[1].item() >= 4500
    assert certvq.audit_module(layer, z).layers[0].largest_excess == float("inf")
    certvq.patch_module(layer)
    assert layer(z)[1].item() == 4499


def test_gradients_of_a_patched_layer_are_those_of_the_layer():
    layer = original.FSQ([5, 4])
    z = torch.cat([beside_borders(rounded_grid((5, 4))), torch.randn(50, 2)])[None]
    gradients = []
    for patched in (False, True):
        if patched:
            certvq.patch_module(layer)
        leaf = z.clone().requires_grad_()
        (layer(leaf)[0] * torch.arange(900.0).view(450, 2)).sum().backward()
        gradients.append(leaf.grad)
    assert torch.equal(*gradients)


def test_levels_of_a_residual_and_channels_first():
    model = original.ResidualFSQ(dim=3, levels=[5, 5, 5], num_quantizers=2)
    z = torch.randn(2, 200, 3)
    assert certvq.patch_module(model) == ["layers.0", "layers.1"]
    report = certvq.audit_module(model, z)
    assert [(each.name, each.tokens, each.wrong) for each in report.layers] == [
        ("layers.0", 400, 0), ("layers.1", 400, 0),
    ]  # fmt: skip
    image = original.FSQ([8, 5], dim=6, num_codebooks=2)
    certvq.patch_module(image)
    assert image(torch.randn(2, 6, 3, 4))[1].shape == (2, 3, 4, 2)


@pytest.mark.rows("kind", [torch.bfloat16, torch.float16])
def test_an_index_in_a_narrow_type_loses_digits(kind):
    """bfloat16 holds whole numbers up to 256, and the sum is cut off to an integer."""
    layer = LAYERS["FSQuantizer"]([8, 8, 8, 5, 5, 5], kind=kind)
    z = torch.randn(2, 300, 6).to(kind)
    found = certvq.audit_module(layer, z).layers[0]
    assert found.wrong > 400
    assert found.largest_excess > 0.01
    certvq.patch_module(layer)
    codes, values = layer(z)
    assert torch.equal(codes, nn.FSQ((8, 8, 8, 5, 5, 5)).eval().encode(z))
    places = layer._scale_and_shift(values).round()
    assert torch.equal((places.double() * layer._basis).sum(-1).long(), codes)


def test_an_index_beyond_2_to_the_24_is_exact():
    layer = LAYERS["FSQuantizer"]([4] * 16)
    z = torch.randn(2, 300, 16)
    assert certvq.audit_module(layer, z).wrong > 300
    certvq.patch_module(layer)
    assert torch.equal(layer(z)[0], nn.FSQ((4,) * 16).eval().encode(z))


def test_another_bound_is_refused_and_nothing_is_patched():
    layer = torch.nn.Sequential(LAYERS["FSQuantizer"]([8, 5], eps=0.1))
    text = r"layer '0' \(.*FSQuantizer\) must find levels as its kind does .* this version or subcl"
    for function in (certvq.patch_module, lambda each: certvq.audit_module(each, torch.ones(1, 2))):
        with pytest.raises(UnknownQuantizerError, match=text):
            function(layer)
        assert not any(callable(each) for each in vars(layer[0]).values())


def test_lfq_keeps_signs_that_a_normalisation_loses():
    layer = original.LFQ(codebook_size=256, dim=16, num_codebooks=2, spherical=True)
    z = torch.randn(1, 300, 16)
    z[:, :100, 3], z[:, :100, 0] = 1e-44, 1e4
    found = certvq.audit_module(layer, z).layers[0]
    assert (found.tokens, found.wrong) == (600, 100)
    certvq.patch_module(layer)
    layer.eval()
    quantized, codes, _ = layer(z)
    assert torch.equal(codes, sign_grid(8).join((z.view(-1, 8) > 0).long()).view(1, 300, 2))
    assert torch.equal(layer.indices_to_codes(codes), quantized)
    layer.train()
    returned, breakdown = layer(z, return_loss_breakdown=True)
    assert torch.equal(returned.indices, codes)
    assert breakdown is not None


def test_lfq_keeps_signs_that_a_soft_clamp_loses():
    layer = original.LFQ(codebook_size=16, dim=4, soft_clamp_input_value=10.0).half()
    z = torch.full((1, 5, 4), 6e-8).half()  # the smallest number; a tenth of it is 0
    assert certvq.audit_module(layer, z).wrong == 5
    certvq.patch_module(layer)
    assert layer(z).indices.tolist() == [[15] * 5]


@pytest.mark.parametrize("name", ["xcodec2.modeling_xcodec2", "neucodec.modeling_neucodec"])
def test_codecs_of_transformers_bound_two_times(name):
    transformers = pytest.importorskip(f"transformers.models.{name}")
    family = {"xcodec2": "Xcodec2", "neucodec": "NeuCodec"}[name.partition(".")[0]]
    config = getattr(transformers, f"{family}Config")(quantization_dim=8)
    layer = getattr(transformers, f"{family}Quantizer")(config)
    layer.project_in = torch.nn.Identity()
    levels = tuple(config.quantization_levels)
    z = beside_borders(twice_bound_grid(levels))[None]
    _, codes = layer(z)
    found = certvq.audit_module(layer, z).layers[0]
    assert (found.name, found.tokens) == ("quantizer", 400)
    assert found.wrong > 100
    assert found.largest_excess < 1e-9
    assert certvq.patch_module(layer) == ["quantizer"]
    layer.project_out = torch.nn.Identity()
    values, patched = layer(z)
    grid = twice_bound_grid(levels)
    assert torch.equal(patched[0, :, 0].long(), grid.join(grid.digits(z[0])))
    assert torch.equal(layer.quantizer.codebook[patched[..., 0].long()], values)
    once = beside_borders(rounded_grid(levels))[None]  # without the bound of the wrapper
    assert torch.equal(layer.quantizer(once)[1].long(), nn.FSQ(levels).eval().encode(once))
    certvq.unpatch_module(layer)
    assert torch.equal(layer(z)[1], codes)


def test_s3tokenizer():
    layer = LAYERS["FSQCodebook"](16)
    z = torch.randn(2, 100, 16) * 3
    model = torch.nn.ModuleDict({"q": layer})

    def call(model, batch):
        return model["q"].encode(batch)

    assert certvq.audit_module(model, z, call=call).tokens == 200
    layer.project_down = torch.nn.Identity()
    grid = RULES[3].grid(layer)
    near = beside_borders(grid)[None]
    assert certvq.audit_module(model, near, call=call).wrong > 100
    certvq.patch_module(model)
    assert torch.equal(layer.encode(near)[0].long(), grid.join(grid.digits(near[0])))
    assert layer.encode(near).dtype == torch.int32
    assert scalar_layers(LAYERS["FSQCodebook"](4, level=5)) == {}


def test_a_nan_is_named():
    layer = torch.nn.Sequential(original.FSQ([5, 4]))
    certvq.patch_module(layer)
    z = torch.zeros(1, 3, 2)
    z[0, 2, 1] = float("nan")
    with pytest.raises(NonFiniteError, match="layer '0': latents must be finite, got nan at row 2"):
        layer(z)


def test_an_audit_leaves_no_trace():
    layer = original.FSQ([5, 4])
    before = dict(vars(layer))
    certvq.audit_module(layer, torch.randn(1, 5, 2))
    assert vars(layer) == before
    certvq.patch_module(layer)
    patched = dict(vars(layer))
    certvq.audit_module(layer, torch.randn(1, 5, 2))
    assert vars(layer) == patched


def test_layers_of_certvq_are_not_taken_for_those_of_others():
    from certvq.compat.vector_quantize_pytorch import FSQ

    assert scalar_layers(FSQ([5, 4])) == {}
    assert scalar_layers(nn.FSQ((5, 4))) == {}


@pytest.mark.slow
def test_a_compiled_model_returns_certified_indices():
    layer = original.FSQ([5, 4])
    z = beside_borders(rounded_grid((5, 4)))[None]
    certvq.patch_module(layer)
    expected = layer(z)[1]
    assert torch.equal(torch.compile(layer, backend="eager")(z)[1], expected)
