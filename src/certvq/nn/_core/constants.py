"""Tables that follow a module from device to device, and survive where numbers do not.

In: tables made when a module is built. Out: buffers that are no part of the state dict, and hold
the same numbers on every device that has any. Must not know what the tables mean.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from certvq.nn._core.bits import floats_of
from certvq.nn._core.device import default_device
from certvq.nn._core.eager import exporting, holds_numbers, unrecorded


class Constants(nn.Module):
    """A module whose constants come back after ``.to_empty`` and from the meta device.

    A state dict does not hold them, so that nothing else could bring them back.
    """

    def __init__(self) -> None:
        super().__init__()
        self._constants: dict[str, torch.Tensor] = {}

    def register_constant(self, name: str, numbers: torch.Tensor) -> None:
        """Keep a table, and register it as a buffer on torch's default device.

        Args:
            name: of the buffer.
            numbers: made with ``device="cpu"``, so that there are some where the default device
                is meta.
        """
        self._constants[name] = numbers
        self.register_buffer(name, numbers.to(default_device()), persistent=False)

    def floats(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        """Return a table of integers as the floats whose bits they are.

        Args:
            name: of the buffer.
            dtype: floats of the same width.

        Returns:
            The floats; in a graph of `torch.jit.trace` or `torch.onnx.export` a constant, as these
            have no operator that reads integers as floats.
        """
        bits: torch.Tensor = getattr(self, name)
        if not exporting():
            return floats_of(bits, dtype)
        with unrecorded():
            return self._constants[name].view(dtype).to(bits.device)

    def _apply(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> "Constants":
        super()._apply(fn, *args, **kwargs)
        for name, numbers in self._constants.items():
            own = self._buffers[name]
            if own is not None and own is not numbers and holds_numbers(own):
                self._buffers[name] = numbers.to(own.device, own.dtype)
        return self
