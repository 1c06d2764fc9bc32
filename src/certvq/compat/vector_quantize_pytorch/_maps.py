"""Types of number through the original's projections, and out of its classes.

In: tokens, and maps whose weights may have another type of number. Out: mapped tokens. Must not
know of quantizers.
"""

import torch
from torch import nn
from torch.func import functional_call


def through(layer: nn.Module, rows: torch.Tensor) -> torch.Tensor:
    """Apply a map, in the wider of the two types of number where the tokens have another one.

    Under autocast the map is called as it is, as the original calls it.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> through(layer, torch.ones(1, 3, dtype=torch.float64)).dtype
        torch.float64
        >>> through(layer, torch.ones(1, 3, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    weight = next(layer.parameters(), None)
    if weight is None or torch.is_autocast_enabled(rows.device.type):
        result: torch.Tensor = layer(rows)
        return result
    wide = torch.promote_types(rows.dtype, weight.dtype)
    if wide == weight.dtype:
        return layer(rows.to(wide))
    weights = {name: each.to(wide) for name, each in layer.named_parameters()}
    return functional_call(layer, weights, rows.to(wide))


def outward(layer: nn.Module, rows: torch.Tensor) -> torch.Tensor:
    """Apply the last map to code vectors, in its own type of number, or autocast's.

    Whatever the latents were, so that codes alone give the same bits. Rows are laid out one after
    the other, since products of narrow numbers depend on how they lie.

    Args:
        layer: the map, or an identity.
        rows: (..., d), code vectors.

    Example:
        >>> layer = nn.Linear(3, 2).bfloat16()
        >>> outward(layer, torch.ones(1, 3)).dtype
        torch.bfloat16
    """
    weight = next(layer.parameters(), None)
    if weight is not None:
        rows = rows.contiguous()
        if not torch.is_autocast_enabled(rows.device.type):
            rows = rows.to(weight.dtype)
    result: torch.Tensor = layer(rows)
    return result


def mapped_back(layer: nn.Module, rows: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    """Apply the last map; the result is of a given type, or behind a map of autocast's.

    Args:
        layer: the map, or an identity.
        rows: (..., d), code vectors.
        kind: of the result where there is no autocast, or no map.
    """
    mapped = not isinstance(layer, nn.Identity)
    result = outward(layer, rows)
    if mapped and torch.is_autocast_enabled(rows.device.type):
        return result
    return result.to(kind)


def wide_type(*tensors: torch.Tensor) -> torch.dtype:
    """Return the type of a loss: float32, or wider where a tensor is."""
    kind = torch.float32
    for each in tensors:
        kind = torch.promote_types(kind, each.dtype)
    return kind
