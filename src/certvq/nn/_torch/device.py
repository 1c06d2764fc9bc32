"""Where layers are made, and that what they are given is there, too.

In: a module and a tensor. Out: a device, or a named error. Must not move anything.
"""

from collections.abc import Iterator

import torch
from torch import nn

from certvq.errors import DeviceError


def default_device() -> torch.device:
    """Return the device that torch makes tensors on.

    `torch.get_default_device` of torch 2.6 does not see ``with torch.device(...)``.

    Example:
        >>> with torch.device("meta"):
        ...     default_device()
        device(type='meta')
    """
    return torch.empty(0).device


def require_same_device(module: nn.Module, given: torch.Tensor, name: str) -> None:
    """Require a tensor to be where the first parameter or buffer of a layer is.

    Compilers and exporters see to that themselves.

    Args:
        module: the layer; one without parameters and buffers takes tensors of every device.
        given: the tensor.
        name: what to call it.

    Raises:
        DeviceError: another device, or a layer on the meta device, which has no numbers.

    Example:
        >>> require_same_device(nn.Linear(2, 2, device="meta"), torch.zeros(1, 2), "latents")
        Traceback (most recent call last):
        certvq.errors.DeviceError: latents and the layer must be on one device, got latents on cpu \
and Linear on meta; give the layer numbers with .to_empty and load_state_dict
    """
    if torch.compiler.is_compiling():
        return
    own = next(_tensors(module), None)
    if own is None or own.device == given.device:
        return
    remedy = (
        f"make {name} elsewhere, for the meta device has no numbers"
        if given.device.type == "meta"
        else "give the layer numbers with .to_empty and load_state_dict"
        if own.device.type == "meta"
        else "move one of them with .to"
    )
    text = (
        f"{name} and the layer must be on one device, got {name} on {given.device} and "
        f"{type(module).__name__} on {own.device}; {remedy}"
    )
    raise DeviceError(text)


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):  # noqa: SLF001 (cheap to look at)
            for tensor in tensors.values():
                if tensor is not None:
                    yield tensor
