"""Noise in the place of rounding, in some entries of some vectors.

In: code vectors of train mode. Out: the same with noise. Must not know how they were found.
"""

from dataclasses import dataclass

import torch

from certvq.errors import OptionError
from certvq.nn._core.options import checked
from certvq.nn._torch import random as _random


@checked
@dataclass(frozen=True)
class NoiseDropout:
    """Move each entry of a code vector by uniform noise, with a given probability.

    The sum is clamped to [-1, 1], where no gradient passes the ends. Codes are those from before
    the noise. A decoder that is trained so learns to read what lies between the levels.

    Attributes:
        probability: of each entry, within [0, 1].
        width: the noise lies within ``[-width / 2, width / 2)``; > 0.

    Raises:
        OptionError: an option out of its range.

    References:
        Parker et al., "Scaling Transformers for Low-Bitrate High-Quality Speech Coding", 2024,
        section 3.2.
    """

    probability: float = 0.5
    width: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.probability <= 1.0:
            text = f"probability must lie within [0, 1], got {self.probability}"
            raise OptionError(text)
        if not 0.0 < self.width < float("inf"):
            text = f"width must be finite and above 0, got {self.width}"
            raise OptionError(text)

    def disturb(self, vectors: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        """Return vectors with noise.

        Args:
            vectors: any shape, within [-1, 1].
            generator: source of the random choices.

        Returns:
            The same shape and type of number, within [-1, 1].
        """
        count, device = vectors.numel(), vectors.device
        chosen = _random.uniform(count, generator, device) < self.probability
        offset = (_random.uniform(count, generator, device) - 0.5) * self.width
        noisy = (vectors + offset.reshape(vectors.shape).to(vectors.dtype)).clamp(-1.0, 1.0)
        return torch.where(chosen.reshape(vectors.shape), noisy, vectors)
