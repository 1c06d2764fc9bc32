"""What values each keyword of the original may have.

In: keywords and values, as users write them. Out: nothing, or a named error. Must not know what a
keyword is for; whether keywords contradict one another is for the classes to say.
"""

import functools
import inspect
import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Final, ParamSpec, TypeAlias

import numpy as np
import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._module import keep_codes
from certvq.errors import OptionError
from certvq.nn._core.latents import require_same_device

Check: TypeAlias = Callable[[Any], str | None]
"""Says what a value must do that it does not, or None."""

_P = ParamSpec("_P")


def integer(least: int | None = None) -> Check:
    """Require an integer, of at least so much."""

    def look(value: object) -> str | None:
        if not isinstance(value, Integral) or isinstance(value, bool):
            return "be an integer"
        return None if least is None or int(value) >= least else f"be at least {least}"

    return look


def number(
    low: float = -math.inf, high: float = math.inf, *, above: bool = False, below: bool = False
) -> Check:
    """Require a finite number.

    Args:
        low: the least, if it is finite.
        high: the greatest, if it is finite.
        above: whether `low` itself is excluded.
        below: whether `high` itself is excluded.
    """
    if math.isfinite(high):
        text = f"lie in {'(' if above else '['}{low:g}, {high:g}{')' if below else ']'}"
    elif math.isfinite(low):
        text = f"be finite and {'above' if above else 'at least'} {low:g}"
    else:
        text = "be finite"

    def look(value: object) -> str | None:
        if not isinstance(value, Real) or isinstance(value, bool):
            return "be a number"
        given = float(value)
        enough = given > low if above else given >= low
        little = given < high if below else given <= high
        finite = -math.inf < given < math.inf  # math.isfinite is nothing that torch compiles
        return None if finite and enough and little else text

    return look


def kind(text: str, *classes: type) -> Check:
    """Require an object of one of some classes."""
    return lambda value: None if isinstance(value, classes) else text


def optional(check: Check) -> Check:
    """Allow None as well."""

    def look(value: object) -> str | None:
        complaint = None if value is None else check(value)
        return None if complaint is None else f"{complaint}, or be None"

    return look


def many(check: Check, *, alone: bool = False) -> Check:
    """Require a sequence of values, none of them wrong; or one value alone."""

    def look(value: object) -> str | None:
        if isinstance(value, torch.Tensor):
            value = value.detach().tolist()
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            single = check(value) if alone else "be a sequence"
            return f"{single}, or be a sequence of such" if alone and single else single
        if not value:
            return "have at least one entry"
        complaint = next((text for text in map(check, value) if text is not None), None)
        return None if complaint is None else f"{complaint}, each entry of it"

    return look


def _flag(value: object) -> str | None:
    fits = isinstance(value, bool | np.bool_) or (isinstance(value, int) and value in (0, 1))
    return None if fits else "be True or False"


def _called(value: object) -> str | None:
    return None if callable(value) else "be callable"


SIZE = integer(1)
"""A number of things."""

SIZES = many(SIZE, alone=True)
"""One number of things for all levels, or one for each."""

FLAG: Check = _flag
"""A switch."""

WEIGHT = number(0.0)
"""The weight of a term of a loss, or something else that is at least 0."""

_CALL: Check = _called
_COUNT = integer(0)
_POSITIVE = number(0.0, above=True)
_SHARE = number(0.0, 1.0)
_MODULE = kind("be a torch.nn.Module", nn.Module)
_NAME = kind("be a string", str)

_SIZES = "dim codebook_size heads num_codebooks groups bits pop_size"
_SIZES += " tournament_size quantize_dropout_multiple_of nested_dropout_min_levels topk batch_size"
_FLAGS = "separate_codebook_per_head freeze_codebook kmeans_init sync_kmeans use_cosine_sim"
_FLAGS += " layernorm_after_project_in channel_last accept_image_fmap accept_3d_fmap"
_FLAGS += " commitment_use_cross_entropy_loss orthogonal_reg_active_codes_only"
_FLAGS += " stochastic_sample_codes straight_through directional_reparam sync_affine_param"
_FLAGS += " manual_ema_update manual_in_place_optimizer_update affine_param diveq"
_FLAGS += " return_zeros_for_masked_padding route_gradients_to_input shared_codebook"
_FLAGS += " quantize_dropout implicit_neural_codebook projection_has_bias"
_FLAGS += " return_indices force_quantization_f32 preserve_symmetry bound_hard_clamp"
_FLAGS += " orthogonal_rotation need_inv_act cosine_sim_project_in norm deterministic_on_eval"
_FLAGS += " experimental_softplus_entropy_loss spherical is_channel_first accum_ema_update"
_OPTIONAL_FLAGS = "rotation_trick sync_codebook ema_update learnable_codebook optimize_values"
_OPTIONAL_FLAGS += " has_projections keep_num_codebooks_dim channel_first"
_WEIGHTS = "commitment_weight orthogonal_reg_weight codebook_diversity_loss_weight"
_WEIGHTS += " threshold_ema_dead_code sample_codebook_temp directional_reparam_variance"
_WEIGHTS += " entropy_loss_weight commitment_loss_weight quantization_loss_weight diversity_gamma"
_WEIGHTS += " input_to_quantize_commit_loss_weight kl_loss_threshold"
_ABOVE = "eps codebook_diversity_temperature codebook_scale inv_temperature temperature"
_COUNTS = "kmeans_iters quantize_dropout_cutoff_index elitism_count generations depth"
_SHARES = "sync_update_v quant_grad_frac nested_dropout noise_dropout quantize_rate mutation_rate"

CHECKS: Final[Mapping[str, Check]] = {
    **dict.fromkeys(_SIZES.split(), SIZE),
    **dict.fromkeys(_FLAGS.split(), FLAG),
    **dict.fromkeys(_OPTIONAL_FLAGS.split(), optional(FLAG)),
    **dict.fromkeys(_WEIGHTS.split(), WEIGHT),
    **dict.fromkeys(_ABOVE.split(), _POSITIVE),
    **dict.fromkeys(_COUNTS.split(), _COUNT),
    **dict.fromkeys(_SHARES.split(), _SHARE),
    "decay": _SHARE,
    "affine_param_batch_decay": _SHARE,
    "affine_param_codebook_decay": _SHARE,
    "frac_per_sample_entropy": number(0.0, 1.0, above=True),
    "quant_resi": number(-1.0, 1.0),
    "share_quant_resi": integer(),
    "entropy_loss_offset": number(),
    "scale": optional(number()),
    "soft_clamp_input_value": optional(many(_POSITIVE, alone=True)),
    "cosine_sim_project_in_scale": optional(_POSITIVE),
    "codebook_dim": optional(SIZE),
    "num_quantizers": optional(SIZE),
    "orthogonal_reg_max_codes": optional(SIZE),
    "frozen_codebook_dim": optional(SIZE),
    "dim_hidden": optional(SIZE),
    "beam_size": optional(SIZE),
    "eval_beam_size": optional(SIZE),
    "beam_score_quantizer_weights": optional(many(WEIGHT)),
    "rand_quantize_dropout_fixed_seed": optional(integer()),
    "levels": many(SIZE),
    "scales": many(many(SIZE, alone=True)),
    "allowed_dtypes": many(kind("be a torch.dtype", torch.dtype)),
    "mlp_kwargs": optional(kind("be a dictionary", dict)),
    "act_name": _NAME,
    "vector_norm": _NAME,
    "vq_bridge": optional(_MODULE),
    "codebook_transform": optional(_MODULE),
    "lfq": optional(_MODULE),
    "encoder": _CALL,
    "decoder": _CALL,
    "in_place_codebook_optimizer": optional(_CALL),
    "straight_through_activation": optional(_CALL),
    "init_fn": optional(_CALL),
    "codebook_transform_fn": optional(_CALL),
}
"""What the value of each keyword must be, whichever class has it."""


def require(**values: object) -> None:
    """Require values that keywords may have; None is allowed for each.

    The exporter of torch that traces hands over the defaults of a forward pass as tensors.
    """
    tracing = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage] (documented)
    for name, value in values.items():
        if tracing and isinstance(value, torch.Tensor) and not value.ndim:
            value = value.item()  # noqa: PLW2901 (what the tensor stands for)
        if value is not None:
            _require(name, value, CHECKS[name])


def checked(**own: Check) -> Callable[[Callable[_P, None]], Callable[_P, None]]:
    """Make a constructor look at its keywords before it does anything.

    The layer that it makes requires its input to be on its own device, before `forward` runs.

    Args:
        own: checks of keywords that mean something else here than in other classes.

    Returns:
        A decorator. What it makes raises `OptionError` for the first keyword with a wrong value;
        None is allowed where it is the default.
    """

    def decorate(init: Callable[_P, None]) -> Callable[_P, None]:
        parameters = inspect.signature(init).parameters
        order = [name for name, each in parameters.items() if each.kind is not each.KEYWORD_ONLY]

        @functools.wraps(init)
        def look(*args: _P.args, **kwargs: _P.kwargs) -> None:
            for name, value in (*zip(order, args, strict=False), *kwargs.items()):
                check = own.get(name) or CHECKS.get(name)
                spared = value is None and name in parameters and parameters[name].default is None
                if check is not None and not spared:
                    _require(name, value, check)
            init(*args, **kwargs)
            layer = args[0]
            if isinstance(layer, nn.Module):
                layer.register_forward_pre_hook(_require_same_device)
                if not getattr(layer, "learns", False):
                    layer.register_forward_hook(keep_codes)

        return look

    return decorate


def _require_same_device(layer: nn.Module, given: tuple[object, ...]) -> None:
    for first in given[:1]:
        if isinstance(first, torch.Tensor) and first.device.type != "meta":
            require_same_device(layer, first, "latents")


def _require(name: str, value: object, check: Check) -> None:
    complaint = check(value)
    if complaint is not None:
        text = f"{name} must {complaint}, got {reprlib.repr(value)}"
        raise OptionError(text)
