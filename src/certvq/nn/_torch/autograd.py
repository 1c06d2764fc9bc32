"""Functions with a backward pass of their own, applied as whoever follows them needs it.

In: such a function and its inputs. Out: its result. Must not know what it computes.
"""

import functools
from typing import Any

import torch
from torch.autograd import Function

from certvq.nn._torch.modes import beyond_backward, exporting


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
