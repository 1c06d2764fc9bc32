"""The original's keywords of how a codebook learns, as certvq's strategies.

In: keywords. Out: options of `certvq.nn.VectorQuantize`, or a named error where they contradict
each other. Must not hold state.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from certvq.errors import OptionError
from certvq.nn import EMA, Affine, Gradient, KMeans, Online, Revive, Uniform


@dataclass(frozen=True)
class Options:
    """Keywords of the original that are about how a codebook learns; its names and defaults.

    Raises:
        OptionError: keywords that contradict each other.
    """

    decay: float = 0.8
    eps: float = 1e-5
    kmeans_init: bool = False
    kmeans_iters: int = 10
    use_cosine_sim: bool = False
    threshold_ema_dead_code: float = 0
    straight_through: bool = False
    rotation_trick: bool | None = None
    directional_reparam: bool = False
    ema_update: bool | None = None
    vq_bridge: nn.Module | None = None
    learnable_codebook: bool | None = None
    in_place_codebook_optimizer: Callable[[Iterable[torch.Tensor]], Any] | None = None
    affine_param: bool = False
    affine_param_batch_decay: float = 0.99
    affine_param_codebook_decay: float = 0.9
    sync_update_v: float = 0.0
    sync_codebook: bool | None = None

    def __post_init__(self) -> None:
        self._require_agreement()

    @property
    def averages(self) -> bool:
        """Whether the codebook is a moving average."""
        given = self.ema_update
        return not self.directional_reparam and self.vq_bridge is None if given is None else given

    @property
    def learns(self) -> bool:
        """Whether the codebook is a parameter."""
        given = self.learnable_codebook
        return self.directional_reparam or self.vq_bridge is not None if given is None else given

    @property
    def rotates(self) -> bool:
        """Whether gradients are rotated."""
        other = self.directional_reparam or self.straight_through
        return not other if self.rotation_trick is None else self.rotation_trick

    def affine(self) -> Affine | None:
        """Return how code vectors follow the latents, if they do."""
        if not self.affine_param:
            return None
        return Affine(self.affine_param_batch_decay, self.affine_param_codebook_decay)

    def update(self) -> EMA | Gradient | Online:
        """Return how the codebook learns."""
        affine = self.affine()
        if self.in_place_codebook_optimizer is not None:
            return Online(self.in_place_codebook_optimizer, immediate=True, affine=affine)
        if self.learns:
            return Gradient(affine=affine)
        return EMA(self.decay, self.eps, debias=False, affine=affine)

    def layer(self, dim: int, codebook_size: int) -> dict[str, Any]:
        """Return what a layer of certvq is built with."""
        bound = math.sqrt(6.0 / (codebook_size * dim))
        threshold = self.threshold_ema_dead_code
        return {
            "metric": "cosine" if self.use_cosine_sim else "euclidean",
            "update": self.update(),
            "start": KMeans(self.kmeans_iters) if self.kmeans_init else Uniform(bound),
            "revive": Revive(threshold, unit="tokens") if threshold > 0 else None,
            "process_group": False if self.sync_codebook is False else None,
        }

    def _require_agreement(self) -> None:
        refused = {
            "at most one of straight_through, rotation_trick and directional_reparam may be set": (
                self.straight_through + self.rotates + self.directional_reparam > 1
            ),
            "use_cosine_sim=True excludes learnable_codebook=True": (
                self.use_cosine_sim and self.learns
            ),
            "use_cosine_sim=True excludes affine_param=True": (
                self.use_cosine_sim and self.affine_param
            ),
            "directional_reparam=True needs threshold_ema_dead_code > 0": (
                self.directional_reparam and self.threshold_ema_dead_code == 0
            ),
            "straight_through=True excludes learnable_codebook=True": (
                self.straight_through and self.learns
            ),
            "learnable_codebook=True needs ema_update=False": self.averages and self.learns,
            "vq_bridge needs learnable_codebook=True": (
                self.vq_bridge is not None and not self.learns
            ),
            "vq_bridge excludes in_place_codebook_optimizer, which would not train the bridge": (
                self.vq_bridge is not None and self.in_place_codebook_optimizer is not None
            ),
            "in_place_codebook_optimizer needs learnable_codebook=True and ema_update=False": (
                self.in_place_codebook_optimizer is not None and not self.learns
            ),
            "sync_update_v > 0 needs learnable_codebook=True": (
                self.sync_update_v > 0.0 and not self.learns
            ),
        }
        wrong = next((text for text, holds in refused.items() if holds), None)
        if wrong is not None:
            text = f"{wrong}; see docs/migration.md"
            raise OptionError(text)
