"""Codes that are used evenly.

In: latents and code vectors. Out: a scalar. Must not know of layers.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from certvq.errors import OptionError
from certvq.nn._core.options import checked
from certvq.nn._core.similarity import negative_entropy
from certvq.nn._regularizers.regularizer import Batch, Regularizer


@checked
@dataclass(frozen=True)
class Diversity(Regularizer):
    """Reward a high entropy of the soft use of the codes over the batch.

    Mathematics: ``sum_k p_k log p_k`` with ``p_k = mean_n softmax_k(T s_nk)`` and s minus the
    distance of latent n to code vector k, or their dot product where the metric is ``"cosine"``. It
    lies between ``-log K`` (all codes alike) and 0. The gradient goes to the latents, and to the
    code vectors where they have one.

    Attributes:
        weight: finite, at least 0.
        temperature: T, positive and finite; the larger, the harder the choice.

    Raises:
        OptionError: an option out of its range.

    Cost: three times O(N K D); one chunk of memory.

    References:
        Yu et al., "Language Model Beats Diffusion - Tokenizer is Key to Visual Generation", 2023,
        the entropy penalty, its second term.
    """

    name: ClassVar[str] = "diversity"
    needs_gradient: ClassVar[bool] = False

    weight: float = 0.1
    temperature: float = 100.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.weight < math.inf:
            text = f"Diversity weight must be finite and at least 0, got {self.weight}"
            raise OptionError(text)
        if not 0.0 < self.temperature < math.inf:
            text = f"Diversity temperature must be positive and finite, got {self.temperature}"
            raise OptionError(text)

    def penalty(self, batch: Batch) -> torch.Tensor:
        """Return the term; see the class."""
        return negative_entropy(batch.latents[None], batch.vectors, self.temperature, batch.metric)
