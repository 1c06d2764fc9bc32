"""Refuse what is not a tensor of codes.

In: what a caller wants to decode. Out: int64 codes. Must not know of codebooks but their size.
"""

import torch

from certvq.errors import CodeRangeError, DTypeError, ShapeError

_INTEGERS = (
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint8,
    torch.uint16,
    torch.uint32,
    torch.uint64,
)


def require_codes(codes: torch.Tensor, codebook_size: int, rank: int) -> torch.Tensor:
    """Read codes as int64.

    Args:
        codes: integers of any width.
        codebook_size: K.
        rank: number of axes that they must have.

    Returns:
        The codes, int64.

    Raises:
        DTypeError: not integers.
        ShapeError: another number of axes.
        CodeRangeError: a code outside ``range(K)``; the text names the first place.
    """
    if codes.dtype not in _INTEGERS:
        got = str(codes.dtype).removeprefix("torch.")
        text = f"codes must be integers, got {got}; convert them, for example with .long()"
        raise DTypeError(text)
    if codes.ndim != rank:
        text = f"codes must have {rank} axes, got shape {tuple(codes.shape)}"
        raise ShapeError(text)
    wide = codes.long()
    bad = torch.nonzero((wide < 0) | (wide >= codebook_size))
    if len(bad):
        place = tuple(bad[0].tolist())
        text = (
            f"codes must lie in range({codebook_size}), got {int(wide[place])} at position {place} "
            f"({len(bad)} bad codes in all); they belong to another codebook, or are damaged"
        )
        raise CodeRangeError(text)
    return wide
