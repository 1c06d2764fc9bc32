"""The codebook of moshi, by which Kyutai's own Mimi tokenizes.

In: nothing. Out: `ADAPTERS`. Must not import moshi.
"""

from typing import Any

from torch import nn

from certvq.inspect._libraries.adapter import Adapter
from certvq.inspect._libraries.transformers import keeps_others


def _keeps_others(module: nn.Module) -> bool:
    """Say whether it keeps another ``embedding`` than that of ``embedding_sum``."""
    own: Any = module
    return keeps_others(module, own._embedding, own.embedding_sum)  # noqa: SLF001 (no other)


ADAPTERS = (
    Adapter(
        "moshi",
        ("EuclideanCodebook",),
        "_quantize",
        "moshi.",
        stale=_keeps_others,
        kept="_embedding",
    ),
)
