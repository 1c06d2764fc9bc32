"""Operators that move entries and compute nothing.

In: arguments. Out: the same numbers elsewhere, and where each came from. The operator itself is run
on the numbers of the entries, so that no index is computed twice.
"""

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from certvq.network._bounded import Bounded, entry_errors, whole_error
from certvq.network._bounds import enlargement, norm_upper
from certvq.network._graph import Ref
from certvq.network._numbers import Numbers
from certvq.network._region import Part, Region, shape_of, slices, whole
from certvq.network.rules._rule import Arguments, Mask, Objects, Rule

Move = Callable[[torch.Tensor, Arguments], torch.Tensor]
"""The operator on a float64 tensor, with the other arguments by name."""

Follow = Callable[[tuple[int, ...], tuple[int, ...], int, Arguments], int | None]
"""Where the axis of the channels goes, given the shapes before and after; None if it is lost."""

_FILLED = -1


class Moving(Rule):
    """An operator that moves entries.

    Args:
        move: the operator. Entries that it adds are those of `fill`.
        follow: where the axis of the channels goes.
        fill: value of the entries that it adds, from the arguments.
        modes: values of an argument ``mode`` that are supported.
        sizes: name of an argument that is the shape of the result.
    """

    rational = True

    def __init__(
        self,
        move: Move,
        follow: Follow,
        *,
        fill: Callable[[Arguments], float] = lambda _: 0.0,
        modes: tuple[str, ...] = (),
        sizes: str = "",
    ) -> None:
        self.move, self.follow, self.fill = move, follow, fill
        self.modes, self.sizes = modes, sizes

    def refusal(self, arguments: Arguments) -> str:
        """Refuse modes that are not known."""
        mode = arguments.get("mode")
        if self.modes and mode not in self.modes:
            return f"in mode {mode!r} (known: {', '.join(self.modes)})"
        return ""

    def bounded(self, arguments: Arguments) -> Bounded:
        """Move values and bounds alike; bounds of vectors only as long as these stay whole."""
        given: Bounded = next(iter(arguments.values()))
        value = self._moved(given.value, arguments, self.fill(arguments))
        axis = None
        if given.axis is not None:
            axis = self.follow(tuple(given.value.shape), tuple(value.shape), given.axis, arguments)
        spread = self._moved(entry_errors(given), arguments, 0.0)
        error = spread if axis is None else spread.amax(axis, keepdim=True)
        if given.whole is None or not value.ndim:
            return Bounded(value, error, axis)
        return Bounded(value, error, axis, self._whole(given, given.whole, value, arguments))

    def _whole(
        self, given: Bounded, whole: torch.Tensor, value: torch.Tensor, arguments: Arguments
    ) -> torch.Tensor:
        """Multiply by the root of how often an entry occurs.

        Entries of the first axis that do not stay together have the bound of all of them.
        """
        options = tuple((name, _frozen(arguments[name])) for name in list(arguments)[1:])
        known = _uses if _is_frozen(options) else _uses.__wrapped__
        uses, apart = known(self, tuple(given.value.shape), len(whole), options)
        if not apart:
            whole = norm_upper(whole, (0,)).expand(len(value))
        return whole * math.sqrt(uses) * enlargement(4)

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """Follow each entry to where it came from."""
        given: Ref = next(iter(arguments.values()))
        needed = np.zeros(math.prod(given.shape), bool)
        origin = self.origin(given.shape, arguments)[mask]
        needed[origin[origin != _FILLED]] = True
        yield given, needed.reshape(given.shape)

    def within(
        self, arguments: Arguments, region: Region, shape: tuple[int, ...]
    ) -> tuple[Arguments, Region] | None:
        """Cut axes if the entries that are left go where they go in the whole.

        A roll or a squeeze, for instance, may go by the size of an axis.
        """
        given: Ref = next(iter(arguments.values()))
        cut = (whole(given.shape), whole(shape))
        for axis, size in enumerate(given.shape):
            place = self.follow(given.shape, shape, axis, arguments)
            if place is None or region[place] == (0, size) or shape[place] != size:
                continue
            needed, made = (
                (*each[:at], region[place], *each[at + 1 :])
                for each, at in zip(cut, (axis, place), strict=True)
            )
            if self._agrees(arguments, self._of_part(arguments, needed, made), made):
                cut = needed, made
        return self._of_part(arguments, *cut), cut[1]

    def _of_part(self, arguments: Arguments, needed: Region, made: Region) -> Arguments:
        name, given = next(iter(arguments.items()))
        size = {self.sizes: list(shape_of(made))} if self.sizes else {}
        return {**arguments, name: Part(given, needed), **size}

    def _agrees(self, arguments: Arguments, changed: Arguments, made: Region) -> bool:
        """Say whether what is made of a part comes from where it comes from in the whole."""
        part: Part = next(iter(changed.values()))
        given = _numbered(part.ref.shape)[slices(part.region)]
        moved = self._moved(given, changed, _FILLED).numpy()
        return np.array_equal(moved, self.origin(part.ref.shape, arguments)[slices(made)])

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:  # noqa: ARG002
        """Fetch each entry from where it came from."""
        given: Objects = next(iter(arguments.values()))
        origin = self.origin(given.shape, arguments)
        moved = given.reshape(-1)[origin]
        added = origin == _FILLED
        if added.any():
            moved[added] = numbers.number(self.fill(arguments))
        return moved

    def _moved(self, tensor: torch.Tensor, arguments: Arguments, fill: float) -> torch.Tensor:
        return self.move(tensor, {**arguments, "value": fill})

    def origin(self, shape: tuple[int, ...], arguments: Arguments) -> np.ndarray:
        """Return the number of the entry that each entry of the result was, -1 where added."""
        return self._moved(_numbered(shape), arguments, _FILLED).to(torch.int64).numpy()


def _numbered(shape: tuple[int, ...]) -> torch.Tensor:
    """Return a tensor whose entries are their numbers."""
    return torch.arange(math.prod(shape), dtype=torch.float64).reshape(shape)


def _frozen(argument: Any) -> Any:
    return tuple(map(_frozen, argument)) if isinstance(argument, (list, tuple)) else argument


def _is_frozen(argument: Any) -> bool:
    """Return whether an argument is one of numbers and names, and so can be compared."""
    if isinstance(argument, tuple):
        return all(map(_is_frozen, argument))
    return argument is None or isinstance(argument, (int, float, str))


@lru_cache(256)
def _uses(
    rule: Moving, shape: tuple[int, ...], samples: int, options: tuple[tuple[str, Any], ...]
) -> tuple[int, bool]:
    """Return how often an entry occurs at most, and whether samples stay where they are."""
    origin = rule.origin(shape, {"self": None, **dict(options)})
    origin = origin.reshape(len(origin), -1)
    uses = int(np.bincount(origin.reshape(-1) - _FILLED)[1:].max(initial=1))
    rows = origin // (math.prod(shape) // max(1, samples))
    apart = (rows == np.arange(len(rows))[:, None]) | (origin == _FILLED)
    return uses, samples == len(origin) and bool(apart.all())


class Concatenation(Rule):
    """Tensors one after another along an axis."""

    rational = True

    def bounded(self, arguments: Arguments) -> Bounded:
        """Concatenate the bounds, or add their squares if the vectors themselves grow."""
        parts: list[Bounded] = list(arguments["tensors"])
        value = torch.cat([each.value for each in parts], arguments["dim"])
        along, axis = arguments["dim"] % value.ndim, parts[0].axis
        whole = None
        if along > 0 and any(each.whole is not None for each in parts):
            sizes = torch.stack([whole_error(each, tuple(each.value.shape)) for each in parts])
            whole = norm_upper(sizes, (0,)).flatten()
        if axis is None or any(each.axis != axis for each in parts):
            errors = [entry_errors(each) for each in parts]
            return Bounded(value, torch.cat(errors, along), None, whole)
        errors = torch.cat([each.error for each in parts], along)
        error = norm_upper(errors, (axis,)) if along == axis else errors
        return Bounded(value, error, axis, whole)

    def needs(self, arguments: Arguments, mask: Mask) -> Iterable[tuple[Ref, Mask]]:
        """Cut the mask where the tensors meet."""
        parts: list[Ref] = list(arguments["tensors"])
        axis = arguments["dim"]
        ends = np.cumsum([each.shape[axis] for each in parts])[:-1]
        return zip(parts, np.split(mask, ends, axis), strict=True)

    def within(
        self, arguments: Arguments, region: Region, shape: tuple[int, ...]
    ) -> tuple[Arguments, Region]:
        """Cut the other axes."""
        axis = arguments["dim"] % len(shape)

        def across(size: int) -> Region:
            return (*region[:axis], (0, size), *region[axis + 1 :])

        parts = [Part(each, across(each.shape[axis])) for each in arguments["tensors"]]
        return {**arguments, "tensors": parts}, across(shape[axis])

    def exact(self, numbers: Numbers, arguments: Arguments, mask: Mask) -> Objects:  # noqa: ARG002
        """Concatenate the numbers."""
        return np.concatenate(arguments["tensors"], arguments["dim"])


def follow_permutation(
    before: tuple[int, ...], after: tuple[int, ...], axis: int, arguments: Arguments
) -> int:
    """Follow an axis through a permutation."""
    del after
    return [each % len(before) for each in arguments["dims"]].index(axis)


def follow_transposition(
    before: tuple[int, ...], after: tuple[int, ...], axis: int, arguments: Arguments
) -> int:
    """Follow an axis through an exchange of two."""
    del after
    pair = [arguments["dim0"] % len(before), arguments["dim1"] % len(before)]
    return pair[1 - pair.index(axis)] if axis in pair else axis


def follow_reshape(
    before: tuple[int, ...], after: tuple[int, ...], axis: int, arguments: Arguments
) -> int | None:
    """Find an axis of the same size with as many entries before it."""
    del arguments
    ahead = math.prod(before[:axis])
    for place, size in enumerate(after):
        if size == before[axis] and math.prod(after[:place]) == ahead:
            return place
    return None


def follow_nothing(
    before: tuple[int, ...], after: tuple[int, ...], axis: int, arguments: Arguments
) -> int:
    """The axis stays: entries are left out or added, in it or elsewhere."""
    del before, after, arguments
    return axis


def follow_selection(
    before: tuple[int, ...], after: tuple[int, ...], axis: int, arguments: Arguments
) -> int | None:
    """One axis disappears."""
    del after
    gone = arguments["dim"] % len(before)
    return None if axis == gone else axis - (gone < axis)


def follow_expansion(
    before: tuple[int, ...], after: tuple[int, ...], axis: int, arguments: Arguments
) -> int | None:
    """Axes are added in front; an axis that is repeated is lost."""
    del arguments
    place = axis + len(after) - len(before)
    return place if after[place] == before[axis] else None


def _pad(tensor: torch.Tensor, arguments: Arguments) -> torch.Tensor:
    mode = arguments.get("mode", "constant")
    if mode == "constant":
        return functional.pad(tensor, arguments["pad"], value=arguments["value"])
    return functional.pad(tensor, arguments["pad"], mode=mode)


def _padding_value(arguments: Arguments) -> float:
    return float(arguments.get("value") or 0.0)


def _pad_follow(
    before: tuple[int, ...], after: tuple[int, ...], axis: int, arguments: Arguments
) -> int | None:
    """Repeating entries of a vector makes it longer; adding constants does not."""
    constant = arguments.get("mode", "constant") == "constant"
    return axis if constant or before[axis] == after[axis] else None


class Padding(Moving):
    """Places added around, or left out."""

    def within(
        self, arguments: Arguments, region: Region, shape: tuple[int, ...]
    ) -> tuple[Arguments, Region] | None:
        """Add what the region has of them; a reflection needs what is reflected."""
        name, given = next(iter(arguments.items()))
        del shape
        mode, ends = arguments.get("mode", "constant"), list(arguments["pad"])
        if mode == "circular":
            return None
        needed, made = list(region), list(region)
        for number in range(len(ends) // 2):
            axis = len(region) - 1 - number
            (start, end), size = region[axis], given.shape[axis]
            before = ends[2 * number]
            more = max(0, before - start), max(0, end - before - size)
            first, last = max(0, start - before), min(size, end - before)
            if mode == "reflect":
                last = max(last, more[0] + 1) if more[0] else last
                first = min(first, size - 1 - more[1]) if more[1] else first
            if first >= last:
                return None
            needed[axis] = first, last
            made[axis] = first + before - more[0], last + before + more[1]
            ends[2 * number : 2 * number + 2] = more
        changed = {**arguments, name: Part(given, tuple(needed)), "pad": ends}
        return (changed, tuple(made)) if self._agrees(arguments, changed, tuple(made)) else None


def _reshape(name: str) -> Rule:
    return Moving(lambda t, a: t.reshape(a[name]), follow_reshape, sizes=name)


def _same(tensor: torch.Tensor, arguments: Arguments) -> torch.Tensor:
    del arguments
    return tensor


def _slice(tensor: torch.Tensor, a: Arguments) -> torch.Tensor:
    start, end, size = a.get("start"), a.get("end"), tensor.shape[a["dim"]]
    index: list[Any] = [slice(None)] * tensor.ndim
    index[a["dim"]] = slice(0 if start is None else start, size if end is None else end, a["step"])
    return tensor[tuple(index)]


CONCATENATION = Concatenation()

RULES: dict[str, Rule] = {
    "view.default": _reshape("size"),
    "reshape.default": _reshape("shape"),
    "_unsafe_view.default": _reshape("size"),
    "flatten.using_ints": Moving(
        lambda t, a: t.flatten(a["start_dim"], a["end_dim"]), follow_reshape
    ),
    "unsqueeze.default": Moving(lambda t, a: t.unsqueeze(a["dim"]), follow_reshape),
    "squeeze.dim": Moving(lambda t, a: t.squeeze(a["dim"]), follow_reshape),
    "squeeze.dims": Moving(lambda t, a: t.squeeze(tuple(a["dim"])), follow_reshape),
    "permute.default": Moving(lambda t, a: t.permute(a["dims"]), follow_permutation),
    "transpose.int": Moving(lambda t, a: t.transpose(a["dim0"], a["dim1"]), follow_transposition),
    "slice.Tensor": Moving(_slice, follow_nothing),
    "select.int": Moving(lambda t, a: t.select(a["dim"], a["index"]), follow_selection),
    "expand.default": Moving(lambda t, a: t.expand(a["size"]), follow_expansion, sizes="size"),
    "pad.default": Padding(
        _pad,
        _pad_follow,
        fill=_padding_value,
        modes=("constant", "reflect", "replicate", "circular"),
    ),
    "constant_pad_nd.default": Padding(_pad, _pad_follow, fill=_padding_value),
    "cat.default": CONCATENATION,
    "clone.default": Moving(_same, follow_nothing),
    "contiguous.default": Moving(_same, follow_nothing),
    "alias.default": Moving(_same, follow_nothing),
    "detach.default": Moving(_same, follow_nothing),
    "lift_fresh_copy.default": Moving(_same, follow_nothing),
    "_to_copy.default": Moving(_same, follow_nothing),
    "to.dtype": Moving(_same, follow_nothing),
}
