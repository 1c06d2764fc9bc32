"""What torch does with tensors now: compile, trace, transform, go backward; and on which device.

In: a tensor, or a function with a backward pass of its own. Out: whether code that looks at numbers
may run now, and where they are; the same numbers as wide as the device has them; the function,
applied as whoever follows it needs it. Must not know what is computed.
"""

import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch._C import (
    _are_functorch_transforms_active,  # pyright: ignore[reportAttributeAccessIssue] (no stub)
    _is_tracing,  # pyright: ignore[reportAttributeAccessIssue] (what `torch.jit.is_tracing` asks)
)
from torch._C._functorch import (  # nothing public tells what these do
    get_unwrapped,
    is_batchedtensor,
    is_functorch_wrapped_tensor,
    maybe_get_bdim,
)
from torch.autograd import Function, forward_ad
from torch.utils._python_dispatch import _disable_current_modes

from certvq import _float64

_PLAIN = (torch.Tensor, torch.nn.Parameter)
"""Modes that compute shapes only have types of their own."""

_NOTHING = nullcontext()
"""May be entered by several threads at once."""


def has_memory(tensor: torch.Tensor) -> bool:
    """Say whether code that is not torch's may read the numbers where they lie.

    Those of `torch.func` look like ordinary tensors and have no memory of their own.

    Example:
        >>> def known(part):
        ...     return part * 0 + has_memory(part)
        >>> known(torch.zeros(2)), torch.func.vmap(known)(torch.zeros(2))
        (tensor([1., 1.]), tensor([0., 0.]))
    """
    return holds_numbers(tensor) and not is_functorch_wrapped_tensor(tensor)


def holds_numbers(tensor: torch.Tensor) -> bool:
    """Say whether a tensor is an ordinary one that no compiler or tracer follows.

    Example:
        >>> holds_numbers(torch.zeros(2)), holds_numbers(torch.zeros(2, device="meta"))
        (True, False)
    """
    return (
        not torch.compiler.is_compiling()
        and type(tensor) in _PLAIN
        and not tensor.is_meta
        and not _is_tracing()
    )


def unwatched(*tensors: torch.Tensor) -> bool:
    """Say whether a function may be called where compilers and modes of torch see an operator.

    To call an operator that Python implements takes longer than to search for 256 tokens.

    Example:
        >>> def known(part):
        ...     return part * 0 + unwatched(part)
        >>> known(torch.zeros(2)), torch.func.vmap(known)(torch.zeros(2))
        (tensor([1., 1.]), tensor([0., 0.]))
    """
    return all(map(has_memory, tensors)) and not torch._C._len_torch_dispatch_stack()  # noqa: SLF001 (no public name)


def exporting() -> bool:
    """Say whether `torch.jit.trace` or `torch.onnx.export` records a graph of standard operators.

    Example:
        >>> exporting()
        False
    """
    if torch.compiler.is_compiling():
        return torch.onnx.is_in_onnx_export()
    return _is_tracing()


def recorded() -> bool:
    """Say whether a graph is recorded to run elsewhere: `exporting`, or `torch.export`."""
    whole = getattr(torch.compiler, "is_exporting", None)  # None before torch 2.7
    return exporting() or (whole is not None and whole())


@contextmanager
def unrecorded() -> Iterator[None]:
    """Keep tracers from recording what the body does with real tensors: results are constants."""
    state = torch._C._get_tracing_state()  # noqa: SLF001 (no public name)
    pause: Any = getattr(torch._C, "_set_tracing_state")  # noqa: B009, SLF001 (no stub)
    pause(None)
    try:
        with _disable_current_modes():
            yield
    finally:
        pause(state)


def sizes(tensor: torch.Tensor) -> tuple[int, ...]:
    """Return the shape as plain integers, also of a tensor that `torch.jit.trace` follows.

    For checks; what a graph computes with its shapes takes ``tensor.shape``.

    Example:
        >>> sizes(torch.zeros(2, 3))
        (2, 3)
    """
    if torch.compiler.is_compiling() or not _is_tracing():
        return tuple(tensor.shape)
    with unrecorded():
        return tuple(tensor.shape)


def transforming() -> bool:
    """Say whether a transformation of `torch.func` runs, and no compiler.

    Example:
        >>> torch.func.grad(lambda x: x * transforming())(torch.tensor(5.0)), transforming()
        (tensor(1.), False)
    """
    return _are_functorch_transforms_active() and not torch.compiler.is_compiling()


def beyond_backward() -> bool:
    """Say whether `torch.func` or forward mode runs, and no compiler.

    Then rules of ordinary `backward` do not suffice: forward mode has rules of its own, which
    compilers refuse to follow, and all tensors that a rule reads have to be its arguments.

    Example:
        >>> with torch.autograd.forward_ad.dual_level():
        ...     beyond_backward()
        True
        >>> beyond_backward()
        False
    """
    at_work = _are_functorch_transforms_active() or forward_ad._current_level >= 0  # noqa: SLF001 (no public name)
    return at_work and not torch.compiler.is_compiling()


def backward_alone() -> bool:
    """Say whether nobody but ordinary `backward` follows what runs now.

    Then a function with a rule for that alone may do at once what others have to see step by step.

    Example:
        >>> backward_alone()
        True
        >>> with torch.autograd.forward_ad.dual_level():
        ...     backward_alone()
        False
    """
    return not (torch.compiler.is_compiling() or _is_tracing() or beyond_backward())


def wants_derivative(tensor: torch.Tensor) -> bool:
    """Say whether anybody may ask for a derivative by this tensor, backward or forward.

    Example:
        >>> wants_derivative(torch.zeros(2)), wants_derivative(torch.zeros(2, requires_grad=True))
        (False, True)
    """
    if exporting():  # graphs of standard operators are for inference
        return False
    # Tangents of forward mode need no `requires_grad`.
    return (torch.is_grad_enabled() and tensor.requires_grad) or beyond_backward()


def followed() -> bool:
    """Say whether a derivative may be asked of what runs now, or a compiler or `torch.func` looks.

    A rule of `backward` that nobody follows may write over its memory, and work block by block.

    Example:
        >>> with torch.no_grad():
        ...     followed()
        False
        >>> followed()
        True
    """
    return torch.is_grad_enabled() or beyond_backward() or torch.compiler.is_compiling()


def is_differentiated(tensor: torch.Tensor) -> bool:
    """Say whether a derivative by this tensor is being recorded, or may be in forward mode.

    Tensors of `torch.func.vmap` do not show the `requires_grad` of those that they stand for.

    Example:
        >>> x = torch.zeros(2, requires_grad=True)
        >>> is_differentiated(x), is_differentiated(x.detach())
        (True, False)
        >>> def look(x):
        ...     return x.detach() * 0 + x.requires_grad, x.detach() * 0 + is_differentiated(x)
        >>> torch.func.vmap(look)(x)
        (tensor([0., 0.]), tensor([1., 1.]))
    """
    if torch.compiler.is_compiling():
        return tensor.requires_grad
    if forward_ad._current_level >= 0:  # noqa: SLF001 (no public name)
        return True
    while not tensor.requires_grad and is_functorch_wrapped_tensor(tensor):
        tensor = get_unwrapped(tensor)
    return tensor.requires_grad


def recomputing() -> bool:
    """Say whether a backward pass runs, and no compiler.

    A forward pass within one is that of gradient checkpointing, which wants the numbers of the
    first time again: nothing may learn from it.

    Example:
        >>> x, seen = torch.zeros(2, requires_grad=True), []
        >>> _ = x.register_hook(lambda slope: seen.append(recomputing()))
        >>> x.sum().backward()
        >>> seen, recomputing()
        ([True], False)
    """
    if torch.compiler.is_compiling():
        return False
    return torch._C._current_graph_task_id() != -1  # noqa: SLF001 (no public name)


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context that autocast does not reach.

    To enter ``torch.autocast(..., enabled=False)`` takes as long as several operations on a few
    hundred tokens, so nothing is entered where autocast is off anyway.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16), full_precision(torch.device("cpu")):
        ...     (torch.ones(1, 1) @ torch.ones(1, 1)).dtype
        torch.float32
    """
    if torch.compiler.is_compiling() or torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return _NOTHING


def own_graph() -> AbstractContextManager[Any]:
    """Return a context for a derivative that is taken within a forward pass.

    What such a graph saves is no business of gradient checkpointing around the pass, which would
    compute the whole pass again to find it.

    Example:
        >>> with own_graph():
        ...     x = torch.tensor(3.0, requires_grad=True)
        ...     torch.autograd.grad(x * x, x)
        (tensor(6.),)
    """
    if torch.compiler.is_compiling():
        return nullcontext()
    return torch.autograd.graph.saved_tensors_hooks(lambda kept: kept, lambda kept: kept)


def is_batched(tensor: torch.Tensor) -> bool:
    """Say whether `torch.func.vmap` gives a tensor other numbers for each sample."""
    while is_functorch_wrapped_tensor(tensor):
        if is_batchedtensor(tensor):
            return True
        tensor = get_unwrapped(tensor)
    return False


def beneath(tensor: torch.Tensor) -> torch.Tensor:
    """Return the ordinary tensor beneath those of `torch.func`, whose numbers may be looked at.

    Args:
        tensor: any.

    Returns:
        The tensor itself, if it is ordinary; else its numbers, detached, with the axes of `vmap`
        first, the outermost one first.

    Example:
        >>> def looked(part):
        ...     return part * 0 + beneath(part).shape[0]
        >>> torch.func.vmap(looked, in_dims=1)(torch.zeros(2, 3))
        tensor([[3., 3.],
                [3., 3.],
                [3., 3.]])
    """
    if not is_functorch_wrapped_tensor(tensor):
        return tensor
    axes: list[int] = []
    while is_functorch_wrapped_tensor(tensor):
        if is_batchedtensor(tensor):
            axes.append(maybe_get_bdim(tensor))
        tensor = get_unwrapped(tensor)
    tensor = tensor.detach()
    for place, axis in enumerate(reversed(axes)):
        tensor = tensor.movedim(axis + place, place)
    while is_functorch_wrapped_tensor(tensor):  # `torch.func` wraps all results anew
        tensor = get_unwrapped(tensor)
    return tensor


def applied(function: type[Function], both_ways: type[Function] | None, *inputs: Any) -> Any:
    """Apply a function.

    `Function.apply` looks at the signature of a function that has `setup_context`, which takes
    longer than what it computes for a few hundred tokens; `torch.func` and compilers need
    `setup_context`. So outside of these the same three methods are called without it.

    Args:
        function: has `forward`, `setup_context` and `backward`.
        both_ways: the same, with the derivative of forward mode; None where the caller has seen
            that nobody asks for it.
        inputs: of `forward`, all of them by place.
    """
    if both_ways is not None and beyond_backward():
        return both_ways.apply(*inputs)
    if exporting():
        return function.forward(*inputs)
    if torch.compiler.is_compiling():
        return function.apply(*inputs)
    return _plain(function).apply(*inputs)


@functools.cache
def _plain(function: type[Function]) -> type[Function]:
    """Return the function without `setup_context`."""

    class Plain(Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            output = function.forward(*inputs)
            function.setup_context(ctx, inputs, output)
            return output

        @staticmethod
        def backward(ctx: Any, *cotangents: torch.Tensor) -> Any:
            return function.backward(ctx, *cotangents)

    return Plain


def widest(device: torch.device) -> torch.dtype:
    """Return float64, or float32 where a device has no float64.

    Example:
        >>> widest(torch.device("cpu")), widest(torch.device("mps"))
        (torch.float64, torch.float32)
    """
    return torch.float64 if device.type not in _float64.WITHOUT_FLOAT64 else torch.float32


def widened(numbers: torch.Tensor) -> torch.Tensor:
    """Return numbers as float64, on the CPU where their device has none."""
    return _cast(beside(numbers))


def _cast(numbers: torch.Tensor) -> torch.Tensor:
    return numbers.to(torch.float64)


def beside(numbers: torch.Tensor) -> torch.Tensor:
    """Return a tensor, such as one of codes, where `widened` puts others of its device."""
    return numbers if numbers.device.type not in _float64.WITHOUT_FLOAT64 else numbers.cpu()


def brought(numbers: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Move what was computed to a device, as float32 where that has no float64."""
    if device.type in _float64.WITHOUT_FLOAT64 and numbers.dtype == torch.float64:
        numbers = numbers.float()
    return numbers if numbers.device == device else numbers.to(device)
