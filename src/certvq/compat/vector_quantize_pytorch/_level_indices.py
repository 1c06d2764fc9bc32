"""Indices of all levels, for residual quantizers without a codebook.

In: indices as users have them. Out: those of each level, and where a level was left out. Must not
quantize.
"""

import torch

from certvq.errors import CodeRangeError, ShapeError
from certvq.nn._core.codes import require_codes, require_range
from certvq.nn._torch.modes import beneath, holds_numbers, sizes


def vectors_of(
    indices: torch.Tensor, *, levels: int, codebook_size: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Read the indices of each level, -1 where it was not used.

    Args:
        indices: (b, ..., q), q up to the number of levels.
        levels: how many there are.
        codebook_size: K of every level.

    Returns:
        For each level of `indices`: (b, ...) in ``range(K)``, and where they stand for -1.

    Raises:
        ShapeError: more levels than there are.
        DTypeError: indices that are not integers.
        CodeRangeError: an index outside ``range(K)`` that is not -1, or one that follows -1.
    """
    if not indices.ndim or not 1 <= sizes(indices)[-1] <= levels:
        text = (
            f"indices must have 1 to {levels} levels on their last axis, got shape "
            f"{tuple(indices.shape)}"
        )
        raise ShapeError(text)
    wide = require_codes(indices, indices.ndim)
    dropped = wide == -1
    last = torch.ones_like(dropped[..., :1])
    gaps = dropped & ~torch.cat([dropped[..., 1:], last], dim=-1)
    if holds_numbers(gaps) and bool(beneath(gaps).any()):
        text = "indices must not follow -1, which says that a level and all after it were left out"
        raise CodeRangeError(text)
    # Compilers and exporters find gaps here.
    whole = require_range(wide.masked_fill(dropped & ~gaps, 0), codebook_size)
    return list(zip(whole.unbind(-1), dropped.unbind(-1), strict=True))
