"""Directional reparametrisation: the latent moves to its code vector in a noisy direction.

In: latents, code vectors and codes. Out: vectors near the code vectors, with a gradient for both.
Must not know how codes are found.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional

from certvq.errors import OptionError
from certvq.nn._core.options import checked
from certvq.nn._estimators.estimator import Estimator
from certvq.nn._torch import random as _random

_SHORTEST = 1e-6
"""Directions shorter than this are divided by it instead of their length."""


@checked
@dataclass(frozen=True)
class Reparam(Estimator):
    """Add to the latent a vector of the error's length, in the error's direction plus noise.

    Mathematics: ``z + sg[v / |v|] |c - z|`` with ``v = c - z + sqrt(variance) n``, n standard
    normal. So in train mode the value is *not* `decode` of the codes, but a vector at the code
    vector's distance from the latent; codes are the nearest ones all the same. The length
    ``|c - z|`` has a gradient for the latent and for the code vector, and no straight-through step
    is needed. With `Gradient`, whose own loss may have weight 0, code vectors learn from whatever
    follows; with `EMA` and `Online` they move as ever, and the latents alone have that gradient.

    Attributes:
        variance: of each component of the noise, finite and at least 0.

    Raises:
        OptionError: `variance` out of range.

    Guarantee: in eval mode that of every quantizer; in train mode none but the formula, rounded.

    References:
        "DiVeQ: Differentiable Vector Quantization Using the Reparameterization Trick", 2025,
        figure 1 (openreview KRVnpTbx7R).
    """

    exact: ClassVar[bool] = False

    variance: float = 5e-3

    def __post_init__(self) -> None:
        if not 0.0 <= self.variance < math.inf:
            text = f"Reparam variance must be finite and at least 0, got {self.variance}"
            raise OptionError(text)

    def estimate(
        self,
        latents: torch.Tensor,
        codebook: torch.Tensor,
        codes: torch.Tensor,
        generator: torch.Generator | None,
    ) -> torch.Tensor:
        """Return the vectors; see the class, and `Estimator.estimate`."""
        wide = torch.promote_types(
            torch.promote_types(latents.dtype, codebook.dtype), torch.float32
        )
        points = latents.to(wide)
        error = functional.embedding(codes, codebook).to(wide) - points
        length = torch.linalg.vector_norm(error, dim=1, keepdim=True)
        noise = _random.normal(tuple(error.shape), generator, error.device).to(wide)
        direction = error.detach() + math.sqrt(self.variance) * noise
        direction /= torch.linalg.vector_norm(direction, dim=1, keepdim=True).clamp(min=_SHORTEST)
        return (points + direction * length).to(codebook.dtype)
