"""Every keyword of every class refuses values that make no sense, by its name.

The classes and their keywords are those of the installed original, so that none can be forgotten.
"""

import inspect
import math
import re

import numpy as np
import pytest
import torch
import vector_quantize_pytorch as original

from certvq.compat import vector_quantize_pytorch as ours
from certvq.compat.vector_quantize_pytorch._checks import (
    CHECKS,
    FLAG,
    SIZE,
    checked,
    integer,
    many,
    number,
    optional,
    require,
)
from certvq.errors import OptionError
from certvq.export import onnx_session

from ._classes import BUILT, keywords

SENSELESS = {
    "size": [0, -1, 2.5, True, "4", float("nan")],
    "count": [-1, 2.5, True, "4"],
    "integer": [2.5, True, "4", None],
    "flag": [2, 0.5, "yes", -1],
    "weight": [-0.1, math.nan, math.inf, "1", True],
    "above": [0.0, -1.0, math.nan, math.inf, "1"],
    "share": [-0.1, 1.1, math.nan, "1"],
    "decay": [-0.1, 1.1, math.nan, "1"],
    "fraction": [0.0, 1.1, math.nan],
    "number": [math.nan, math.inf, "1"],
    "ratio": [1.1, -1.1, math.nan],
    "sizes": [[], [0], [2.5], "44", [[2]], 0],
    "scales": [[], [0], [[1, 0]], 3],
    "clamp": [0.0, -1.0, math.nan, [1.0, -1.0], "1"],
    "weights": [[], [-1.0], [math.nan], 1.0],
    "types": [[], ["float32"], torch.float32],
    "dictionary": [[("depth", 2)], 3],
    "name": [None, 3, ["tanh"]],
    "module": [3, "linear", torch.tanh],
    "call": [3, "linear"],
}
KINDS = {
    "size": "dim codebook_size codebook_dim heads num_codebooks groups num_quantizers bits"
    " pop_size tournament_size quantize_dropout_multiple_of nested_dropout_min_levels"
    " orthogonal_reg_max_codes frozen_codebook_dim beam_size eval_beam_size",
    "count": "kmeans_iters quantize_dropout_cutoff_index elitism_count generations",
    "integer": "share_quant_resi",
    "flag": "separate_codebook_per_head freeze_codebook kmeans_init sync_kmeans use_cosine_sim"
    " layernorm_after_project_in channel_last accept_image_fmap accept_3d_fmap"
    " commitment_use_cross_entropy_loss orthogonal_reg_active_codes_only stochastic_sample_codes"
    " straight_through rotation_trick directional_reparam sync_codebook sync_affine_param"
    " ema_update manual_ema_update learnable_codebook manual_in_place_optimizer_update"
    " affine_param return_zeros_for_masked_padding route_gradients_to_input shared_codebook diveq"
    " quantize_dropout implicit_neural_codebook channel_first projection_has_bias return_indices"
    " force_quantization_f32 preserve_symmetry bound_hard_clamp orthogonal_rotation need_inv_act"
    " cosine_sim_project_in norm deterministic_on_eval experimental_softplus_entropy_loss"
    " spherical is_channel_first optimize_values has_projections keep_num_codebooks_dim",
    "weight": "commitment_weight orthogonal_reg_weight codebook_diversity_loss_weight"
    " threshold_ema_dead_code sample_codebook_temp directional_reparam_variance"
    " entropy_loss_weight commitment_loss_weight quantization_loss_weight diversity_gamma"
    " input_to_quantize_commit_loss_weight kl_loss_threshold",
    "above": "eps codebook_diversity_temperature codebook_scale cosine_sim_project_in_scale",
    "share": "sync_update_v quant_grad_frac nested_dropout noise_dropout quantize_rate"
    " mutation_rate",
    "decay": "decay affine_param_batch_decay affine_param_codebook_decay",
    "fraction": "frac_per_sample_entropy",
    "number": "entropy_loss_offset scale",
    "ratio": "quant_resi",
    "sizes": "levels",
    "scales": "scales",
    "clamp": "soft_clamp_input_value",
    "weights": "beam_score_quantizer_weights",
    "types": "allowed_dtypes",
    "dictionary": "mlp_kwargs",
    "name": "act_name vector_norm",
    "module": "vq_bridge codebook_transform lfq",
    "call": "in_place_codebook_optimizer straight_through_activation init_fn encoder decoder",
}
KIND_OF = {name: kind for kind, names in KINDS.items() for name in names.split()}
LISTED = {"HierarchicalVQ", "ResidualVQ", "GroupedResidualVQ"}
"""Whose levels may have codebooks of different sizes."""

OWN_KIND = {("LatentQuantize", "codebook_dim"): [2.5, True, "4", 0, 3]}


def test_all_classes_are_here():
    classes = {name for name, value in vars(original).items() if inspect.isclass(value)}
    assert classes == BUILT.keys() | {"Sequential"}


@pytest.mark.parametrize("name", BUILT)
def test_senseless_values_are_refused_by_name(name):
    build = getattr(ours, name)
    build(**BUILT[name])
    for keyword in keywords(name):
        values = OWN_KIND.get((name, keyword)) or SENSELESS[KIND_OF[keyword]]
        if keyword == "codebook_size" and name in LISTED:
            values = [*values, (8, 0), (8, 2.5), ()]
        for value in values:
            text = rf"\b{keyword}\b.*got .*{re.escape(str(value)[:9])}"
            with pytest.raises(OptionError, match=text):
                build(**{**BUILT[name], keyword: value})


@pytest.mark.rows(
    ("arguments", "text"),
    [
        ({"topk": 2.0}, "topk must be an integer, got 2.0"),
        ({"topk": True}, "topk must be an integer, got True"),
        ({"topk": 9}, "topk must be at most codebook_size=8, got 9"),
        ({"sample_codebook_temp": -1.0}, "temp must be finite and at least 0, got -1.0"),
        ({"sample_codebook_temp": math.nan}, "temp must be finite and at least 0, got nan"),
        ({"freeze_codebook": "no"}, "freeze_codebook must be True or False.*got 'no'"),
        ({"ema_update": 3}, "ema_update must be True or False.*got 3"),
        ({"accum_ema_update": 3}, "accum_ema_update must be True or False, got 3"),
        ({"codebook_transform_fn": 3}, "codebook_transform_fn must be callable.*got 3"),
    ],
)
def test_senseless_arguments_of_forward_change_nothing(arguments, text, snapshot, unchanged):
    layer = ours.VectorQuantize(4, 8)
    layer(torch.randn(2, 9, 4))
    before = snapshot(layer)
    with pytest.raises(OptionError, match=text):
        layer(torch.randn(2, 9, 4), **arguments)
    assert unchanged(layer, before)


@pytest.mark.rows(
    ("call", "text"),
    [
        (lambda: ours.ResidualVQ(**BUILT["ResidualVQ"])(X, beam_size=0), "beam_size must be at l"),
        (
            lambda: ours.ResidualVQ(**BUILT["ResidualVQ"])(X, sample_codebook_temp=-1.0),
            "sample_codebook_temp must be finite",
        ),
        (
            lambda: ours.ResidualVQ(**BUILT["ResidualVQ"])(X, rand_quantize_dropout_fixed_seed=0.5),
            "fixed_seed must be an integer, or be None, got 0.5",
        ),
        (
            lambda: ours.ResidualVQ(
                **BUILT["ResidualVQ"], implicit_neural_codebook=True, mlp_kwargs={"depth": 2.5}
            ),
            "depth must be an integer, got 2.5",
        ),
        (lambda: ours.LFQ(dim=4)(X, inv_temperature=0.0), "inv_temperature must be .*above 0"),
        (lambda: ours.BinaryMapper(4)(X, temperature=-1.0), "temperature must be .*got -1.0"),
        (lambda: ours.FSP([3] * 4)(X, eps=math.nan), "eps must be finite and above 0, got nan"),
        (
            lambda: built("HierarchicalVQ")(X, sample_codebook_temp=-1.0),
            "codebook_temp must",
        ),
        (lambda: evolution().mutate(X, 1.5), r"mutation_rate must lie in \[0, 1\], got 1.5"),
        (lambda: evolution().step(X, len, tournament_size=0), "tournament_size must be at least 1"),
        (lambda: next(evolution().evolve(len, X, generations=0.5)), "generations must be an integ"),
    ],
)
def test_senseless_arguments_of_other_classes(call, text):
    with pytest.raises(OptionError, match=text):
        call()


X = torch.zeros(2, 9, 4)


def built(name):
    return getattr(ours, name)(**BUILT[name])


def test_what_inner_classes_allow_is_allowed():
    several = ours.GroupedResidualVQ(dim=4, groups=2, num_quantizers=None, codebook_size=(8, 5))
    assert several.rvqs[0].codebook_sizes == (8, 5)
    ours.GroupedResidualVQ(**BUILT["GroupedResidualVQ"], codebook_dim=None, heads=1)
    ours.GroupedResidualLFQ(**BUILT["GroupedResidualLFQ"], channel_first=None)
    for name, keyword in (("FSQ", "channel_first"), ("ResidualLFQ", "num_quantizers")):
        with pytest.raises(OptionError, match=f"{keyword} must be .*got None"):
            getattr(ours, name)(**{**BUILT[name], keyword: None})


def evolution():
    return built("EvoLFQ")


@pytest.mark.parametrize("name", ["VectorQuantize", "ResidualVQ", "HierarchicalVQ"])
def test_images_and_volumes_contradict(name):
    with pytest.raises(OptionError, match="at most one of accept_image_fmap and accept_3d_fmap"):
        getattr(ours, name)(**BUILT[name], accept_image_fmap=True, accept_3d_fmap=True)


def test_a_layout_that_has_no_axis_for_the_scales_is_unknown():
    with pytest.raises(TypeError, match=r"unexpected keyword arguments \['channel_last'\]"):
        ours.HierarchicalVQ(**BUILT["HierarchicalVQ"], channel_last=False)


@pytest.mark.rows(
    ("check", "good", "bad"),
    [
        (SIZE, [1, np.int64(3)], {0: "be at least 1", 1.0: "be an integer"}),
        (integer(), [-5, 0], {0.5: "be an integer"}),
        (number(0.0, 1.0), [0, 1, np.float32(0.5)], {2: r"lie in [0, 1]", "a": "be a number"}),
        (number(0.0, 1.0, above=True, below=True), [0.5], {0: "lie in (0, 1)", 1: "lie in (0, 1)"}),
        (
            number(2.0),
            [2, 1e300],
            {1.5: "be finite and at least 2", math.inf: "be finite and at l"},
        ),
        (number(), [-1e300], {math.nan: "be finite"}),
        (FLAG, [True, False, 0, 1, np.True_], {2: "be True or False", 1.0: "be True or False"}),
        (optional(SIZE), [None, 3], {0: "be at least 1, or be None"}),
        (many(SIZE), [[1, 2], (3,)], {3: "be a sequence", (): "have at least one entry"}),
        (many(SIZE), [torch.tensor([2, 3])], {(1, 0): "be at least 1, each entry of it"}),
        (many(SIZE, alone=True), [4, (4, 5)], {"a": "be an integer, or be a sequence of such"}),
    ],
)
def test_checks_say_what_is_required(check, good, bad):
    for value in good:
        assert check(value) is None
    for value, text in bad.items():
        assert check(value).startswith(text)


def test_defaults_of_none_and_own_checks():
    class Example:
        @checked(scale=SIZE)
        def __init__(self, dim=None, *, scale=2, heads=1):
            self.given = (dim, scale, heads)

    assert Example().given == (None, 2, 1)
    assert Example(None, scale=3).given == (None, 3, 1)
    for arguments in ({"heads": None}, {"scale": 2.5}, {"dim": 0}):
        with pytest.raises(OptionError, match=next(iter(arguments))):
            Example(**arguments)
    with pytest.raises(OptionError, match="dim must be an integer, got 2.5"):
        Example(2.5)
    with pytest.raises(TypeError, match="unexpected keyword"):
        Example(other=3)
    require(heads=None, dim=3)
    with pytest.raises(OptionError, match="heads must be at least 1, got 0"):
        require(dim=3, heads=0)
    assert KIND_OF.keys() <= CHECKS.keys()


@pytest.mark.filterwarnings("ignore")  # of the exporter about itself
@pytest.mark.parametrize(
    "layer",
    [
        ours.VectorQuantize(4, 8),
        ours.ResidualVQ(dim=4, codebook_size=8, num_quantizers=2),
        ours.LFQ(dim=4, codebook_size=16),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_defaults_that_an_exporter_makes_tensors_of_are_taken(layer, tmp_path):
    """The tracing exporter of torch does so with the arguments of the outermost module."""
    x = torch.randn(2, 5, 4)
    path = tmp_path / "layer.onnx"
    torch.onnx.export(layer.eval(), (x,), str(path), dynamo=False, verbose=False)
    session = onnx_session(path)
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert (found[1] == layer(x)[1].numpy()).all()
