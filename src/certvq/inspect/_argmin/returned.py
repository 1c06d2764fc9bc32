"""Are the codes that a method returns those that it chose?

In: what a method returned, and the codes that it chose. Out: the codes that its caller gets. A
copied layer may carry them through a type that cannot hold them. Must not know any library.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

NARROW = (torch.uint8, torch.int8, torch.int16, torch.float16, torch.bfloat16)
"""Types that do not hold all codes of a large codebook."""

HELD_BY_ALL = 128
"""So many codes each of these types tells apart."""


def narrowed(result: object, codes: torch.Tensor) -> tuple[torch.dtype, torch.Tensor] | None:
    """Return the type through which the codes went, and what is left of them.

    Args:
        result: what the method returned: a tensor, or tensors within tuples, lists and mappings.
        codes: those that were chosen, int64 of any shape.

    Returns:
        The type and the codes that came back, of the shape of `codes`; None where the codes are
        among the result, or nothing in it is what a narrow type makes of them.
    """
    if not codes.numel() or int(codes.max()) < HELD_BY_ALL:
        return None
    flat, lost = codes.reshape(-1), None
    for tensor in _tensors(result):
        if tensor.numel() != flat.numel() or tensor.dtype == torch.bool or tensor.is_complex():
            continue
        came = tensor.detach().reshape(-1)
        came = came.to(flat) if not came.is_floating_point() else came
        if torch.equal(came.to(torch.float64), flat.to(torch.float64)):
            return None
        for kind in () if lost else NARROW:
            left = flat.to(kind)
            if torch.equal(came.to(torch.float64), left.to(torch.float64)):
                lost = kind, left.to(torch.int64).reshape(codes.shape)
    return lost


def _tensors(result: Any) -> Iterator[torch.Tensor]:
    if isinstance(result, torch.Tensor):
        yield result
    elif isinstance(result, Mapping | tuple | list):
        for each in result.values() if isinstance(result, Mapping) else result:
            yield from _tensors(each)
