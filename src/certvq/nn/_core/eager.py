"""Tell tensors that hold numbers from those that stand for some.

In: a tensor. Out: whether code that looks at its numbers may run now. Must not know what it does.
"""

import torch
from torch._C._functorch import is_functorch_wrapped_tensor  # nothing public tells

_PLAIN = (torch.Tensor, torch.nn.Parameter)
"""Modes that compute shapes only have types of their own."""


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
        type(tensor) in _PLAIN
        and tensor.device.type != "meta"
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage] (documented)
    )
