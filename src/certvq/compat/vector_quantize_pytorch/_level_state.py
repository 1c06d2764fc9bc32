"""The original's state of one level put where certvq's level expects it.

In: a state dict of the original. Out: the same dict with certvq's names. Must not know of classes
that hold levels.
"""

from typing import Any

from certvq.compat.vector_quantize_pytorch._state import has_layer, layer_state
from certvq.nn import VectorQuantize


def take_layer_state(state: dict[str, Any], old: str, new: str, level: VectorQuantize) -> None:
    """Replace, in place, the original's entries of one codebook by certvq's, if they are there.

    Args:
        state: a state dict.
        old: where the original keeps the layer, up to the dot before ``_codebook``.
        new: where certvq keeps it, up to the dot.
        level: what shall load it; where it sums no tokens, sums are left out, and what the original
            does not have stays as it is.

    Raises:
        FileFormatError: a part of the original's state is missing.
    """
    if not has_layer(state, old):
        return
    found: dict[str, Any] = dict(layer_state(state, old))
    for name in ("statistics.sums", "statistics.pending_sums"):
        found[name] = found[name][:, : level.statistics.sums.shape[1]]
    for name in [name for name in state if name.startswith(f"{old}_codebook.")]:
        del state[name]
    for name, value in level.state_dict().items():
        state[f"{new}{name}"] = found.get(name, value)
