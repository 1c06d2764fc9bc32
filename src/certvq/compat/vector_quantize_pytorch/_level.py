"""One codebook of several, and the gradients that the original gives its vectors.

In: tokens, one a row. Out: what certvq's layer gives, unless it is frozen. Must not know of
keywords.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from certvq.compat.vector_quantize_pytorch._readable import Readable
from certvq.compat.vector_quantize_pytorch._view import CodebookView
from certvq.nn import Estimator, Gumbel, Neural, NeuralCodebook


class Level(Readable):
    """A `VectorQuantize` that its owner may freeze for a forward pass, by `frozen`."""

    def __init__(self, dim: int, codebook_size: int, **options: Any) -> None:
        super().__init__(dim, codebook_size, **options)
        self.statistics.begin(self.codebook.detach(), torch.ones(codebook_size), 0.0)
        self._note()

    @property
    def _codebook(self) -> CodebookView:
        return CodebookView([self])

    @property
    def use_cosine_sim(self) -> bool:
        """Whether codes are compared by cosine similarity."""
        return self.metric == "cosine"

    def remember(self) -> Callable[[], None]:
        """Return what puts back what a forward pass sets for its own time."""
        before, frozen, estimator = super().remember(), self.frozen, self.estimator

        def restore() -> None:
            before()
            self.frozen, self.estimator = frozen, estimator

        return restore


class NeuralLevel(NeuralCodebook):
    """A level whose network adapts the codebook of a `Level`.

    Args:
        base: what holds the codebook.
        neural: the network.
        shared: whether the codebook is that of an earlier level, which lets it learn.
    """

    base: Level

    def __init__(self, base: Level, neural: Neural, *, shared: bool) -> None:
        super().__init__(base.dim, base.codebook_size, neural=neural, update=base.update)
        self.base = base
        self.learns = not shared

    @property
    def _codebook(self) -> CodebookView:
        return CodebookView([self.base])


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
