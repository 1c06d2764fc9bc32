"""The codebook as a parameter that an optimiser moves.

In: nothing. Out: the option. Must not hold state.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Gradient:
    """Learn the codebook by gradient of the codebook loss ``mse(sg[z], c)``.

    The codebook is an ``nn.Parameter``, and the loss holds the codebook term with weight one. The
    encoder sees nothing of that term, and code vectors that no token chose have gradient zero.

    References:
        van den Oord, Vinyals, Kavukcuoglu, "Neural Discrete Representation Learning", 2017,
        equation 3, second term.
    """
