"""More operators that move entries: shifts, reversals, repetitions, blocks of places.

In: arguments. Out: the same numbers elsewhere. Where a vector of channels becomes part of one, or
keeps its entries, its bound stays; where it grows, its bound counts for each entry.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch.nn import functional

from certvq.network._bounded import Bounded
from certvq.network._graph import Ref
from certvq.network._numbers import Numbers
from certvq.network.rules._rule import Arguments, Mask, Objects, Rule
from certvq.network.rules._shapes import CONCATENATION, Moving, follow_nothing, follow_reshape


def _lost(before: tuple[int, ...], after: tuple[int, ...], axis: int, arguments: Arguments) -> None:
    """Several vectors become one."""
    del before, after, axis, arguments


def _follow_size(
    before: tuple[int, ...], after: tuple[int, ...], axis: int, arguments: Arguments
) -> int | None:
    """The axis stays as long as nothing is repeated along it."""
    del arguments
    place = axis + len(after) - len(before)
    if place < 0:
        return None
    return place if after[place] == before[axis] else None


def _follow_shuffle(
    before: tuple[int, ...], after: tuple[int, ...], axis: int, arguments: Arguments
) -> int | None:
    """A vector falls into parts, each of which has at most its norm."""
    del after, arguments
    return axis if axis == len(before) - 3 else None


def _follow_windows(
    before: tuple[int, ...], after: tuple[int, ...], axis: int, arguments: Arguments
) -> int | None:
    """The axis that is cut into windows is lost."""
    del after
    return None if arguments["dimension"] % len(before) == axis else axis


def _follow_index(
    before: tuple[int, ...], after: tuple[int, ...], axis: int, arguments: Arguments
) -> int | None:
    """Only what one row of numbers chooses from another axis leaves the order of axes."""
    indices = arguments["indices"]
    rows = [each for each in indices if each is not None]
    same = len(rows) == 1 and rows[0].ndim == 1 and len(before) == len(after)
    return axis if same and (axis >= len(indices) or indices[axis] is None) else None


def _follow_roll(
    before: tuple[int, ...], after: tuple[int, ...], axis: int, arguments: Arguments
) -> int | None:
    """Without axes, all entries are one row."""
    del before, after
    return axis if arguments["dims"] else None


def _blocks(tensor: torch.Tensor, arguments: Arguments) -> torch.Tensor:
    high, wide = arguments["padding"]
    padded = functional.pad(tensor, (wide, wide, high, high), value=arguments["value"])
    names = ("kernel_size", "dilation", "stride")
    kernel, dilation, stride = (arguments[name] for name in names)
    return functional.unfold(padded, kernel, dilation, 0, stride)


def _index(tensor: torch.Tensor, arguments: Arguments) -> torch.Tensor:
    return tensor[tuple(slice(None) if i is None else i for i in arguments["indices"])]


def _moved(tensor: torch.Tensor, arguments: Arguments) -> torch.Tensor:
    return tensor.movedim(arguments["source"], arguments["destination"])


def _follow_moved(
    before: tuple[int, ...], after: tuple[int, ...], axis: int, arguments: Arguments
) -> int:
    """Axes of as many sizes show where each goes."""
    del after
    return _moved(torch.empty(tuple(range(len(before)))), arguments).shape.index(axis)


class Indexing(Moving):
    """Entries at places that are constant."""

    def refusal(self, arguments: Arguments) -> str:
        """Refuse places that depend on the input."""
        indices = [each for each in arguments["indices"] if each is not None]
        known = all(isinstance(each, torch.Tensor) for each in indices)
        return "" if known else "with indices that are computed of floats"


class Stacking(Rule):
    """Tensors one after another along a new axis: each gets it, and they are concatenated."""

    rational = True

    def bounded(self, arguments: Arguments) -> Bounded:
        """Concatenate the bounds."""
        parts = [_UNSQUEEZE.bounded({"self": each, **arguments}) for each in arguments["tensors"]]
        return CONCATENATION.bounded({"tensors": parts, "dim": arguments["dim"]})

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """Cut the mask where the tensors meet."""
        for place, each in enumerate(arguments["tensors"]):
            yield each, mask.take(place, arguments["dim"])

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:
        """Concatenate the numbers."""
        every: Any = mask
        parts = [
            _UNSQUEEZE.exact(numbers, {"self": each, **arguments}, every)
            for each in arguments["tensors"]
        ]
        return CONCATENATION.exact(numbers, {"tensors": parts, "dim": arguments["dim"]}, mask)


_UNSQUEEZE = Moving(lambda t, a: t.unsqueeze(a["dim"]), follow_reshape)
_REPEAT = Moving(lambda t, a: t.repeat(a["repeats"]), _follow_size)

RULES: dict[str, Rule] = {
    "flip.default": Moving(lambda t, a: t.flip(a["dims"]), follow_nothing),
    "im2col.default": Moving(
        _blocks,
        _lost,
    ),
    "index.Tensor": Indexing(_index, _follow_index),
    "movedim.int": Moving(_moved, _follow_moved),
    "movedim.intlist": Moving(_moved, _follow_moved),
    "pixel_shuffle.default": Moving(
        lambda t, a: functional.pixel_shuffle(t, a["upscale_factor"]), _follow_shuffle
    ),
    "pixel_unshuffle.default": Moving(
        lambda t, a: functional.pixel_unshuffle(t, a["downscale_factor"]), _lost
    ),
    "repeat.default": _REPEAT,
    "repeat_interleave.self_int": Moving(
        lambda t, a: t.repeat_interleave(a["repeats"], a.get("dim")), _follow_size
    ),
    "roll.default": Moving(lambda t, a: t.roll(a["shifts"], a["dims"]), _follow_roll),
    "stack.default": Stacking(),
    "unfold.default": Moving(
        lambda t, a: t.unfold(a["dimension"], a["size"], a["step"]), _follow_windows
    ),
}
