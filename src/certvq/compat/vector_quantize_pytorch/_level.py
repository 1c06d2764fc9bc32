"""One codebook of several, and the gradients that the original gives its vectors.

In: tokens, one a row. Out: what certvq's layer gives, unless it is frozen. Must not know of
keywords.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional

from certvq.nn import Estimator, Gumbel, VectorQuantize


class Level(VectorQuantize):
    """A `VectorQuantize` that its owner may freeze for a forward pass, by `frozen`."""


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
