"""Recognise the argmin of scores in a call of a torch function, and put other codes in its place.

In: a torch function and its arguments. Out: a `Selection`. Must not compute codes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

_INDEX = {
    torch.argmin: 1,
    torch.Tensor.argmin: 1,
    torch.argmax: -1,
    torch.Tensor.argmax: -1,
}
_PAIR = {torch.min: 1, torch.Tensor.min: 1, torch.max: -1, torch.Tensor.max: -1}
_TOPK = (torch.topk, torch.Tensor.topk)
_SORTS = (
    *_TOPK,
    *(torch.sort, torch.Tensor.sort, torch.argsort, torch.Tensor.argsort),
    *(torch.kthvalue, torch.Tensor.kthvalue),
)
_AWAY = (torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__)
"""What is chosen after these, nobody sees."""

_OTHERS = (*_SORTS, *_AWAY, torch.msort, torch.Tensor.msort, torch.multinomial)

CHOICES = frozenset((*_INDEX, *_PAIR, *_OTHERS))
"""Functions that choose codes, or take scores to where nobody sees them chosen."""


@dataclass(frozen=True, eq=False)
class Selection:
    """An argmin, argmax or topk over the last axis of floating scores.

    Attributes:
        scores: (..., K).
        sign: 1 where the least score wins, -1 where the greatest does.
        gives_values: whether the call returns the winning scores as well.
        keepdim: whether it keeps the last axis, with length 1.
        count: how many codes a topk chooses, the best first; None for one, without an axis.
    """

    scores: torch.Tensor
    sign: int
    gives_values: bool
    keepdim: bool
    count: int | None = None

    def codes_in(self, result: Any) -> torch.Tensor:
        """Return the codes (...,), or (..., count), within what the call returned."""
        codes = result[1] if self.gives_values else result
        return codes.squeeze(-1) if self.keepdim else codes

    def result_with(self, codes: torch.Tensor) -> Any:
        """Return what the call would return, had it chosen these codes, as `codes_in` has them."""
        if self.count is not None:
            return torch.return_types.topk((self.scores.gather(-1, codes), codes))
        kept = codes.unsqueeze(-1)
        shown = kept if self.keepdim else codes
        if not self.gives_values:
            return shown
        values = self.scores.gather(-1, kept)
        pair = torch.return_types.min if self.sign > 0 else torch.return_types.max
        return pair((values if self.keepdim else values.squeeze(-1), shown))


def read_selection(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Selection | None:
    """Return the selection that a call of a torch function makes; None if it makes none."""
    sign = _INDEX.get(func) or _PAIR.get(func)
    if sign is None:
        return None
    scores: Any = args[0] if args else kwargs.get("input")
    dim = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else None))
    keepdim = kwargs.get("keepdim", kwargs.get("keepdims", args[2] if len(args) > 2 else False))
    if not is_scores(scores) or "out" in kwargs:
        return None
    if dim is None and scores.ndim == 1 and func in _INDEX:
        dim = -1
    if not isinstance(dim, int) or dim not in (-1, scores.ndim - 1):
        return None
    return Selection(scores, sign, gives_values=func in _PAIR, keepdim=bool(keepdim))


def read_ranking(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Selection | None:
    """Return the selection that a call of `topk` makes; None if it makes none."""
    if func not in _TOPK:
        return None
    names = ("input", "k", "dim", "largest")
    given: dict[str, Any] = (
        {"dim": -1, "largest": True} | dict(zip(names, args, strict=False)) | kwargs
    )
    scores: Any = given.get("input")
    count, dim = given.get("k"), given["dim"]
    if not is_scores(scores) or not isinstance(count, int) or "out" in kwargs:
        return None
    if dim not in (-1, scores.ndim - 1):
        return None
    sign = -1 if given["largest"] else 1
    return Selection(scores, sign, gives_values=True, keepdim=False, count=count)


def other_choice(func: Callable[..., Any], args: tuple[Any, ...]) -> torch.Tensor | None:
    """Return the scores from which a call chooses otherwise than by one argmin."""
    return args[0] if func in _OTHERS and args and is_scores(args[0]) else None


def chosen_along(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[int, ...] | None:
    """Return the shape of a matrix, or more, of scores from which a call chooses, that axis last.

    None if it chooses nothing, or by another axis than one.
    """
    sorts = func in _SORTS
    if not (sorts or func in _INDEX or func in _PAIR):
        return None
    scores: Any = args[0] if args else kwargs.get("input")
    place = 2 if func in _TOPK or getattr(func, "__name__", "") == "kthvalue" else 1
    dim = args[place] if len(args) > place else kwargs.get("dim", -1 if sorts else None)
    if not is_scores(scores) or scores.ndim < 2 or type(dim) is not int:
        return None
    shape = list(scores.shape)
    chosen = shape.pop(dim)
    return (*shape, chosen)


def is_scores(value: Any) -> bool:
    """Say whether a value can be scores: a floating tensor with an axis of codes."""
    return isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim > 0
