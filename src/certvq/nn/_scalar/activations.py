"""Cumulative distribution functions that bring scalars into [0, 1], and their inverses.

In: a name. Out: two functions of tensors. Must not know of quantizers.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from certvq.errors import OptionError

_Map = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Activation:
    """A map onto the unit interval.

    Attributes:
        forward: non-decreasing, from the line to [0, 1].
        inverse: from (0, 1) back.
        variance: of the distribution whose cumulative function `forward` is; infinite for Cauchy's.
    """

    forward: _Map
    inverse: _Map
    variance: float


def _laplace(z: torch.Tensor) -> torch.Tensor:
    tail = 0.5 * torch.exp(torch.where(z > 0.0, -z, z))  # `abs` has the derivative 0 at 0
    return torch.where(z > 0.0, 1.0 - tail, tail)


def _laplace_inverse(p: torch.Tensor) -> torch.Tensor:
    centred = p - 0.5
    upper = centred > 0.0
    size = torch.log1p(-2.0 * torch.where(upper, centred, -centred))
    return torch.where(upper, -size, size)


ACTIVATIONS = {
    "tanh": Activation(
        lambda z: (torch.tanh(z) + 1.0) / 2.0, lambda p: torch.atanh(2.0 * p - 1.0), math.pi**2 / 12
    ),
    "sigmoid": Activation(torch.sigmoid, torch.logit, math.pi**2 / 3),
    "normal": Activation(
        lambda z: (1.0 + torch.erf(z / math.sqrt(2.0))) / 2.0,
        lambda p: torch.erfinv(2.0 * p - 1.0) * math.sqrt(2.0),
        1.0,
    ),
    "laplace": Activation(_laplace, _laplace_inverse, 2.0),
    "cauchy": Activation(
        lambda z: torch.atan(z) / math.pi + 0.5,
        lambda p: torch.tan((p - 0.5) * math.pi),
        math.inf,
    ),
}


def find_activation(name: str) -> Activation:
    """Look an activation up by its name.

    Raises:
        OptionError: no such activation; the text lists those there are.

    Example:
        >>> find_activation("sigmoid").forward(torch.tensor(0.0))
        tensor(0.5000)
    """
    if name not in ACTIVATIONS:
        known = ", ".join(repr(known) for known in ACTIVATIONS)
        text = f"activation must be one of {known}; got {name!r}"
        raise OptionError(text)
    return ACTIVATIONS[name]
