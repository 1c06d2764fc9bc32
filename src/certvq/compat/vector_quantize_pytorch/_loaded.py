"""State dicts with the original's names or ours.

In: either. Out: a module that loads it, or refuses as a whole what no quantizer can work with. Must
not know of quantizers.
"""

from typing import Any

from torch import nn

from certvq.nn._core.loading import require_finite_state


class Loaded(nn.Module):
    """A module that loads states of the original, and none with NaN or infinity in it."""

    def translate(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Replace the original's names by ours, where there are any.

        Args:
            state_dict: is changed.
            prefix: where the module stands in it.
        """

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        own = {name: value for name, value in state_dict.items() if name.startswith(prefix)}
        require_finite_state(own)
        self.translate(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
