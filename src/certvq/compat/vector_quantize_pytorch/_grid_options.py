"""Options that several of the original's classes share.

In: keywords as the original takes them. Out: what they mean, or a named error. Must not know of any
quantizer.
"""

import torch
from torch import nn

from certvq.errors import OptionError, ShapeError
from certvq.nn._core.codes import require_integers

_INT32_CODES = 2**31
_LISTED_CODES = 2**24


def keep_codebooks(keep: bool | None, num_codebooks: int) -> bool:
    """Say whether indices have an axis for the codebooks.

    Raises:
        OptionError: several codebooks without an axis.
    """
    if keep is None:
        return num_codebooks > 1
    if num_codebooks > 1 and not keep:
        text = f"keep_num_codebooks_dim must not be False with num_codebooks={num_codebooks}"
        raise OptionError(text)
    return keep


def grid_of(indices: torch.Tensor, codebooks: int | None) -> tuple[int, ...]:
    """Return the shape of indices without the axis of the codebooks.

    Args:
        indices: integers (b, ...).
        codebooks: how many there are, or None where they have no axis.

    Raises:
        DTypeError: no dense tensor of integers.
        ShapeError: another number of codebooks.
    """
    require_integers(indices)
    shape = tuple(indices.shape)
    if codebooks is None:
        return shape
    if shape[-1:] != (codebooks,):
        text = f"indices must have a last axis of size num_codebooks={codebooks}, got shape {shape}"
        raise ShapeError(text)
    return shape[:-1]


def projections(dim: int, inner: int, *, bias: bool = True) -> tuple[nn.Module, nn.Module]:
    """Return the maps into and out of `inner` features; identities where there are as many."""
    if dim == inner:
        return nn.Identity(), nn.Identity()
    return nn.Linear(dim, inner, bias=bias), nn.Linear(inner, dim, bias=bias)


def index_type(codebook_size: int) -> torch.dtype:
    """Return int32, the original's type of indices, or int64 where that is too narrow."""
    return torch.int32 if codebook_size <= _INT32_CODES else torch.int64


def all_indices(codebook_size: int, device: torch.device) -> torch.Tensor:
    """Return ``range(codebook_size)`` for those who want a whole codebook in memory.

    Raises:
        OptionError: more than 2^24 codes.
    """
    if codebook_size > _LISTED_CODES:
        text = (
            f"a codebook is listed up to 2^24 codes, got {codebook_size}; use indices_to_codes for "
            "the codes that you need"
        )
        raise OptionError(text)
    return torch.arange(codebook_size, device=device)
