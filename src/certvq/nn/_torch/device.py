"""Where modules are made, and how wide their numbers are kept.

In: modules. Out: a device; buffers that no conversion narrows. Must not know what is computed.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def default_device() -> torch.device:
    """Return the device that torch makes tensors on.

    `torch.get_default_device` of torch 2.6 does not see ``with torch.device(...)``.

    Example:
        >>> with torch.device("meta"):
        ...     default_device()
        device(type='meta')
    """
    return torch.empty(0).device


class WideBuffers(nn.Module):
    """A module whose float buffers are float32 or wider, whatever it is converted to."""

    def _apply(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> "WideBuffers":
        kept = dict(self._buffers)
        super()._apply(fn, *args, **kwargs)
        for name, old in kept.items():
            new = self._buffers[name]
            if old is None or new is None or not new.dtype.is_floating_point:
                continue
            if new.dtype.itemsize < torch.float32.itemsize:
                self._buffers[name] = old.to(new.device)
        return self
