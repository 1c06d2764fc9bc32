"""What several processes that train one codebook have to agree on.

In: tensors of this process. Out: the same tensors on every process. Whether processes work
together is asked at each call and never remembered: layers are often built before the process
group. Must not know of quantizers.
"""

from collections.abc import Iterable

import torch
from torch import distributed

from certvq.errors import NonFiniteError
from certvq.nn._core.eager import recomputing


def together() -> bool:
    """Say whether this process is one of several."""
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )


def is_first() -> bool:
    """Say whether this process decides: the first one, or the only one."""
    return not together() or distributed.get_rank() == 0


def process_count() -> int:
    """Return how many processes work together, at least 1."""
    return distributed.get_world_size() if together() else 1


def add_over_processes(tensor: torch.Tensor) -> torch.Tensor:
    """Replace a tensor, in place, by its sum over the processes, and return it."""
    if together():
        distributed.all_reduce(tensor)
    return tensor


def copy_from_first(tensors: Iterable[torch.Tensor]) -> None:
    """Overwrite tensors by those of the first process."""
    if not together():
        return
    for tensor in tensors:
        raw = tensor.detach()
        distributed.broadcast(raw.view(torch.uint8) if raw.dtype == torch.bool else raw, src=0)


def any_process(flag: bool, device: torch.device) -> bool:  # noqa: FBT001 (what is asked about)
    """Say whether a flag is set on one of the processes at least.

    A forward pass that is computed again within a backward pass asks nobody: it was asked before,
    and there gradients are under way between the processes.
    """
    if not together() or recomputing():
        return flag
    seen = torch.tensor(float(flag), device=device)
    distributed.all_reduce(seen, op=distributed.ReduceOp.MAX)
    return bool(seen)


def raise_together(error: NonFiniteError | None, device: torch.device) -> None:
    """Raise on every process if one of them has an error.

    Without this the healthy processes would wait for the broken one until their time limit.

    Raises:
        NonFiniteError: `error` itself, or that of another process.
    """
    if together():
        flag = any_process(error is not None, device)
        if error is None and flag:
            text = (
                "latents must be finite in every process, but those of another process are not; "
                "its own error names the row and column"
            )
            raise NonFiniteError(text)
    if error is not None:
        raise error
