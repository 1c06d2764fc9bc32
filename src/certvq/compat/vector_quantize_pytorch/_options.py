"""The original's keywords of one codebook, as certvq's strategies.

In: keywords. Out: options of `certvq.nn.VectorQuantize`, or a named error where they contradict
each other. Must not hold state.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Final

import torch
from torch import nn

from certvq.errors import OptionError
from certvq.nn import (
    EMA,
    Affine,
    Estimator,
    Gradient,
    KMeans,
    Online,
    Reparam,
    Revive,
    RotationTrick,
    StraightThrough,
    Uniform,
)

_Factory = Callable[[Iterable[torch.Tensor]], Any]

_CONTRADICTIONS: Final[dict[str, Callable[["Options"], bool]]] = {
    "at most one of straight_through, rotation_trick and directional_reparam may be set": (
        lambda o: o.straight_through + o.rotates + o.directional_reparam > 1
    ),
    "use_cosine_sim=True excludes learnable_codebook=True": lambda o: o.use_cosine_sim and o.learns,
    "use_cosine_sim=True excludes affine_param=True": lambda o: o.use_cosine_sim and o.affine_param,
    "directional_reparam=True needs threshold_ema_dead_code > 0": (
        lambda o: o.directional_reparam and o.threshold_ema_dead_code == 0
    ),
    "straight_through=True excludes learnable_codebook=True": (
        lambda o: o.straight_through and o.learns
    ),
    "learnable_codebook=True needs ema_update=False": lambda o: o.averages and o.learns,
    "vq_bridge needs learnable_codebook=True": lambda o: o.vq_bridge is not None and not o.learns,
    "vq_bridge excludes in_place_codebook_optimizer, which would not train the bridge": (
        lambda o: o.vq_bridge is not None and o.in_place_codebook_optimizer is not None
    ),
    "in_place_codebook_optimizer needs learnable_codebook=True and ema_update=False": (
        lambda o: o.in_place_codebook_optimizer is not None and not o.learns
    ),
    "sync_update_v > 0 needs learnable_codebook=True": lambda o: (
        o.sync_update_v > 0 and not o.learns
    ),
}
"""What is refused, and when."""


@dataclass(frozen=True)
class Options:
    """Keywords of the original's `VectorQuantize`, with its names and defaults.

    `sync_kmeans` and `sync_affine_param` change nothing: where processes share the codebook, they
    share its start and its moments. Some are for the classes that hold codebooks.
    """

    separate_codebook_per_head: bool = False
    decay: float = 0.8
    eps: float = 1e-5
    freeze_codebook: bool = False
    kmeans_init: bool = False
    kmeans_iters: int = 10
    sync_kmeans: bool = True
    use_cosine_sim: bool = False
    layernorm_after_project_in: bool = False
    threshold_ema_dead_code: float = 0
    channel_last: bool = True
    accept_3d_fmap: bool = False
    commitment_weight: float = 1.0
    commitment_use_cross_entropy_loss: bool = False
    orthogonal_reg_weight: float = 0.0
    orthogonal_reg_active_codes_only: bool = False
    orthogonal_reg_max_codes: int | None = None
    codebook_diversity_loss_weight: float = 0.0
    codebook_diversity_temperature: float = 100.0
    stochastic_sample_codes: bool = False
    sample_codebook_temp: float = 1.0
    straight_through: bool = False
    rotation_trick: bool | None = None
    directional_reparam: bool = False
    directional_reparam_variance: float = 5e-3
    sync_codebook: bool | None = None
    sync_affine_param: bool = False
    ema_update: bool | None = None
    vq_bridge: nn.Module | None = None
    manual_ema_update: bool = False
    learnable_codebook: bool | None = None
    in_place_codebook_optimizer: _Factory | None = None
    manual_in_place_optimizer_update: bool = False
    affine_param: bool = False
    affine_param_batch_decay: float = 0.99
    affine_param_codebook_decay: float = 0.9
    sync_update_v: float = 0.0
    route_gradients_to_input: bool = True

    averages: bool = field(init=False)
    """Whether the codebook is a moving average."""
    learns: bool = field(init=False)
    """Whether the codebook is a parameter."""
    rotates: bool = field(init=False)
    """Whether gradients are rotated."""
    commits: bool = field(init=False)
    """Whether the loss has a commitment term."""
    by_hand: bool = field(init=False)
    """Whether averages and inner steps are taken when the user says so."""

    def __post_init__(self) -> None:
        other = self.directional_reparam or self.vq_bridge is not None
        straight = self.directional_reparam or self.straight_through
        for name, given, usual in (
            ("averages", self.ema_update, not other),
            ("learns", self.learnable_codebook, other),
            ("rotates", self.rotation_trick, not straight),
            ("commits", None, self.commitment_weight > 0.0 and not self.directional_reparam),
            ("by_hand", None, self.manual_ema_update or self.manual_in_place_optimizer_update),
        ):
            object.__setattr__(self, name, usual if given is None else given)
        wrong = next((text for text, holds in _CONTRADICTIONS.items() if holds(self)), None)
        if wrong is not None:
            text = f"{wrong}; see docs/migration.md"
            raise OptionError(text)

    @classmethod
    def among(cls, given: Mapping[str, Any]) -> "Options":
        """Pick the keywords out of all arguments of a constructor."""
        return cls(**{name: given[name] for name in NAMES if name in given})

    @classmethod
    def read(cls, keywords: Mapping[str, Any], *, dim: int) -> "Options":
        """Read keywords for code vectors of `dim` features."""
        unknown = sorted(keywords.keys() - NAMES)
        if unknown:
            alike = [get_close_matches(name, NAMES, 1) for name in unknown]
            meant = ", ".join(f"{name!r}" for near in alike for name in near)
            hint = f"; did you mean {meant}?" if meant else ""
            text = f"unexpected keyword arguments {unknown}{hint}"
            raise TypeError(text)
        return cls.among(dict(keywords) | rotation_of(dim, keywords.get("rotation_trick")))

    def estimator(self) -> Estimator:
        """Return how the gradient reaches the latents in train mode, where it does."""
        if self.rotates:
            return RotationTrick()
        if self.directional_reparam:
            return Reparam(self.directional_reparam_variance)
        return StraightThrough()

    def layer(self, dim: int, codebook_size: int) -> dict[str, Any]:
        """Return what a layer of certvq is built with."""
        threshold = self.threshold_ema_dead_code
        bound = math.sqrt(6.0 / (codebook_size * dim))
        weight = 0.0 if self.directional_reparam else self.commitment_weight
        return {
            "metric": "cosine" if self.use_cosine_sim else "euclidean",
            "commitment_weight": weight,
            "update": self._update(weight),
            "start": KMeans(self.kmeans_iters) if self.kmeans_init else Uniform(bound),
            "revive": Revive(threshold, unit="tokens") if threshold > 0 else None,
            "estimator": self.estimator(),
            "process_group": False if self.sync_codebook is False else None,
        }

    def _update(self, weight: float) -> EMA | Gradient | Online:
        affine = None
        if self.affine_param:
            affine = Affine(self.affine_param_batch_decay, self.affine_param_codebook_decay)
        if self.in_place_codebook_optimizer is not None:
            return Online(self.in_place_codebook_optimizer, immediate=True, affine=affine)
        if self.learns:
            return Gradient(weight=weight, affine=affine)
        return EMA(self.decay, self.eps, debias=False, affine=affine)


NAMES: Final = frozenset(each.name for each in fields(Options) if each.init)
"""The keywords."""


def rotation_of(dim: int, given: bool | None) -> dict[str, bool | None]:
    """Return `rotation_trick` for code vectors of so many features: one cannot be rotated."""
    return {"rotation_trick": False if dim == 1 and given is None else given}
