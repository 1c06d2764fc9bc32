"""Training steps that happen as a whole or not at all, and once.

In: a module that is about to learn. Out: the same module, with its old state if the step failed.
Where gradient checkpointing computes a forward pass again within the backward pass, draws are those
of the first time; torch sees to that for its default generators alone, and cannot know that
learning is left out the second time. Must not know of any family.
"""

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import nn

from certvq.nn._torch.modes import holds_numbers, recomputing, transforming

_Undo = Callable[[], None]
_Result = TypeVar("_Result")

_LISTS = (nn.ParameterList, nn.ParameterDict)

_FIGURES = ("latest", "_codes")
"""What a quantizer keeps of its latest forward pass, and no tensor of its state."""


def all_or_nothing(
    module: nn.Module,
    tokens: torch.Tensor,
    step: Callable[[], _Result],
    *,
    learns: bool | None = None,
) -> _Result:
    """Run a step of a module; put the module back as it was if it raises, Ctrl-C included.

    What a later level of a residual quantizer is given depends on what earlier levels have learned,
    and an optimiser, an estimator or a regularizer may be the user's own, so that not all refusals
    can be asked for beforehand. Put back are parameters and buffers of the state dict, the state of
    inner optimisers (as far as their state dicts go), the figures of the latest forward pass, and
    random generators: the modules' own, and torch's default ones where a module has none. A module
    with other state has a method `remember` that returns what puts it back; one that draws nothing
    and changes nothing but figures, at the end, has a property `steady` that is True. A step within
    a step of a module that contains it is part of that one. Compiled programs do not look: in them
    a step that fails halfway leaves what it has learned.

    Args:
        module: what learns.
        tokens: (N, D), what it learns from; nothing is done where they hold no numbers.
        step: all that is done, up to the result, so that nothing is left to be interrupted.
        learns: whether the step changes the module at all; None is whether it is in train mode.

    Returns:
        What the step returns.

    Cost: a copy of what the module can change.
    """
    if (
        torch.compiler.is_compiling()
        or not (module.training if learns is None else learns)
        or getattr(module, "steady", False)
        or _running.within(module)
        or not holds_numbers(tokens)
    ):
        return step()
    kept = _Kept(parts_of(module), tokens.device)
    end = _nothing
    try:
        _running.enter(kept)
        end = _begin(module, tokens, kept.own)
        result = step()
        end()
        return result  # noqa: TRY300 (Ctrl-C may come here, too)
    except BaseException:
        _running.leave(kept)
        kept.put_back()
        end()
        raise


def _nothing() -> None:
    """End what has not begun."""


def parts_of(module: nn.Module) -> list[nn.Module]:
    """Return a module and all in it, each once; `Module.modules` takes several times as long."""
    parts, known = [module], {id(module)}
    for part in parts:
        for child in part._modules.values():  # noqa: SLF001 (cheap to look at)
            if child is not None and id(child) not in known:
                known.add(id(child))
                parts.append(child)
    return parts


class _Kept:
    """What modules were when a step began.

    Attributes:
        modules: their identities.
        own: their own generators, with their states.
    """

    def __init__(self, parts: list[nn.Module], device: torch.device) -> None:
        self.modules = frozenset(map(id, parts))
        generators, default = _generators(parts, device)
        self.own = [(one, one.get_state()) for one in generators]
        self._default = [(one, one.get_state()) for one in default]
        self._tensors: list[tuple[torch.Tensor, torch.Tensor, int | None]] = []
        self._undo: list[_Undo] = []
        attributes = [vars(part) for part in parts]
        self._figures = [
            (of, {name: of[name] for name in _FIGURES}) for of in attributes if "latest" in of
        ]
        # Under `torch.func` nothing learns; the tensors there cannot be put back, nor need be.
        if not transforming():
            learning = [part for part in parts if hasattr(type(part), "remember")]
            self._tensors = list(_tensors(parts))
            self._undo = [cast("Any", part).remember() for part in learning]

    @torch.no_grad()
    def put_back(self) -> None:
        _put([*self.own, *self._default])
        for tensor, old, version in self._tensors:
            # What was not written to is left alone: backward passes through it stay valid.
            if version is None or version != _version(tensor) or not torch.equal(tensor, old):
                tensor.copy_(old)
        for undo in self._undo:
            undo()
        for attributes, figures in self._figures:
            attributes.update(figures)


class _Running(threading.local):
    """The steps of this thread that will put modules back anyway.

    A step that has returned is gone by itself: what it kept is held by its frame alone. So there is
    nothing to do after it, at which Ctrl-C could come too late to put anything back.
    """

    def __init__(self) -> None:
        self._steps: list[weakref.ref[_Kept]] = []

    def within(self, module: nn.Module) -> bool:
        for reference in self._steps:
            step = reference()
            if step is not None and id(module) in step.modules:
                return True
        return False

    def enter(self, step: _Kept) -> None:
        self._steps = [*(one for one in self._steps if one() is not None), weakref.ref(step)]

    def leave(self, step: _Kept) -> None:
        self._steps = [one for one in self._steps if one() is not step]


_running = _Running()


def _tensors(parts: list[nn.Module]) -> Iterator[tuple[torch.Tensor, torch.Tensor, int | None]]:
    """Copy buffers, and parameters but for those of torch's own maps, which do not change them.

    Buffers outside the state dict are constants.

    Yields:
        Each tensor, its copy and its version.
    """
    seen: set[int] = set()
    for part in parts:
        kind = type(part)
        fixed = kind.__module__.startswith("torch.nn.modules.") and kind not in _LISTS
        constants = part._non_persistent_buffers_set  # noqa: SLF001 (torch's only name)
        own = [] if fixed else list(part._parameters.values())  # noqa: SLF001 (cheap to look at)
        own += [b for name, b in part._buffers.items() if name not in constants]  # noqa: SLF001
        for tensor in own:
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                source = tensor.detach() if tensor.requires_grad else tensor
                yield tensor, source.clone(), _version(tensor)


def _version(tensor: torch.Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version  # noqa: SLF001 (torch's only name)


def _generators(
    parts: list[nn.Module], device: torch.device
) -> tuple[list[torch.Generator], list[torch.Generator]]:
    """Return the generators of modules, and torch's default ones where a module has none."""
    found = [vars(part)["generator"] for part in parts if "generator" in vars(part)]
    own = {id(one): one for one in found if isinstance(one, torch.Generator)}
    if not any(one is None for one in found):
        return list(own.values()), []
    default = [torch.default_generator]
    if device.type == "cuda":
        default.append(torch.cuda.default_generators[device.index or 0])
    return list(own.values()), default


_STEPS = 64
"""Steps of a module whose backward pass may be still to come; older ones are forgotten."""

_LOOKED_AT = 64
"""Numbers by which a batch is known again."""

_States = list[tuple[torch.Generator, torch.Tensor]]


class _Batch(NamedTuple):
    """What of a batch of tokens is remembered."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    some: torch.Tensor

    def same(self, other: "_Batch | None") -> bool:
        return self.like(other) and other is not None and torch.equal(self.some, other.some)

    def like(self, other: "_Batch | None") -> bool:
        return other is not None and self[:2] == other[:2]


@dataclass
class _Tape:
    """States of generators before a step, and after each time that something has learned."""

    before: _States
    batch: _Batch | None = None
    learned: list[_States] = field(default_factory=list)
    place: int = 0
    drew: bool = False


class _Recording(threading.local):
    """The tape of the step that runs in this thread."""

    tape: _Tape | None = None
    draws: int = 0


_recording = _Recording()


def drew() -> None:
    """Count a draw."""
    _recording.draws += 1


def draws() -> int:
    """Return how often numbers were drawn in this thread, compiled programs apart."""
    return _recording.draws


_tapes: weakref.WeakKeyDictionary[nn.Module, deque[_Tape]] = weakref.WeakKeyDictionary()


def _begin(module: nn.Module, tokens: torch.Tensor, own: _States) -> _Undo:
    """Begin a step of training: put generators where they were, if it is one that comes again.

    Args:
        module: what is trained.
        tokens: (N, D), by which a batch is known again.
        own: generators of the module other than torch's default ones, with their states.

    Returns:
        What ends the step. The generators of one that came again are then as before it.
    """
    if transforming():
        return _nothing
    outer = _recording.tape
    if recomputing():
        tape = _recording.tape = _find(module, _batch(tokens))
        if tape is not None:
            tape.place = 0
            _put(tape.before)

        def end_again() -> None:
            _recording.tape = outer
            _put(own)

        return end_again
    fresh = _recording.tape = _Tape(own)

    def end() -> None:
        _recording.tape = outer
        drawn = any(not torch.equal(state, one.get_state()) for one, state in own)
        fresh.drew = drawn or any(fresh.learned)
        if not fresh.drew and module not in _tapes:
            return
        fresh.batch = _batch(tokens)  # also without draws: not to be taken for an earlier step
        tapes = _tapes.setdefault(module, deque(maxlen=_STEPS))
        tapes.append(fresh)
        if not any(tape.drew for tape in tapes):
            del _tapes[module]

    return end


def learned(generator: torch.Generator | None, *, drew: bool) -> None:
    """Note what something that has learned from the batch left of a generator, if it drew."""
    if _recording.tape is not None:
        one = torch.default_generator if generator is None else generator
        _recording.tape.learned.append([(one, one.get_state())] if drew else [])


def pass_over_learning() -> None:
    """Leave generators as learning left them, where it is not to happen again."""
    tape = _recording.tape
    if tape is not None and tape.place < len(tape.learned):
        _put(tape.learned[tape.place])
        tape.place += 1


def _find(module: nn.Module, batch: _Batch) -> _Tape | None:
    """Return the latest step with the same batch, or else with one of the same shape.

    On some devices a computation that comes again gives slightly other numbers.
    """
    tapes = list(reversed(_tapes.get(module, ())))
    for same in (batch.same, batch.like):
        found = next((tape for tape in tapes if same(tape.batch)), None)
        if found is not None:
            return found
    return None


def _batch(tokens: torch.Tensor) -> _Batch:
    flat = tokens.detach().reshape(-1)
    some = flat[:: max(1, len(flat) // _LOOKED_AT)].clone()
    return _Batch(tuple(tokens.shape), tokens.dtype, some)


def _put(states: _States) -> None:
    for generator, state in states:
        generator.set_state(state)
