"""The original's keywords of one codebook, for classes that are made of several.

In: keywords of the original's `VectorQuantize`. Out: a `VectorQuantize` of certvq with the same
behaviour. Must not import that library.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch.nn import functional

from certvq.errors import OptionError
from certvq.nn import (
    EMA,
    Affine,
    Estimator,
    Found,
    Gradient,
    Gumbel,
    KMeans,
    Online,
    Orthogonal,
    Reparam,
    Revive,
    RotationTrick,
    StraightThrough,
    Uniform,
    VectorQuantize,
)
from certvq.nn._core.similarity import cross_entropy, negative_entropy
from certvq.nn._core.unit import unit_rows

_STRAIGHT = StraightThrough()


class Level(VectorQuantize):
    """A `VectorQuantize` that can be frozen for a forward pass.

    Attributes:
        frozen: whether train mode leaves the codebook and its statistics alone.
    """

    frozen: bool = False

    def learn_now(
        self, tokens: torch.Tensor, *, candidates: Callable[[], torch.Tensor] | None = None
    ) -> None:
        """Learn unless frozen; see `VectorQuantize.learn_now`."""
        if not self.frozen:
            super().learn_now(tokens, candidates=candidates)

    def observe_now(self, tokens: torch.Tensor, codes: torch.Tensor) -> None:
        """Remember unless frozen; see `VectorQuantize.observe_now`."""
        if not self.frozen:
            super().observe_now(tokens, codes)


@dataclass(frozen=True)
class Unrouted(Estimator):
    """Code vectors without a gradient for the latents (``route_gradients_to_input=False``)."""

    def estimate(
        self,
        latents: torch.Tensor,
        codebook: torch.Tensor,
        codes: torch.Tensor,
        generator: torch.Generator | None,
    ) -> torch.Tensor:
        """Return the code vectors with the codebook's gradient alone."""
        del latents, generator
        return functional.embedding(codes, codebook)


@dataclass(frozen=True)
class Drawn(Estimator):
    """Codes drawn as `Gumbel` draws them, with the gradient of another estimator."""

    draw: Gumbel
    gradient: Estimator

    def choose(
        self, latents: torch.Tensor, codebook: torch.Tensor, generator: torch.Generator | None
    ) -> torch.Tensor:
        """Draw the codes."""
        return self.draw.choose(latents, codebook, generator)

    def estimate(
        self,
        latents: torch.Tensor,
        codebook: torch.Tensor,
        codes: torch.Tensor,
        generator: torch.Generator | None,
    ) -> torch.Tensor:
        """Return the code vectors with the other's gradient."""
        return self.gradient.estimate(latents, codebook, codes, generator)


@dataclass(frozen=True)
class Soft(Estimator):
    """Nearest codes with the gradient of ``softmax`` (``straight_through=True``)."""

    gumbel: Gumbel

    def estimate(
        self,
        latents: torch.Tensor,
        codebook: torch.Tensor,
        codes: torch.Tensor,
        generator: torch.Generator | None,
    ) -> torch.Tensor:
        """Return the code vectors."""
        return self.gumbel.estimate(latents, codebook, codes, generator)


@dataclass(frozen=True)
class LevelKeywords:
    """Keywords as the original has them, with its defaults.

    Processes always work together where there are several, so `sync_codebook`, `sync_kmeans` and
    `sync_affine_param` are taken and change nothing.

    Raises:
        OptionError: keywords that contradict one another, or that certvq does not have; the text
            says why.
    """

    refused: ClassVar[dict[str, str]] = {
        "vq_bridge": "a module over the whole codebook has no counterpart; learn the codebook "
        "through SimVQ",
        "manual_ema_update": "averages are taken in when the next training batch arrives",
        "sync_update_v": "codebook and latents are not stepped together",
    }

    decay: float = 0.8
    eps: float = 1e-5
    freeze_codebook: bool = False
    kmeans_init: bool = False
    kmeans_iters: int = 10
    sync_kmeans: bool = True
    use_cosine_sim: bool = False
    separate_codebook_per_head: bool = False
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
    vq_bridge: Any = None
    manual_ema_update: bool = False
    learnable_codebook: bool | None = None
    in_place_codebook_optimizer: Any = None
    manual_in_place_optimizer_update: bool = False
    affine_param: bool = False
    affine_param_batch_decay: float = 0.99
    affine_param_codebook_decay: float = 0.9
    sync_update_v: float = 0.0
    route_gradients_to_input: bool = True

    def __post_init__(self) -> None:
        for name, reason in self.refused.items():
            if getattr(self, name):
                text = f"{name} is not supported: {reason}; see docs/migration.md"
                raise OptionError(text)
        ways = ("straight_through", "rotation_trick", "directional_reparam")
        chosen = [name for name in ways if getattr(self, name)]
        if len(chosen) > 1:
            text = f"at most one of {', '.join(ways)} may be set, got {', '.join(chosen)}"
            raise OptionError(text)
        if self.learns and self.ema_update:
            text = "ema_update=True contradicts learnable_codebook=True; set one of them"
            raise OptionError(text)
        if self.directional_reparam and not self.threshold_ema_dead_code:
            text = "directional_reparam needs threshold_ema_dead_code above 0, as in the original"
            raise OptionError(text)
        if self.in_place_codebook_optimizer is not None and not self.learns:
            text = "in_place_codebook_optimizer needs learnable_codebook=True, ema_update=False"
            raise OptionError(text)

    @classmethod
    def read(cls, keywords: dict[str, Any]) -> "LevelKeywords":
        """Read keywords; unknown ones are a TypeError, as any function's are."""
        known = {field.name for field in fields(cls)}
        unknown = keywords.keys() - known
        if unknown:
            text = f"unexpected keyword arguments {sorted(unknown)}"
            raise TypeError(text)
        return cls(**keywords)

    @property
    def learns(self) -> bool:
        """Whether the codebook is a parameter, or moved by an optimizer of its own."""
        if self.learnable_codebook is None:
            return self.directional_reparam
        return self.learnable_codebook

    @property
    def by_gradient(self) -> bool:
        """Whether the codebook learns from the loss."""
        inner = self.in_place_codebook_optimizer is not None
        return (self.learns and not inner) or self.orthogonal_reg_weight > 0.0

    @property
    def frozen(self) -> bool:
        """Whether train mode never moves the codebook."""
        averages = self.ema_update is not False
        return self.freeze_codebook or not (averages or self.learns or self.by_gradient)

    @property
    def native_commitment(self) -> float:
        """The weight of the squared commitment loss."""
        plain = not (self.commitment_use_cross_entropy_loss or self.directional_reparam)
        return self.commitment_weight if plain else 0.0

    def build(self, dim: int, codebook_size: int) -> Level:
        """Make the layer."""
        threshold = self.threshold_ema_dead_code
        start = KMeans(self.kmeans_iters)
        uniform = Uniform(bound=math.sqrt(6.0 / (codebook_size * dim)))
        affine = Affine(self.affine_param_batch_decay, self.affine_param_codebook_decay)
        level = Level(
            dim,
            codebook_size,
            metric="cosine" if self.use_cosine_sim else "euclidean",
            commitment_weight=self.native_commitment,
            update=self._update(),
            start=start if self.kmeans_init else uniform,
            revive=Revive(threshold, unit="tokens") if threshold > 0 else None,
            affine=affine if self.affine_param else None,
            estimator=self.estimator(dim, self.sample_codebook_temp),
            regularizers=self._regularizers(),
        )
        level.frozen = self.frozen
        return level

    def estimator(self, dim: int, temperature: float) -> Estimator:
        """Return how codes are drawn and how the gradient reaches the latents, in train mode."""
        gradient: Estimator = _STRAIGHT
        if not self.route_gradients_to_input:
            gradient = Unrouted()
        elif self.straight_through and temperature > 0.0:
            gradient = Soft(Gumbel(temperature, soft=True, cosine=self.use_cosine_sim))
        elif self.directional_reparam:
            gradient = Reparam(self.directional_reparam_variance)
        elif self.rotation_trick or (
            self.rotation_trick is None and dim > 1 and not self.straight_through
        ):
            gradient = RotationTrick()
        if self.stochastic_sample_codes and temperature > 0.0:
            return Drawn(Gumbel(temperature, cosine=self.use_cosine_sim), gradient)
        return gradient

    def loss(
        self,
        level: VectorQuantize | None,
        residual: torch.Tensor,
        found: Found,
        *,
        samples: int | None = None,
    ) -> torch.Tensor:
        """Return the original's loss of a level in train mode, from what certvq found.

        Args:
            level: whose codes they are; None where its codebook is not its own.
            residual: (N, D) with its graph.
            found: what the level found for it.
            samples: b, where the tokens are those of (b, n, D); None where some are left out, so
                that the diversity is that of all tokens together.
        """
        loss = found.loss
        if self.by_gradient and not self.commitment_use_cross_entropy_loss:
            # one term there, two of one weight here: the same gradients, half the value
            loss = loss - self.native_commitment * found.figures["commitment_loss"]
        if level is None:
            return loss
        points = unit_rows(residual) if level.metric == "cosine" else residual
        if self.commitment_use_cross_entropy_loss:
            term = cross_entropy(points, level.code_vectors(), found.codes, level.metric)
            loss = loss + self.commitment_weight * term
        if self.codebook_diversity_loss_weight > 0.0:
            grouped = points[None]
            if samples:  # the original takes the mean over the batch, place by place
                grouped = points.reshape(samples, -1, points.shape[1]).transpose(0, 1)
            term = negative_entropy(
                grouped, level.code_vectors(), self.codebook_diversity_temperature, level.metric
            )
            loss = loss + self.codebook_diversity_loss_weight * term
        return loss

    def _update(self) -> EMA | Gradient | Online:
        if self.in_place_codebook_optimizer is not None:
            return Online(self.in_place_codebook_optimizer, immediate=True)
        if self.by_gradient:
            return Gradient(weight=self.native_commitment)
        return EMA(self.decay, self.eps, debias=False)

    def _regularizers(self) -> tuple[Orthogonal, ...]:
        if self.orthogonal_reg_weight <= 0.0:
            return ()
        return (
            Orthogonal(
                self.orthogonal_reg_weight,
                self.orthogonal_reg_max_codes,
                self.orthogonal_reg_active_codes_only,
            ),
        )
