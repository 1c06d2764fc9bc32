"""Which quantizers come one after another, each for what the ones before it left over.

In: a module and the names of its quantizers. Out: the residual quantizer that each belongs to, and
its level there. Must not run anything.
"""

from collections.abc import Iterable
from typing import NamedTuple

from torch import nn


class Level(NamedTuple):
    """Where a quantizer stands in a residual one.

    Attributes:
        owner: name of the residual quantizer.
        number: of the level in it; -1 where its name has no number.
    """

    owner: str
    number: int


def levels_of(module: nn.Module, layers: Iterable[str]) -> dict[str, Level]:
    """Find the residual quantizers around layers, by the word ``Residual`` in their class's name.

    Args:
        module: the model.
        layers: names of quantizers within it.

    Returns:
        The level of each layer that has one: the nearest module around it that is called residual,
        and the first number in the rest of its name.

    Example:
        >>> from certvq.nn import ResidualVQ
        >>> model = nn.Sequential(nn.Identity(), ResidualVQ(2, 4, num_quantizers=2))
        >>> levels_of(model, ["1.parts.1"])
        {'1.parts.1': Level(owner='1', number=1)}
    """
    residual = [name for name, each in module.named_modules() if _is_residual(each)]
    found: dict[str, Level] = {}
    for layer in layers:
        around = [name for name in residual if not name or layer.startswith(f"{name}.")]
        if around:
            owner = max(around, key=len)
            inside = layer.removeprefix(owner).strip(".").split(".")
            numbers = [int(word) for word in inside if word.isdecimal()]
            found[layer] = Level(owner, numbers[0] if numbers else -1)
    return found


def _is_residual(module: nn.Module) -> bool:
    return any("Residual" in kind.__name__ for kind in type(module).__mro__)
