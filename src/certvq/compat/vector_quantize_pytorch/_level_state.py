"""The original's state of one layer put where certvq's layers expect it.

In: a state dict of the original. Out: the same dict with certvq's names. Must not know of classes
that hold layers.
"""

from collections.abc import Mapping
from typing import Any

from certvq.compat.vector_quantize_pytorch._state import BUFFERS, MOMENTS, has_layer, layer_state
from certvq.nn import VectorQuantize

_KNOWN = {*BUFFERS, *MOMENTS}


def take_layer_state(state: dict[str, Any], old: str, layers: Mapping[str, VectorQuantize]) -> None:
    """Replace, in place, the original's entries of one layer by certvq's, if they are there.

    Args:
        state: a state dict.
        old: where the original keeps the layer, up to the dot before ``_codebook``.
        layers: what shall load each of its codebooks, by where certvq keeps it, up to the dot. One
            that sums no tokens gets no sums, and what the original does not have stays as it is.

    Raises:
        FileFormatError: a part of the original's state is missing.
    """
    if not has_layer(state, old):
        return
    for head, (new, level) in enumerate(layers.items()):
        found: dict[str, Any] = dict(layer_state(state, old, head=head))
        for name, value in level.state_dict().items():
            state[f"{new}{name}"] = found.get(name, value)
    start = f"{old}_codebook."
    for name in [name for name in state if name.startswith(start)]:
        if name.removeprefix(start).removesuffix("_needs_init") in _KNOWN:
            del state[name]
