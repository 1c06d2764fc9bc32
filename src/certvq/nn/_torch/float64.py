"""Steps in float64 for layers on any device.

In: tensors of a device that may have no float64. Out: the same numbers where there is one, and the
way back. Must not know what is computed.
"""

import torch

from certvq._float64 import float64_home, has_float64


def widest(device: torch.device) -> torch.dtype:
    """Return float64, or float32 where a device has no float64.

    Example:
        >>> widest(torch.device("cpu")), widest(torch.device("mps"))
        (torch.float64, torch.float32)
    """
    return torch.float64 if has_float64(device) else torch.float32


def widened(numbers: torch.Tensor) -> torch.Tensor:
    """Return numbers as float64, on the CPU where their device has none."""
    return _cast(beside(numbers))


def _cast(numbers: torch.Tensor) -> torch.Tensor:
    return numbers.to(torch.float64)


def beside(numbers: torch.Tensor) -> torch.Tensor:
    """Return a tensor, such as one of codes, where `widened` puts others of its device."""
    home = numbers.device
    return numbers if has_float64(home) else numbers.to(float64_home(home))


def brought(numbers: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Move what was computed to a device, as float32 where that has no float64."""
    if not has_float64(device) and numbers.dtype == torch.float64:
        numbers = numbers.float()
    return numbers if numbers.device == device else numbers.to(device)
