"""Refuse states that no quantizer can work with, before any of it is loaded.

In: a state dict. Out: nothing, or a named error. Must not know of any family, nor load anything.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from certvq.errors import NonFiniteError
from certvq.nn._torch.modes import holds_numbers
from certvq.nn._torch.packed import is_packed, unpack

_EXTRA = "_extra_state"


class CheckedState(nn.Module):
    """A module that loads no state with NaN or infinity in it, and then none of it."""

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        require_finite_state(self._own_state(state_dict, prefix))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _own_state(self, state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        """Return what a state dict has for this module and those in it.

        Args:
            state: by name.
            prefix: where the module stands, ``""`` or something with a dot at its end.
        """
        members = itertools.chain(
            self.named_parameters(remove_duplicate=False),
            self.named_buffers(remove_duplicate=False),
        )
        names = {prefix + name for name, _ in members}
        names |= {name for name in state if name.startswith(prefix) and name.endswith(_EXTRA)}
        return {name: value for name, value in state.items() if name in names}


def require_finite_state(state: Mapping[str, Any]) -> None:
    """Refuse a state that holds NaN or infinity anywhere.

    Args:
        state: tensors, or nested containers of tensors, by name.

    Raises:
        NonFiniteError: names the first such tensor and place in it.

    Cost: one pass.

    Example:
        >>> try:
        ...     require_finite_state({"codebook": torch.tensor([[1.0, float("nan")]])})
        ... except NonFiniteError as error:
        ...     print(str(error).partition(";")[0])
        'codebook' in the state must be finite, got nan at [0, 1]
    """
    for name, value in state.items():
        for tensor in _tensors(value):
            if not (holds_numbers(tensor) and tensor.is_floating_point()):
                continue
            finite = torch.isfinite(tensor.detach())
            if bool(finite.all()):
                continue
            place = torch.nonzero(~finite)[0].tolist()
            text = (
                f"{name!r} in the state must be finite, got {float(tensor[tuple(place)])} at "
                f"{place}; nothing of the quantizer has been loaded: load a state that was saved "
                "before its numbers were lost"
            )
            raise NonFiniteError(text)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if is_packed(value):
        yield from _tensors(unpack(value))
    elif isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)
