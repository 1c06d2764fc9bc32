"""Training steps that happen as a whole or not at all.

In: a module that is about to learn. Out: the same module, with its old state if the step failed.
Must not know of any family.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import torch
from torch import nn

from certvq.nn._core import replay as _replay
from certvq.nn._core.eager import holds_numbers, transforming

_Undo = Callable[[], None]


_LISTS = (nn.ParameterList, nn.ParameterDict)


class _Running(threading.local):
    """Which modules a step of this thread will put back anyway."""

    modules: frozenset[int] = frozenset()


_running = _Running()


def all_or_nothing(
    module: nn.Module, tokens: torch.Tensor, *, learns: bool | None = None
) -> AbstractContextManager[None]:
    """Put a module back as it was if the body raises anything, Ctrl-C included.

    What a later level of a residual quantizer is given depends on what earlier levels have learned,
    and an optimiser, an estimator or a regularizer may be the user's own, so that not all refusals
    can be asked for beforehand. Put back are parameters and buffers of the state dict, the state of
    inner optimisers (as far as their state dicts go), and random generators: the modules' own, and
    torch's default ones where a module has none. A module with other state has a method `remember`
    that returns what puts it back. A step within a step of a module that contains it
    is part of that one. Compiled programs do not look: in them a step that fails halfway leaves
    what it has learned.

    Args:
        module: what learns.
        tokens: (N, D), what it learns from; nothing is done where they hold no numbers.
        learns: whether the body changes the module at all; None is whether it is in train mode.

    Cost: a copy of what the module can change.
    """
    if (
        torch.compiler.is_compiling()
        or not (module.training if learns is None else learns)
        or id(module) in _running.modules
        or not holds_numbers(tokens)
    ):
        return nullcontext()  # which compilers know, also that of torch 2.6
    return _putting_back(module, tokens)


@contextmanager
def _putting_back(module: nn.Module, tokens: torch.Tensor) -> Iterator[None]:
    parts = list(module.modules())
    # Under `torch.func` nothing learns; the tensors there cannot be put back, nor need be.
    found = [vars(part)["generator"] for part in parts if "generator" in vars(part)]
    own = list({id(one): one for one in found if isinstance(one, torch.Generator)}.values())
    default = _defaults(tokens.device) if any(one is None for one in found) else []
    undo: list[_Undo] = [_generator(one) for one in (*own, *default)]
    if not transforming():
        undo += _tensors(parts)
        undo += [cast("Any", part).remember() for part in parts if hasattr(type(part), "remember")]
    outer = _running.modules
    _running.modules = outer | {id(part) for part in parts}
    end = _replay.begin(module, tokens, own)
    try:
        yield
    except BaseException:
        for step in undo:
            step()
        raise
    finally:
        end()
        _running.modules = outer


def _tensors(parts: list[nn.Module]) -> Iterator[_Undo]:
    """Copy buffers, and parameters but for those of torch's own maps, which do not change them.

    Buffers outside the state dict are constants.
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
                yield _tensor(tensor)


def _tensor(tensor: torch.Tensor) -> _Undo:
    old, version = tensor.detach().clone(), _version(tensor)

    @torch.no_grad()
    def undo() -> None:
        # What was not written to is left alone: backward passes through it stay valid.
        if version is None or version != _version(tensor) or not torch.equal(tensor, old):
            tensor.copy_(old)

    return undo


def _version(tensor: torch.Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version  # noqa: SLF001 (torch's only name)


def _defaults(device: torch.device) -> list[torch.Generator]:
    if device.type == "cuda":
        return [torch.default_generator, torch.cuda.default_generators[device.index or 0]]
    return [torch.default_generator]


def _generator(generator: torch.Generator) -> _Undo:
    state = generator.get_state()

    def undo() -> None:
        generator.set_state(state)

    return undo
