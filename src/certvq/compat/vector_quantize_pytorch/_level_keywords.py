"""The original's keywords of one codebook, for classes that are made of several.

In: keywords of the original's `VectorQuantize`. Out: a `VectorQuantize` of certvq with the same
behaviour. Must not import that library.
"""

from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, ClassVar

import torch

from certvq.compat.vector_quantize_pytorch._level import Drawn, Level, Soft, Unrouted
from certvq.compat.vector_quantize_pytorch._options import Options
from certvq.errors import OptionError
from certvq.nn import (
    EMA,
    Estimator,
    Found,
    Gradient,
    Gumbel,
    Online,
    Orthogonal,
    Reparam,
    RotationTrick,
    StraightThrough,
    VectorQuantize,
)
from certvq.nn._core.similarity import cross_entropy, negative_entropy, unit_rows

_STRAIGHT = StraightThrough()


@dataclass(frozen=True)
class LevelKeywords(Options):
    """Further keywords of the original, with its defaults.

    `sync_kmeans` and `sync_affine_param` are taken and change nothing: where processes share the
    codebook, they share its start and its moments.

    Raises:
        OptionError: keywords that contradict one another, or that certvq does not have; the text
            says why.
    """

    refused: ClassVar[dict[str, str]] = {
        "vq_bridge": "a module over the whole codebook has no counterpart; learn the codebook "
        "through SimVQ",
        "manual_ema_update": "averages are taken in when the next training batch arrives",
        "manual_in_place_optimizer_update": "an inner optimiser steps within the forward pass",
        "sync_update_v": "codebook and latents are not stepped together",
    }

    freeze_codebook: bool = False
    sync_kmeans: bool = True
    separate_codebook_per_head: bool = False
    layernorm_after_project_in: bool = False
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
    directional_reparam_variance: float = 5e-3
    sync_affine_param: bool = False
    manual_ema_update: bool = False
    manual_in_place_optimizer_update: bool = False
    route_gradients_to_input: bool = True

    def __post_init__(self) -> None:
        for name, reason in self.refused.items():
            if getattr(self, name):
                text = f"{name} is not supported: {reason}; see docs/migration.md"
                raise OptionError(text)
        super().__post_init__()

    @classmethod
    def read(cls, keywords: dict[str, Any]) -> "LevelKeywords":
        """Read keywords; unknown ones are a TypeError, as any function's are."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(keywords.keys() - known)
        if unknown:
            alike = [get_close_matches(name, known, 1) for name in unknown]
            meant = ", ".join(f"{name!r}" for near in alike for name in near)
            hint = f"; did you mean {meant}?" if meant else ""
            text = f"unexpected keyword arguments {unknown}{hint}"
            raise TypeError(text)
        return cls(**keywords)

    @property
    def by_gradient(self) -> bool:
        """Whether the codebook learns from the loss."""
        inner = self.in_place_codebook_optimizer is not None
        return (self.learns and not inner) or self.orthogonal_reg_weight > 0.0

    @property
    def frozen(self) -> bool:
        """Whether train mode never moves the codebook."""
        return self.freeze_codebook or not (self.averages or self.by_gradient or self.learns)

    @property
    def native_commitment(self) -> float:
        """The weight of the squared commitment loss."""
        plain = not (self.commitment_use_cross_entropy_loss or self.directional_reparam)
        return self.commitment_weight if plain else 0.0

    def update(self) -> EMA | Gradient | Online:
        """Return how the codebook learns: by the loss with an orthogonal term, too."""
        if self.in_place_codebook_optimizer is None and self.by_gradient:
            return Gradient(weight=self.native_commitment, affine=self.affine())
        return super().update()

    def build(self, dim: int, codebook_size: int) -> Level:
        """Make the layer."""
        level = Level(
            dim,
            codebook_size,
            commitment_weight=self.native_commitment,
            estimator=self.estimator(dim, self.sample_codebook_temp),
            regularizers=self._regularizers(),
            **self.layer(dim, codebook_size),
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
