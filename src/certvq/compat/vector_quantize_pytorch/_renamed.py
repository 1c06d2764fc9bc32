"""State of the original's modules under the names that certvq has.

In: a state dict of either. Out: the module's own names. Must not know of quantizers.
"""

from typing import Any, ClassVar

from torch import nn


class Renamed(nn.Module):
    """A module that loads state dicts with the original's names, and with its own.

    Attributes:
        renames: beginnings of the original's names, each with what stands for it here, or None for
            what has no counterpart.
    """

    renames: ClassVar[dict[str, str | None]] = {}

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        for old, new in self.renames.items():
            for name in [name for name in state_dict if name.startswith(prefix + old)]:
                value = state_dict.pop(name)
                if new is not None:
                    state_dict[prefix + new + name.removeprefix(prefix + old)] = value
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
