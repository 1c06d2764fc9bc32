"""Which devices have float64, and where its numbers are kept for those that have not.

In: a torch device. Out: the same, or the CPU. Must not import torch.
"""

from typing import Any

WITHOUT_FLOAT64 = {"mps"}
"""Types of devices on which torch refuses to make float64 tensors."""


def has_float64(device: Any) -> bool:
    """Say whether tensors on a torch device can be float64."""
    return device.type not in WITHOUT_FLOAT64


def float64_home(device: Any) -> Any:
    """Return the device, or ``"cpu"`` where it has no float64."""
    return device if has_float64(device) else "cpu"
