"""Tables that a layer is built with, out of reach of whoever moves, loads or averages modules.

In: tables made when a module is built. Out: the same numbers on the device that asks for them. Must
not know what the tables mean.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from certvq.nn._torch.device import default_device
from certvq.nn._torch.modes import holds_numbers


class Constants(nn.Module):
    """A module with tables that are neither parameters nor buffers.

    Loaders that build on the meta device replace buffers one by one, leave those that no file holds
    as they are, or fill them with whatever memory held; others average or broadcast them. What is
    no buffer none of them finds. Tables go where the module goes, and to other devices at use.

    Attributes:
        kind: type of number of what the module makes: torch's default one, or what the module has
            been converted to.
        home: where the module was made or last moved to; the CPU for the meta device.
    """

    def __init__(self) -> None:
        super().__init__()
        self._constants: dict[str, torch.Tensor] = {}
        self._placed: dict[str, torch.Tensor] = {}
        self.kind = torch.get_default_dtype()
        self.home = _real(default_device(), torch.device("cpu"))

    def register_constant(self, name: str, numbers: torch.Tensor) -> None:
        """Keep a table.

        Args:
            name: by which `constant` finds it.
            numbers: made with ``device="cpu"``, so that there are some where the default device
                is meta.
        """
        self._constants[name] = numbers
        self._placed[name] = _moved(numbers, self.home)

    def constant(self, name: str, device: torch.device | None = None) -> torch.Tensor:
        """Return a table on a device; None is `home`."""
        device = self.home if device is None else device
        table = self._placed[name]
        if table.device == device:
            return table
        table = _moved(self._constants[name], device)
        if holds_numbers(table):
            self._placed[name] = table
        return table

    def _apply(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> "Constants":
        super()._apply(fn, *args, **kwargs)
        probe = fn(torch.empty(0, dtype=self.kind, device=self.home))
        self.kind, self.home = probe.dtype, _real(probe.device, self.home)
        for name, numbers in self._constants.items():
            self._placed[name] = _moved(numbers, self.home)
        return self


def _real(device: torch.device, instead: torch.device) -> torch.device:
    return instead if device.type == "meta" else device


def _moved(numbers: torch.Tensor, device: torch.device) -> torch.Tensor:
    if device.type == "mps" and numbers.dtype == torch.float64:
        return numbers  # there is no float64 there that could ask for it
    if torch.compiler.is_compiling():
        return numbers.to(device)
    with torch.inference_mode(False):  # what is made within cannot be used by autograd later
        return numbers.to(device)
