"""Training steps that happen as a whole or not at all.

In: a module that is about to learn. Out: the same module, with its old state if the step failed.
Must not know of any family.
"""

import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import torch
from torch import nn

from certvq.nn._torch import checkpointing as _replay
from certvq.nn._torch.modes import holds_numbers, transforming

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
    with other state has a method `remember` that returns what puts it back. A step within a step of
    a module that contains it is part of that one. Compiled programs do not look: in them a step
    that fails halfway leaves what it has learned.

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
        or _running.within(module)
        or not holds_numbers(tokens)
    ):
        return step()
    kept = _Kept(list(module.modules()), tokens.device)
    end = _nothing
    try:
        _running.enter(kept)
        end = _replay.begin(module, tokens, kept.generators)
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


class _Kept:
    """What modules were when a step began.

    Attributes:
        modules: their identities.
        generators: their own ones.
    """

    def __init__(self, parts: list[nn.Module], device: torch.device) -> None:
        self.modules = frozenset(map(id, parts))
        # Under `torch.func` nothing learns; the tensors there cannot be put back, nor need be.
        self.generators, default = _generators(parts, device)
        self._states = [(one, one.get_state()) for one in (*self.generators, *default)]
        self._tensors: list[tuple[torch.Tensor, torch.Tensor, int | None]] = []
        self._undo: list[_Undo] = []
        self._figures = [
            (part, {name: vars(part)[name] for name in _FIGURES if name in vars(part)})
            for part in parts
        ]
        if not transforming():
            learning = [part for part in parts if hasattr(type(part), "remember")]
            self._tensors = list(_tensors(parts))
            self._undo = [cast("Any", part).remember() for part in learning]

    @torch.no_grad()
    def put_back(self) -> None:
        for generator, state in self._states:
            generator.set_state(state)
        for tensor, old, version in self._tensors:
            # What was not written to is left alone: backward passes through it stay valid.
            if version is None or version != _version(tensor) or not torch.equal(tensor, old):
                tensor.copy_(old)
        for undo in self._undo:
            undo()
        for part, figures in self._figures:
            vars(part).update(figures)


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

    Returns:
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
                yield tensor, tensor.detach().clone(), _version(tensor)


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
