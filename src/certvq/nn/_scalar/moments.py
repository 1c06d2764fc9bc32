"""A loss that holds the first four moments of each feature near targets.

In: tokens. Out: a scalar. Must not know of quantizers.
"""

import math
from dataclasses import dataclass

import torch

from certvq.errors import OptionError
from certvq.nn._core.options import checked
from certvq.nn._torch.modes import sizes

_LEAST_SPREAD = 1e-8
"""Standard deviations below this count as this, so that a constant feature has finite moments."""


@checked
@dataclass(frozen=True)
class Moments:
    """Draw mean, variance, skewness and excess kurtosis of each feature towards targets.

    Mathematics, over a batch and each feature: ``m`` the mean, ``v`` the variance with ``N - 1``
    in the denominator, ``y = (z - m) / sqrt(v)``, ``s = mean y^3``, ``k = mean y^4 - 3``;
    the loss is the sum of ``weight * mean over features of (moment - target)^2``. A batch of fewer
    than two tokens has no variance, and loss 0. So that fourth powers stay finite, latents beyond a
    quarter of the fourth root of the greatest number of their type, 1e9 in float32, count as that.

    Attributes:
        targets: of m, v, s and k; finite.
        weights: of the four, finite and >= 0.

    Raises:
        OptionError: a number out of its range.

    Example:
        >>> Moments()(torch.tensor([[-1.0], [1.0]])) > 0.0  # variance 2, kurtosis -2.75
        tensor(True)

    References:
        Finite Scalar Perturbation, 2026, arXiv 2602.17133.
    """

    targets: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 0.0)
    weights: tuple[float, float, float, float] = (0.1, 0.07, 0.06, 0.05)

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, self.targets)):
            text = f"Moments targets must be finite, got {self.targets}"
            raise OptionError(text)
        if not all(0.0 <= weight < math.inf for weight in self.weights):
            text = f"Moments weights must be finite and at least 0, got {self.weights}"
            raise OptionError(text)

    @staticmethod
    def spread(variance: float) -> "Moments":
        """Return the targets mean 0 and a variance, and none for skewness and kurtosis.

        Args:
            variance: that makes an activation's values fill [0, 1] evenly: of the distribution
                whose cumulative function the activation is.
        """
        return Moments((0.0, variance, 0.0, 0.0), (0.1, 0.07, 0.0, 0.0))

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the loss of tokens (N, D), a scalar in float32 or wider."""
        wide = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
        most = torch.finfo(wide.dtype).max ** 0.25 / 4.0
        wide = wide.clamp(-most, most)
        if sizes(wide)[0] < 2:
            return wide.sum() * 0.0
        variance, mean = torch.var_mean(wide, dim=0)
        moments = [mean, variance]
        if any(self.weights[2:]):
            score = (wide - mean) / variance.clamp_min(_LEAST_SPREAD**2).sqrt()
            square = score.square()
            moments += [(square * score).mean(dim=0), square.square().mean(dim=0) - 3.0]
        total = wide.new_zeros(())
        for moment, target, weight in zip(moments, self.targets, self.weights, strict=False):
            away = moment - target if target else moment
            total = torch.add(total, torch.dot(away, away), alpha=weight / wide.shape[1])
        return total
