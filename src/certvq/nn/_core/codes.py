"""Refuse what is not a tensor of codes.

In: what a caller wants to decode. Out: int64 codes. Must not know of codebooks but their size.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch

from certvq.errors import CodeRangeError, DTypeError, ShapeError
from certvq.nn._core.latents import PADDING, require_dense
from certvq.nn._torch.modes import beneath, exporting, sizes, transforming
from certvq.nn._torch.tracing import required

Sizes: TypeAlias = "int | tuple[Sizes, ...]"
"""K of every place of a code: one for all, or one for each place of the last axes."""

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


def require_integers(codes: torch.Tensor) -> torch.Tensor:
    """Read a tensor of integers of any width as int64.

    Raises:
        DTypeError: no dense tensor, or no integers.
    """
    require_dense(codes, "codes")
    if codes.dtype not in _INTEGERS:
        got = str(codes.dtype).removeprefix("torch.")
        text = f"codes must be integers, got {got}; convert them, for example with .long()"
        raise DTypeError(text)
    return codes.long()


def require_codes(
    codes: torch.Tensor, rank: int, *, code_shape: tuple[int, ...] = ()
) -> torch.Tensor:
    """Read codes as int64.

    Args:
        codes: integers of any width.
        rank: number of axes of the grid of tokens.
        code_shape: sizes of the axes that follow, of the codes of one token.

    Returns:
        The codes, int64.

    Raises:
        DTypeError: no dense tensor, or no integers.
        ShapeError: another number of axes, or other sizes of the last ones.
    """
    wide = require_integers(codes)
    shape = sizes(codes)
    if len(shape) != rank + len(code_shape) or shape[rank:] != code_shape:
        last = f", the last of sizes {code_shape}" if code_shape else ""
        text = f"codes must have {rank + len(code_shape)} axes{last}, got shape {shape}"
        raise ShapeError(text)
    return wide


def require_range(codes: torch.Tensor, codebook_size: Sizes) -> torch.Tensor:
    """Refuse codes that have no code vector.

    Args:
        codes: integers of any width.
        codebook_size: K, at most 2^63, or one K for each place of the last axis, or of the last
            two axes.

    Returns:
        The codes, int64.

    Raises:
        DTypeError: no dense tensor, or no integers.
        CodeRangeError: a code outside ``range(K)``; the text names the first place.

    Example:
        >>> require_range(torch.tensor([[3, 1], [0, 1]]), (4, 2))
        tensor([[3, 1],
                [0, 1]])
    """
    require_integers(codes)
    codes = codes.long()  # a narrower type would wrap K - 1
    highest = torch.tensor(_highest(codebook_size), device=codes.device)
    if exporting():
        return codes + required((codes >= 0) & (codes <= highest))
    if torch.compiler.is_compiling():
        return in_range_operator(codes, highest)
    _refuse(beneath(codes) if transforming() else codes, highest)
    return codes


@torch.library.custom_op("certvq::in_range", mutates_args=())
def in_range_operator(codes: torch.Tensor, highest: torch.Tensor) -> torch.Tensor:
    """Return a copy of codes that are all in range: what compilers see of `require_range`."""
    _refuse(codes, highest)
    return codes.clone()


@in_range_operator.register_fake
def _(codes: torch.Tensor, highest: torch.Tensor) -> torch.Tensor:
    del highest
    return torch.empty_like(codes)


def _refuse(codes: torch.Tensor, highest: torch.Tensor) -> None:
    bad = torch.nonzero((codes < 0) | (codes > highest))
    if not len(bad):
        return
    place = tuple(map(int, bad[0]))  # torch 2.6 has no `tolist` under `torch.func.grad`
    code = int(codes[place])
    remedy = (
        "decode padding with the mask that it was encoded with"
        if code == PADDING
        else "they belong to another codebook, or are damaged"
    )
    size = int(highest.expand_as(codes)[place]) + 1
    text = (
        f"codes must lie in range({size}), got {code} at position {place} "
        f"({len(bad)} bad codes in all); {remedy}"
    )
    raise CodeRangeError(text)


def _highest(sizes: Sizes) -> Any:
    return sizes - 1 if isinstance(sizes, int) else [_highest(size) for size in sizes]


def spread_sizes(sizes: Sequence[Sizes], shape: tuple[int, ...]) -> Sizes:
    """Say K of parts whose codes stand side by side.

    Args:
        sizes: K of each part.
        shape: the code shape of every part.

    Returns:
        The K that all have, or a tuple of one entry for each part.

    Example:
        >>> spread_sizes([4, 4], ()), spread_sizes([4, (2, 3)], (2,))
        (4, ((4, 4), (2, 3)))
    """
    if all(size == sizes[0] for size in sizes):
        return sizes[0]
    return tuple(_each(size, shape) for size in sizes)


def _each(size: Sizes, shape: tuple[int, ...]) -> Sizes:
    """Write K down once for each place of the first axes that it has no entries for."""
    rank = 0
    inner: Sizes = size
    while isinstance(inner, tuple):
        inner, rank = inner[0], rank + 1
    for places in reversed(shape[: len(shape) - rank]):
        size = (size,) * places
    return size
