"""State of the original's modules under the names that certvq has.

In: a state dict of either. Out: the module's own names. Must not know of quantizers.
"""

from typing import Any, ClassVar

from certvq.compat.vector_quantize_pytorch._loaded import Loaded


class Renamed(Loaded):
    """A module that loads state dicts with the original's names, and with its own.

    Attributes:
        renames: beginnings of the original's names, each with what stands for it here, or None for
            what has no counterpart.
    """

    renames: ClassVar[dict[str, str | None]] = {}

    def translate(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Replace the original's names by ours; see `Loaded`."""
        for old, new in self.renames.items():
            for name in [name for name in state_dict if name.startswith(prefix + old)]:
                value = state_dict.pop(name)
                if new is not None:
                    state_dict[prefix + new + name.removeprefix(prefix + old)] = value
