"""State dicts with the original's names or ours; attributes that cannot be set.

In: either. Out: a module that loads it, or refuses as a whole what no quantizer can work with. Must
not know of quantizers.
"""

from typing import Any, ClassVar

import torch
from torch import nn

from certvq.nn._core.loading import require_finite_state

_BOOKS = frozenset({"codebook", "codebooks", "implicit_codebook"})

_WHERE = {
    "VectorQuantize": "set codebook",
    "ResidualVQ": "set codebooks, the code vectors of each level",
    "GroupedResidualVQ": "set codebooks, those of each level of each group",
    "HierarchicalVQ": "set get_vq(level)._codebook.embed",
    "SimVQ": "set frozen_codebook, which code_transform maps",
    "ResidualSimVQ": "set layers[level].frozen_codebook, which code_transform maps",
    "LatentQuantize": "write to values_per_latent",
    "RandomProjectionQuantizer": "set codebooks",
}
"""Where the code vectors of a class can be set."""


class Loaded(nn.Module):
    """A module that loads states of the original, and none with NaN or infinity in it.

    Attributes:
        fixed: attributes that say what the module was built with. Others do the work, so that to
            set one of these would change nothing, and is refused.
    """

    fixed: ClassVar[frozenset[str]] = frozenset()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _BOOKS and name not in self._buffers and name not in self._parameters:
            self._set_books(name, value)
            return
        if name in self.fixed and name in vars(self):
            kind = type(self).__name__
            text = (
                f"{name} of {kind} is fixed when it is built, but {value!r} was assigned to it; "
                f"build another {kind} with it, and load the state dict of this one"
            )
            raise AttributeError(text)
        super().__setattr__(name, value)

    def _set_books(self, name: str, value: Any) -> None:
        """Set code vectors where that is possible; `nn.Module` would keep a name of no meaning."""
        known = getattr(type(self), name, None)
        if isinstance(known, property) and known.fset is not None:
            known.fset(self, value)
            return
        kind = type(self).__name__
        where = _WHERE.get(kind, "its code vectors follow from what it was built with")
        text = f"{name} of {kind} cannot be set; {where}"
        raise AttributeError(text)

    def translate(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Replace the original's names by ours, where there are any.

        Args:
            state_dict: is changed.
            prefix: where the module stands in it.
        """

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        own = {
            name: value
            for name, value in state_dict.items()
            if name.startswith(prefix) and not _is_unset(name, state_dict)
        }
        require_finite_state(own)
        self.translate(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _is_unset(name: str, state: dict[str, Any]) -> bool:
    """Say whether the original has not yet written to a moment: it is what memory held before."""
    waits = state.get(f"{name}_needs_init")
    return isinstance(waits, torch.Tensor) and bool(waits)
