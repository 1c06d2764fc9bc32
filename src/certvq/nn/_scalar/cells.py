"""Numbers to the cells between thresholds that they lie in, feature by feature.

In: latents, thresholds and what stands for each cell. Out: the entries of the cells, and their
places as one integer. By the compiled kernel where it can be, which gives the same numbers as the
torch operations beside it. Must not know where thresholds come from.
"""

import functools
from typing import NamedTuple

import torch

from certvq import _native
from certvq._native import thread_count
from certvq.nn._scalar.radix import join_digits, split_codes
from certvq.nn._scalar.thresholds import count_below
from certvq.nn._torch.functorch import apart
from certvq.nn._torch.modes import has_memory, transforming

_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integers as wide as entries, which NumPy knows in all widths."""


class Cells(NamedTuple):
    """What is found for latents (N, D).

    Attributes:
        entries: (N, D), contiguous.
        codes: int64 (N,).
        lowest_share: scalar; which share of the digits is 0.
    """

    entries: torch.Tensor
    codes: torch.Tensor
    lowest_share: torch.Tensor


def find_cells(
    latents: torch.Tensor, limits: torch.Tensor, entries: torch.Tensor, levels: tuple[int, ...]
) -> Cells:
    """Count, for each feature of each latent, the limits that are less than it: its digit.

    Args:
        latents: (N, D), finite float32 or float64, detached.
        limits: (D, M) of the same type of number, increasing; +inf fills the end of short rows.
        entries: (D, M + 1), any type of number: what each digit stands for.
        levels: number of values of each digit; their product is at most 2^63.

    Guarantee: the same on every device, bit for bit: numbers are compared, and copied.
    Cost: ``N D M`` comparisons for few limits, ``N D log M`` for many; memory ``N D``.

    Example:
        >>> limits = torch.tensor([[-0.5, 0.5], [0.0, torch.inf]])
        >>> entries = torch.tensor([[-1.0, 0.0, 1.0], [-1.0, 1.0, 0.0]])
        >>> found = find_cells(torch.tensor([[0.5, 0.1], [3.0, 0.0]]), limits, entries, (3, 2))
        >>> found.entries.tolist(), found.codes.tolist()
        ([[0.0, 1.0], [1.0, -1.0]], [4, 2])
    """
    if transforming():
        step = functools.partial(_entries_and_codes, levels)
        found, codes = apart(step, [latents], [limits, entries])
        zeros = split_codes(codes, levels) == 0
        return Cells(found, codes, zeros.sum() / max(1, zeros.numel()))
    if _native.AVAILABLE and latents.device.type == "cpu" and has_memory(latents):
        return _by_kernel(latents, limits, entries, levels)
    return _by_torch(latents, limits, entries, levels)


def _entries_and_codes(
    levels: tuple[int, ...], latents: torch.Tensor, limits: torch.Tensor, entries: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    found = find_cells(latents, limits, entries, levels)
    return found.entries, found.codes


def _by_kernel(
    latents: torch.Tensor, limits: torch.Tensor, entries: torch.Tensor, levels: tuple[int, ...]
) -> Cells:
    found = torch.empty(latents.shape, dtype=entries.dtype)
    codes = torch.empty(len(latents), dtype=torch.int64)
    bits = _BITS[entries.dtype.itemsize]
    lowest = _native.round_to_grid(
        latents.resolve_neg().numpy(),
        limits.numpy(),
        entries.view(bits).numpy(),
        levels,
        (found.view(bits).numpy(), codes.numpy()),
        thread_count(),
    )
    return Cells(found, codes, torch.scalar_tensor(lowest / max(1, latents.numel())))


def _by_torch(
    latents: torch.Tensor, limits: torch.Tensor, entries: torch.Tensor, levels: tuple[int, ...]
) -> Cells:
    digits = count_below(latents.T.contiguous(), limits)
    found = entries.gather(1, digits.long()).T.contiguous()
    lowest = (digits.numel() - torch.count_nonzero(digits)) / max(1, digits.numel())
    return Cells(found, join_digits(digits, levels), lowest)
