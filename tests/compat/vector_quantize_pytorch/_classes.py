"""The original's classes, arguments they are built with, and batches for them.

What several tests beside this file walk through, so that no class can be forgotten in one of them.
"""

import functools
import inspect

import pytest
import torch
import vector_quantize_pytorch as original
from torch import nn

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
"""Arguments that each class can be built with."""

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

SGD = functools.partial(torch.optim.SGD, lr=0.1)
ADAM = functools.partial(torch.optim.Adam, lr=0.01)
LEARNS = {"learnable_codebook": True, "ema_update": False}
SEPARATE = {"heads": 2, "codebook_dim": 3, "separate_codebook_per_head": True}
SIX = {"dim": 6, "codebook_size": 16}
THREE = {**SIX, "num_quantizers": 3}
SHAPE = (2, 40, 6)

OPTIONS = {
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
        {**SIX, "codebook_dim": 3},
        {**SIX, "codebook_dim": 3, "num_codebooks": 2},
        {**SIX, "codebook_dim": 3, "norm": False},
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
    "VectorQuantize": SIX,
    "ResidualVQ": THREE,
    "GroupedResidualVQ": THREE,
    "ResidualLFQ": THREE,
    "GroupedResidualLFQ": THREE,
    "SimVQ": SIX,
    "ResidualSimVQ": THREE,
    "HierarchicalVQ": {**SIX, "scales": [1, 3, 5], "channel_first": False},
}
"""What each class of `OPTIONS` is built with beside them."""


def keywords(name):
    """The keywords of a class of the original, and of those that it hands the rest to."""
    found = {}
    for each in inspect.signature(getattr(original, name)).parameters.values():
        if each.kind is not each.VAR_KEYWORD:
            found[each.name] = each.default
        elif name in INNER:
            found = keywords(INNER[name]) | found
    return found


def cases():
    """Each class with each of its options, as parameters of a test."""
    return [
        pytest.param(name, options, id=f"{name}-{'-'.join(options) or 'usual'}")
        for name, listed in OPTIONS.items()
        for options in listed
    ]


def build(package, name, options):
    """Make a class of one of the two packages."""
    made = {**USUAL.get(name, {}), **options}
    if "codebook_transform" in made:
        made["codebook_transform"] = made["codebook_transform"]()
    return getattr(package, name)(**made)


def batch(name, seed):
    """Latents for a class, the same for the same seed."""
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))
    return x.movedim(-1, 1) if name == "LatentQuantize" else x
