"""Tell tensors that hold numbers from those that stand for some.

In: a tensor. Out: whether code that looks at its numbers may run now. Must not know what it does.
"""

import torch

_PLAIN = (torch.Tensor, torch.nn.Parameter)
"""Modes that compute shapes only have types of their own."""


def holds_numbers(tensor: torch.Tensor) -> bool:
    """Say whether a tensor is an ordinary one that no compiler or tracer follows.

    Example:
        >>> holds_numbers(torch.zeros(2)), holds_numbers(torch.zeros(2, device="meta"))
        (True, False)
    """
    return (
        type(tensor) in _PLAIN
        and tensor.device.type != "meta"
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage] (documented)
    )
