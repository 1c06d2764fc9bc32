"""What the original's residual quantizers without a codebook share.

In: the layers of a residual quantizer. Out: random depths, and vectors of indices. Must not
quantize.
"""

import random

import torch

from certvq.errors import CodeRangeError, OptionError, ShapeError
from certvq.nn._core.codes import require_range
from certvq.nn._core.distributed import copy_from_first

_SEEDS = 10_000


class Depth:
    """How many levels a training step uses, drawn as the original draws it.

    Args:
        levels: how many there are.
        dropout: whether levels are dropped at all.
        cutoff: place of the last level that is always used.
        multiple_of: depths are multiples of this.

    Raises:
        OptionError: an option out of its range.
    """

    def __init__(self, levels: int, *, dropout: bool, cutoff: int, multiple_of: int) -> None:
        if levels < 1:
            text = f"num_quantizers must be at least 1, got {levels}"
            raise OptionError(text)
        if not 0 <= cutoff < levels:
            text = f"quantize_dropout_cutoff_index must lie in range({levels}), got {cutoff}"
            raise OptionError(text)
        if multiple_of < 1:
            text = f"quantize_dropout_multiple_of must be at least 1, got {multiple_of}"
            raise OptionError(text)
        self.levels = levels
        self.dropout = dropout and levels > 1
        self.cutoff = cutoff
        self.multiple_of = multiple_of

    def draw(self, seed: int | None, device: torch.device, *, training: bool) -> int:
        """Return how many levels are used."""
        if not (training and self.dropout and torch.is_grad_enabled()):
            return self.levels
        chosen = draw_seed(device) if seed is None else seed
        last = random.Random(chosen).randrange(self.cutoff, self.levels)  # noqa: S311 (no secret)
        whole = -(-(last + 1) // self.multiple_of) * self.multiple_of
        return min(self.levels, whole)


def draw_seed(device: torch.device) -> int:
    """Draw a seed, the same on all processes."""
    seed = torch.randint(0, _SEEDS, (), device=device)
    copy_from_first([seed])
    return int(seed)


def vectors_of(
    indices: torch.Tensor, *, levels: int, codebook_size: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Read the indices of each level, -1 where it was not used.

    Args:
        indices: (b, ..., q) with q up to the number of levels.
        levels: how many there are.
        codebook_size: K of every level.

    Returns:
        For each level of `indices`: (b, ...) in ``range(K)``, and where they stand for -1.

    Raises:
        ShapeError: more levels than there are.
        CodeRangeError: an index outside ``range(K)`` that is not -1, or one that follows -1.
    """
    if not 1 <= indices.shape[-1] <= levels:
        text = (
            f"indices must have 1 to {levels} levels on their last axis, got shape "
            f"{tuple(indices.shape)}"
        )
        raise ShapeError(text)
    wide = indices.long()
    dropped = wide == -1
    if bool((dropped[..., :-1] & ~dropped[..., 1:]).any()):
        text = "indices must not follow -1, which says that a level and all after it were left out"
        raise CodeRangeError(text)
    whole = require_range(wide.masked_fill(dropped, 0), codebook_size)
    return list(zip(whole.unbind(-1), dropped.unbind(-1), strict=True))
