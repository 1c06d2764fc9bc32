"""Steps of a layer that compilers must not look into: they branch on numbers, raise and remember.

In: a module and tensors. Out: the same step, as one operator of torch while a compiler traces, and
as a plain call otherwise. Operators take numbers and tensors only, so that modules are known to
them by a number. Must not know what the steps do.
"""

import itertools
import weakref
from typing import Protocol, cast

import torch
from torch import nn

from certvq.errors import ExportError, NonFiniteError, TransformError
from certvq.nn._core.latents import require_finite_latents
from certvq.nn._torch.distributed import raise_together
from certvq.nn._torch.modes import exporting, transforming
from certvq.nn._torch.transaction import all_or_nothing

_numbers = itertools.count()
_modules: weakref.WeakValueDictionary[int, nn.Module] = weakref.WeakValueDictionary()


class Checked(Protocol):
    """A module that looks for what would stop it halfway."""

    handle: int

    def token_error(self, tokens: torch.Tensor) -> NonFiniteError | None:
        """Return the error, or None."""


class Learner(Protocol):
    """A module that changes its own parameters and buffers."""

    handle: int

    def learn_now(self, tokens: torch.Tensor) -> None:
        """Learn before codes are chosen."""

    def observe_now(self, tokens: torch.Tensor, codes: torch.Tensor) -> None:
        """Remember what was chosen."""


def register(module: nn.Module) -> int:
    """Return a number that stands for a module in this process, for as long as it lives."""
    number = next(_numbers)
    _modules[number] = module
    return number


def refused(module: Checked, tokens: torch.Tensor) -> torch.Tensor:
    """Return the tokens, with a zero that compilers and exporters cannot have without the check.

    Args:
        module: what is asked; see `Quantizer.refuse`.
        tokens: (N, D).

    Raises:
        ExportError: see `refuse_graphs`.
    """
    if exporting():
        refuse_graphs(cast("nn.Module", module))
        return require_finite_latents(tokens)
    return tokens + torch.ops.certvq.refuse(tokens.detach(), module.handle)


def refuse_transforms(module: nn.Module) -> None:
    """Refuse to learn under `torch.func`, whose functions must change nothing.

    Args:
        module: what is in train mode. A part that learns may have an attribute `at_rest`, True
            while it does not.

    Raises:
        TransformError: it learns from batches, or a part of it does, and a transformation runs.
    """
    learner = _learner(module) if transforming() else None
    if learner is not None:
        text = (
            f"a layer must change nothing under torch.func, got {learner} in train mode, which "
            "learns from each batch; call .eval() on it for codes and derivatives, and train "
            "it outside of torch.func"
        )
        raise TransformError(text)


def refuse_graphs(module: nn.Module) -> None:
    """Refuse to record a training step as a graph of standard operators, which cannot learn.

    Raises:
        ExportError: the module is in train mode and learns from batches, or a part of it does.
    """
    learner = _learner(module)
    if learner is not None:
        text = (
            f"a graph must change nothing, got {learner} in train mode, which learns from each "
            "batch; call .eval() on it before torch.jit.trace or torch.onnx.export"
        )
        raise ExportError(text)


def _learner(module: nn.Module) -> str | None:
    for name, part in module.named_modules():
        if part.training and hasattr(part, "learn_now") and not getattr(part, "at_rest", False):
            return f"{type(part).__name__}{f' at {name!r}' if name else ''}"
    return None


def learn(module: Learner, tokens: torch.Tensor) -> None:
    """Let a module learn from tokens (N, D), detached."""
    if torch.compiler.is_compiling():
        torch.ops.certvq.learn(tokens, _state(module), module.handle)
    else:
        refuse_transforms(cast("nn.Module", module))
        module.learn_now(tokens)


def observe(module: Learner, tokens: torch.Tensor, codes: torch.Tensor) -> None:
    """Let a module remember the codes (N,) of tokens (N, D), detached."""
    if torch.compiler.is_compiling():
        torch.ops.certvq.observe(tokens, codes, _state(module), module.handle)
    else:
        module.observe_now(tokens, codes)


@torch.library.custom_op("certvq::refuse", mutates_args=())
def _refuse(tokens: torch.Tensor, handle: int) -> torch.Tensor:
    """Raise what a module finds wrong with tokens; return a zero of their type."""
    module = _modules[handle]
    raise_together(module, cast("Checked", module).token_error(tokens), tokens.device)
    return tokens.new_zeros(())


@_refuse.register_fake
def _(tokens: torch.Tensor, handle: int) -> torch.Tensor:
    # torch.onnx.export tries again by a tracer within which `exporting` is False.
    if torch.onnx.is_in_onnx_export() and isinstance(handle, int):
        refuse_graphs(_modules[handle])
    return tokens.new_empty(())


@torch.library.custom_op(
    "certvq::learn",
    mutates_args=("state",),
    schema="(Tensor tokens, Tensor(a1!)[] state, SymInt handle) -> ()",  # torch 2.6 infers none
)
def _learn(tokens: torch.Tensor, state: list[torch.Tensor], handle: int) -> None:
    """Let a module learn; `state` is its own, or the copy of it that a compiler works on."""
    module = _modules[handle]
    all_or_nothing(module, tokens, lambda: cast("Learner", module).learn_now(tokens))
    _hand_over(module, state)


@torch.library.custom_op(
    "certvq::observe",
    mutates_args=("state",),
    schema="(Tensor tokens, Tensor codes, Tensor(a2!)[] state, SymInt handle) -> ()",
)
def _observe(
    tokens: torch.Tensor, codes: torch.Tensor, state: list[torch.Tensor], handle: int
) -> None:
    """Let a module remember; see `_learn`."""
    module = _modules[handle]
    cast("Learner", module).observe_now(tokens, codes)
    _hand_over(module, state)


def _state(module: Learner) -> list[torch.Tensor]:
    layer = cast("nn.Module", module)
    return [tensor.detach() for tensor in (*layer.parameters(), *layer.buffers())]


def _hand_over(module: nn.Module, state: list[torch.Tensor]) -> None:
    for given, own in zip(state, (*module.parameters(), *module.buffers()), strict=True):
        if given.data_ptr() != own.data_ptr():
            given.copy_(own.detach())
