"""The original's keywords of one codebook, as certvq's strategies.

In: keywords. Out: options of `certvq.nn.VectorQuantize`, or a named error where they contradict
each other. Must not hold state.
"""

import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Final

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


class Options:
    """Keywords of the original's `VectorQuantize`, by its names, and what follows from them.

    `sync_kmeans` and `sync_affine_param` change nothing: where processes share the codebook, they
    share its start and its moments. Some are for the classes that hold codebooks.

    Args:
        given: all of `VectorQuantize.keywords`, each with a value.

    Attributes:
        given: as given.
        averages: whether the codebook is a moving average.
        learns: whether the codebook is a parameter.
        rotates: whether gradients are rotated.
        commits: whether the loss has a commitment term.

    Raises:
        OptionError: keywords that contradict each other.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = dict(given)
        vars(self).update(given)
        other = self.directional_reparam or self.vq_bridge is not None
        straight = self.directional_reparam or self.straight_through
        for name, said, usual in (
            ("averages", self.ema_update, not other),
            ("learns", self.learnable_codebook, other),
            ("rotates", self.rotation_trick, not straight),
            ("commits", None, self.commitment_weight > 0.0 and not self.directional_reparam),
        ):
            setattr(self, name, usual if said is None else said)
        wrong = next((text for text, holds in _CONTRADICTIONS.items() if holds(self)), None)
        if wrong is not None:
            text = f"{wrong}; see docs/migration.md"
            raise OptionError(text)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)  # all that there are stand in the instance

    @classmethod
    def read(cls, keywords: Mapping[str, Any], known: Mapping[str, Any], *, dim: int) -> "Options":
        """Read keywords for code vectors of `dim` features.

        Args:
            keywords: some of those that are known.
            known: all of them, with their defaults.
            dim: one feature cannot be rotated.
        """
        unknown = sorted(keywords.keys() - known.keys())
        if unknown:
            alike = [get_close_matches(name, known, 1) for name in unknown]
            meant = ", ".join(f"{name!r}" for near in alike for name in near)
            hint = f"; did you mean {meant}?" if meant else ""
            text = f"unexpected keyword arguments {unknown}{hint}"
            raise TypeError(text)
        given = {**known, **keywords}
        if dim == 1 and given["rotation_trick"] is None:
            given["rotation_trick"] = False
        return cls(given)

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
