"""Codebooks that move once for several training batches.

In: a module with quantizers somewhere in it. Out: a context. Must not know of families.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from certvq.nn._vector.vector_quantize import VectorQuantize


@contextmanager
def accumulate(module: nn.Module) -> Iterator[None]:
    """Let the codebooks in a module move once for all training batches of the body.

    What waits from before is taken in when the body begins. Then counts and sums of its batches are
    added up, and the first training forward after it averages them as one batch, or lets the inner
    optimiser of `Online` take one step. Within the body no code is revived but before the first
    batch. Codebooks that learn by `Gradient` move when their optimiser does, and are left to it.

    Args:
        module: a quantizer, or a model that holds some.

    Example:
        >>> import torch
        >>> from certvq.nn import VectorQuantize
        >>> layer = VectorQuantize(2, 4)
        >>> with accumulate(layer):
        ...     losses = [layer(torch.randn(1, 8, 2)).loss for _ in range(4)]
    """
    parts = [part for part in module.modules() if isinstance(part, VectorQuantize)]
    before = [part.statistics.held for part in parts]
    try:
        for part in parts:
            part.settle()
            part.statistics.held = True
        yield
    finally:
        for part, held in zip(parts, before, strict=True):
            part.statistics.held = held
