"""What all regularizers have in common.

In: latents, code vectors, codes. Out: a scalar with a gradient. Must not know of layers.
"""

import abc
from dataclasses import dataclass
from typing import ClassVar

import torch


@dataclass(frozen=True)
class Batch:
    """What a regularizer sees of a training batch.

    Attributes:
        latents: (N, D), with their graph; unit vectors where the metric is ``"cosine"``.
        vectors: (K, D), code vectors with their graph.
        codes: int64 (N,).
        metric: ``"euclidean"`` or ``"cosine"``.
        generator: source of random choices.
    """

    latents: torch.Tensor
    vectors: torch.Tensor
    codes: torch.Tensor
    metric: str
    generator: torch.Generator | None


class Regularizer(abc.ABC):
    """A term of the loss of train mode.

    Attributes:
        name: what its figure is called, with ``_loss`` behind it.
        needs_gradient: whether it does anything only where code vectors have gradients.
        weight: what it is multiplied by in the loss.
    """

    name: ClassVar[str]
    needs_gradient: ClassVar[bool]
    weight: float

    @abc.abstractmethod
    def penalty(self, batch: Batch) -> torch.Tensor:
        """Return the term, a scalar without its weight, for a batch of at least one latent."""
