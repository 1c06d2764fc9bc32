"""Nearest upsampling by whole factors: each entry repeats along the places.

In: arguments. Out: entry i of an axis is entry ``floor(i / factor)`` of the input. Nothing is
computed, so bounds are repeated too. The form that torch calls exact is the same there. Other
factors are refused: torch finds their entries by rounded products, whose real function is another
one.
"""

import torch

from certvq.network.rules._rule import Arguments, Rule
from certvq.network.rules._shapes import Moving, follow_nothing


class NearestUpsampling(Moving):
    """Entries repeated by a whole factor along each axis after the second."""

    def __init__(self) -> None:
        super().__init__(_repeated, follow_nothing)

    def refusal(self, arguments: Arguments) -> str:
        """Refuse factors that are not whole."""
        factors = factors_of(tuple(arguments["input"].shape), arguments)
        if all(each >= 1 and each == int(each) for each in factors):
            return ""
        return f"with factors {factors} (known: whole numbers from 1)"


def factors_of(shape: tuple[int, ...], arguments: Arguments) -> list[float]:
    """Return the factors of upsampling that were given, or those of the sizes."""
    if arguments.get("scale_factors") is not None:
        return [float(each) for each in arguments["scale_factors"]]
    return [size / old for size, old in zip(arguments["output_size"], shape[2:], strict=True)]


def _repeated(tensor: torch.Tensor, arguments: Arguments) -> torch.Tensor:
    for axis, factor in enumerate(factors_of(tuple(tensor.shape), arguments), start=2):
        tensor = tensor.repeat_interleave(int(factor), axis)
    return tensor


RULES: dict[str, Rule] = {
    f"{kind}{axes}d.vec": NearestUpsampling()
    for axes in (1, 2, 3)
    for kind in ("upsample_nearest", "_upsample_nearest_exact")
}
