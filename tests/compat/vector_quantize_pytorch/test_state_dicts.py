"""State dicts of every class of the installed original, of trained layers with several options.

Each loads with ``strict=True``, and then the codes compare by `==`.
"""

import functools

import pytest
import torch
import vector_quantize_pytorch as original
from torch import nn

from certvq.compat import vector_quantize_pytorch as ours

SGD = functools.partial(torch.optim.SGD, lr=0.1)
ADAM = functools.partial(torch.optim.Adam, lr=0.01)
LEARNS = {"learnable_codebook": True, "ema_update": False}
SEPARATE = {"heads": 2, "codebook_dim": 3, "separate_codebook_per_head": True}
VQ = {"dim": 6, "codebook_size": 16}
SEVERAL = {**VQ, "num_quantizers": 3}
SHAPE = (2, 40, 6)

CASES = {
    "VectorQuantize": [
        {},
        LEARNS,
        {"use_cosine_sim": True},
        {"use_cosine_sim": True, "kmeans_init": True, **SEPARATE},
        {"heads": 2, "codebook_dim": 3},
        SEPARATE,
        {**SEPARATE, **LEARNS},
        {**SEPARATE, "affine_param": True},
        {**SEPARATE, "orthogonal_reg_weight": 1.0},
        {"kmeans_init": True},
        {"kmeans_init": True, "threshold_ema_dead_code": 2},
        {"affine_param": True},
        {"affine_param": True, **LEARNS},
        {**LEARNS, "in_place_codebook_optimizer": SGD},
        {**LEARNS, "in_place_codebook_optimizer": ADAM},
        {"codebook_dim": 4},
        {"codebook_dim": 4, "layernorm_after_project_in": True},
        {"codebook_dim": 4, "use_cosine_sim": True},
        {"heads": 2, "layernorm_after_project_in": True, "kmeans_init": True},
        {"orthogonal_reg_weight": 1.0, "ema_update": False},
        {"directional_reparam": True, "threshold_ema_dead_code": 1},
        {"sync_update_v": 0.5, **LEARNS},
    ],
    "ResidualVQ": [
        {},
        {"codebook_dim": 4},
        {"codebook_size": (16, 8, 5)},
        {"shared_codebook": True},
        {"use_cosine_sim": True},
        {"kmeans_init": True},
        LEARNS,
        {"affine_param": True},
        {"implicit_neural_codebook": True},
        {"implicit_neural_codebook": True, "mlp_kwargs": {"depth": 1, "dim_hidden": 9}},
        {"diveq": True},
        {"quantize_dropout": True, "kmeans_init": True},
        {"orthogonal_reg_weight": 1.0, "ema_update": False},
        {**LEARNS, "in_place_codebook_optimizer": SGD},
    ],
    "GroupedResidualVQ": [
        {"groups": 2},
        {"groups": 3, "kmeans_init": True, "shared_codebook": True},
        {"groups": 2, "codebook_dim": 2, **LEARNS},
    ],
    "RandomProjectionQuantizer": [
        {**VQ, "codebook_dim": 3},
        {**VQ, "codebook_dim": 3, "num_codebooks": 2},
        {**VQ, "codebook_dim": 3, "norm": False},
    ],
    "FSQ": [
        {"levels": [5, 4, 3], "dim": 6},
        {"levels": [5, 4, 3], "num_codebooks": 2},
        {"levels": [5, 4, 3], "dim": 6, "projection_has_bias": False},
        {"levels": [5, 4], "dim": 6, "orthogonal_rotation": True},
        {"levels": [5, 2, 3], "dim": 6, "preserve_symmetry": True, "bound_hard_clamp": True},
    ],
    "FSP": [
        {"levels": [5, 4, 3], "dim": 6},
        {"levels": [5, 4, 3], "dim": 6, "projection_has_bias": False, "act_name": "laplace"},
        {"levels": [5] * 6, "need_inv_act": True, "vector_norm": "kurt"},
    ],
    "LFQ": [
        {"dim": 6},
        {"dim": 6, "codebook_size": 16},
        {"dim": 6, "codebook_size": 8, "num_codebooks": 2, "spherical": True},
        {"dim": 6, "codebook_size": 16, "cosine_sim_project_in": True},
        {"dim": 6, "orthogonal_rotation": True},
        {"dim": 6, "has_projections": True, "projection_has_bias": False},
    ],
    "ResidualLFQ": [
        {},
        {"codebook_size": 64},
        {"spherical": True, "soft_clamp_input_value": 2.0},
        {"quantize_dropout": True},
    ],
    "GroupedResidualLFQ": [{"groups": 2}, {"groups": 2, "codebook_size": 8}],
    "ResidualFSQ": [
        {"levels": [5, 4, 3], "dim": 6, "num_quantizers": 3},
        {"levels": [5] * 6, "num_quantizers": 2},
        {"levels": [5, 3], "dim": 6, "num_quantizers": 2, "orthogonal_rotation": True},
    ],
    "GroupedResidualFSQ": [{"levels": [5, 3], "dim": 6, "groups": 2, "num_quantizers": 2}],
    "LatentQuantize": [
        {"levels": [5, 4, 3], "dim": 6},
        {"levels": [5, 4, 3], "dim": 6, "optimize_values": False},
        {"levels": 4, "codebook_dim": 3, "dim": 6, "num_codebooks": 2},
    ],
    "SimVQ": [
        {},
        {"frozen_codebook_dim": 4, "codebook_transform": lambda: nn.Linear(4, 6)},
        {
            "codebook_transform": lambda: nn.Sequential(
                nn.Linear(6, 9), nn.SiLU(), nn.Linear(9, 6, bias=False)
            )
        },
    ],
    "ResidualSimVQ": [{}, {"quantize_dropout": True, "rotation_trick": False}],
    "BinaryMapper": [{"bits": 6}, {"bits": 6, "deterministic_on_eval": True}],
    "HierarchicalVQ": [
        {},
        {"shared_codebook": False},
        {"shared_codebook": False, "codebook_size": (8, 16, 5), "share_quant_resi": 0},
        {"share_quant_resi": 2, "kmeans_init": False, "quant_resi": 0.25},
        {"orthogonal_reg_weight": 1.0, "shared_codebook": False},
    ],
}
USUAL = {
    "VectorQuantize": VQ,
    "ResidualVQ": SEVERAL,
    "GroupedResidualVQ": SEVERAL,
    "ResidualLFQ": SEVERAL,
    "GroupedResidualLFQ": SEVERAL,
    "SimVQ": VQ,
    "ResidualSimVQ": SEVERAL,
    "HierarchicalVQ": {**VQ, "scales": [1, 3, 5], "channel_first": False},
}


def cases():
    return [
        pytest.param(name, options, id=f"{name}-{'-'.join(options) or 'usual'}")
        for name, listed in CASES.items()
        for options in listed
    ]


def build(package, name, options):
    made = {**USUAL.get(name, {}), **options}
    if "codebook_transform" in made:
        made["codebook_transform"] = made["codebook_transform"]()
    return getattr(package, name)(**made)


def batch(name, seed):
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))
    return x.movedim(-1, 1) if name == "LatentQuantize" else x


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
    assert classes - {"Sequential", "EvoLFQ"} == CASES.keys()


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
        package.Sequential(nn.Linear(5, 6), package.VectorQuantize(**VQ), nn.Linear(6, 5))
        for package in (original, ours)
    ]
    models[0](x)
    models[1].load_state_dict(models[0].state_dict(), strict=True)
    theirs, mine = (model.eval()(x) for model in models)
    assert torch.equal(mine[1], theirs[1])
