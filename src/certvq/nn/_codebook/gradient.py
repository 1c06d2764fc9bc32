"""The codebook as a parameter that an optimiser moves.

In: nothing. Out: the option. Must not hold state.
"""

import math
from dataclasses import dataclass

from certvq.errors import OptionError
from certvq.nn._codebook.affine import Affine
from certvq.nn._core.options import checked


@checked
@dataclass(frozen=True)
class Gradient:
    """Learn the codebook by gradient of the codebook loss ``mse(sg[z], c)``.

    The codebook is an ``nn.Parameter``, and the loss holds the codebook term times `weight`. The
    encoder sees nothing of that term, and code vectors that no token chose have gradient zero.

    Attributes:
        weight: of the codebook term, finite and at least 0.
        affine: an `Affine` map of the code vectors that follows the latents, or None.

    Raises:
        OptionError: `weight` out of range.

    References:
        van den Oord, Vinyals, Kavukcuoglu, "Neural Discrete Representation Learning", 2017,
        equation 3, second term.
    """

    weight: float = 1.0
    affine: Affine | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.weight < math.inf:
            text = f"Gradient weight must be finite and at least 0, got {self.weight}"
            raise OptionError(text)
