"""Draws that come again where a forward pass is computed again for its backward pass.

In: the generators that a training step may draw from. Out: the same generators, in a computation
for gradient checkpointing, in the states that they had the first time. torch does so for its
default generators alone, and cannot know that learning is left out the second time. Must not know
what is drawn.
"""

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import nn

from certvq.nn._torch.modes import recomputing, transforming

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

    batch: _Batch | None
    before: _States
    learned: list[_States] = field(default_factory=list)
    place: int = 0


class _Running(threading.local):
    """The tape of the step that runs in this thread."""

    tape: _Tape | None = None


_running = _Running()
_tapes: weakref.WeakKeyDictionary[nn.Module, deque[_Tape]] = weakref.WeakKeyDictionary()


def begin(
    module: nn.Module, tokens: torch.Tensor, own: Iterable[torch.Generator]
) -> Callable[[], None]:
    """Begin a step of training: put generators where they were, if it is one that comes again.

    Args:
        module: what is trained.
        tokens: (N, D), by which a batch is known again.
        own: generators of the module other than torch's default ones.

    Returns:
        What ends the step. The generators of one that came again are then as before it.
    """
    if transforming():
        return lambda: None
    outer, now = _running.tape, [(one, one.get_state()) for one in own]
    if not recomputing():
        tape = _Tape(_batch(tokens) if now else None, now)

        def end() -> None:
            _running.tape = outer
            if now or any(tape.learned):
                tape.batch = tape.batch or _batch(tokens)
                _tapes.setdefault(module, deque(maxlen=_STEPS)).append(tape)
    else:
        tape = _find(module, _batch(tokens))

        def end() -> None:
            _running.tape = outer
            _put(now)

    _running.tape = tape
    if tape is not None and recomputing():
        tape.place = 0
        _put(tape.before)
    return end


def learned(generator: torch.Generator | None, *, drew: bool) -> None:
    """Note what something that has learned from the batch left of a generator, if it drew."""
    if _running.tape is not None:
        one = torch.default_generator if generator is None else generator
        _running.tape.learned.append([(one, one.get_state())] if drew else [])


def pass_over_learning() -> None:
    """Leave generators as learning left them, where it is not to happen again."""
    tape = _running.tape
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
