"""Figures of a forward pass, and what is left of them after a transformation of torch.func.

In: scalars by name. Out: the same, as a layer may keep them. Must not know what they count.
"""

from typing import Any

import torch

from certvq.nn._torch.modes import beneath, is_batched, recorded, transforming


class Passing(dict[str, torch.Tensor]):
    """Figures with one number for each sample of `torch.func.vmap`, which end with it.

    The function that is transformed may return them; copies and pickles are empty.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, torch.Tensor]:
        """Return nothing: such tensors cannot be copied."""
        del memo
        return {}

    def __reduce__(self) -> tuple[type[dict[str, torch.Tensor]], tuple[()]]:
        """Pickle nothing."""
        return dict, ()


def lasting(figures: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return figures as a layer may keep them.

    Args:
        figures: detached scalars by name.

    Returns:
        Ordinary tensors, or under `torch.func.vmap` a `Passing`; none while a graph is exported.
    """
    if recorded():
        return {}
    if not transforming():
        return figures
    if any(map(is_batched, figures.values())):
        return Passing(figures)
    return {name: beneath(value) for name, value in figures.items()}


def lasting_codes(codes: torch.Tensor) -> torch.Tensor | None:
    """Return codes as a layer may keep them: by reference, and none of `torch.func.vmap`."""
    if not transforming():
        return codes
    return None if is_batched(codes) else beneath(codes)


def as_floats(figures: dict[str, torch.Tensor]) -> dict[str, float]:
    """Read figures; those of `torch.func.vmap` are no numbers and are left out."""
    if isinstance(figures, Passing):
        return {}
    return {name: float(value) for name, value in figures.items()}
