"""Random generators as part of a layer's state.

In: a layer and its `torch.Generator`, or None. Out: an entry of the state dict. Must not know what
is drawn.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from certvq.errors import DeviceError, FileFormatError

_CHILD = "generator_state"


def without_generators(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return what of a state dict says what a model computes, and not what it draws next."""
    return {k: v for k, v in state.items() if not k.endswith(f"{_CHILD}._extra_state")}


class Drawing(nn.Module):
    """A module that may draw from a generator of its own.

    A state dict has ``generator_state._extra_state``, uint8, where there is one. States without it
    load as well, and leave the generator as it is; layers without a generator pass it over.

    Attributes:
        generator: source of random choices; None is torch's default generator.
    """

    generator: torch.Generator | None = None

    def draw_from(self, generator: torch.Generator | None) -> None:
        """Take a generator, whose state is saved and loaded from now on."""
        self.generator = generator
        if generator is not None:
            self.add_module(_CHILD, GeneratorState(self))

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        if _CHILD not in self._modules:
            state_dict.pop(f"{prefix}{_CHILD}._extra_state", None)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class GeneratorState(nn.Module):
    """What puts the state of a module's generator into the state dict.

    A tensor, so that safetensors can write it; no buffer, so that nobody averages or broadcasts it.

    Args:
        owner: the module; its generator may be replaced.
    """

    def __init__(self, owner: Drawing) -> None:
        super().__init__()
        self._owner = [owner]  # in a list: no child of its child

    def get_extra_state(self) -> torch.Tensor:
        """Return the state of the generator, uint8."""
        generator = self._owner[0].generator
        return (torch.default_generator if generator is None else generator).get_state()

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Put the generator into a state.

        Raises:
            FileFormatError: what is no state of a generator.
            DeviceError: the state of a generator of another kind of device.
        """
        generator = self._owner[0].generator
        if generator is None or (isinstance(state, torch.Tensor) and state.is_meta):
            return
        if not isinstance(state, torch.Tensor) or state.dtype != torch.uint8 or state.ndim != 1:
            text = f"the state of a generator must be a uint8 tensor of one axis, got {state!r:.80}"
            raise FileFormatError(text)
        own = len(generator.get_state())
        if len(state) != own:
            text = (
                f"the state must be that of a generator on {generator.device}, {own} bytes, got "
                f"{len(state)} bytes; give the layer a generator on the device of the one that was "
                "saved, or none if it is to draw other numbers"
            )
            raise DeviceError(text)
        generator.set_state(state.cpu())

    def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> None:
        if self._owner[0].generator is not None:
            super()._save_to_state_dict(*args, **kwargs)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        key = f"{prefix}_extra_state"
        if key in state_dict:
            super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
