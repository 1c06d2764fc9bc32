"""Vectors scaled to length one.

In: vectors. Out: the same directions, as rounded. Must not know of codebooks.
"""

import torch

from certvq.nn._torch.modes import holds_numbers, transforming

SHORTEST = 1e-6
"""Vectors shorter than this are divided by it instead of their length; zero stays zero."""


def unit_rows(vectors: torch.Tensor) -> torch.Tensor:
    """Divide each row by its Euclidean length, in float32 or wider; differentiable.

    Mathematics: ``v / max(|v|, 1e-6)``, as rounded: no row has length one to the bit.

    Args:
        vectors: (N, D) finite, any float type.

    Returns:
        (N, D).

    Example:
        >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    wide = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    lengths = torch.linalg.vector_norm(wide, dim=1, keepdim=True)
    overflow = torch.isinf(lengths.detach())  # of the squares, not of the numbers
    if not holds_numbers(vectors) or transforming() or bool(overflow.any()):
        largest = wide.detach().abs().amax(dim=1, keepdim=True)
        wide = wide / torch.where(overflow, largest, 1.0)
        lengths = torch.linalg.vector_norm(wide, dim=1, keepdim=True)
    return wide / lengths.clamp(min=SHORTEST)
