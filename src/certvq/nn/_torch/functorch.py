"""Steps that look at numbers, out of the sight of torch.func.

In: a step from rows to rows, such as a search, and its tensors. Out: what the step returns, under
any nesting of `torch.func.vmap`, `grad` and `jvp`. Must not know what the step does.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

Step = Callable[..., tuple[torch.Tensor, ...]]


def apart(
    step: Step, rows: Sequence[torch.Tensor], tables: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """Run a step on the ordinary tensors that those of `torch.func` stand for.

    Args:
        step: called as ``step(*rows, *tables)``; returns several tensors (N, ...). What it finds
            for a row may depend on that row and the tables only. It has no derivative.
        rows: each (N, ...). Rows of all samples of a `vmap` are given to the step together, where
            the tables are the same for all.
        tables: whatever else the step reads.

    Returns:
        What the step returns.

    Example:
        >>> def index_of_largest(rows):
        ...     return (torch.tensor([row.index(max(row)) for row in rows.tolist()]),)
        >>> batch = torch.tensor([[[0.0, 2.0]], [[5.0, 1.0]]])
        >>> torch.func.vmap(lambda part: apart(index_of_largest, [part], [])[0])(batch)
        tensor([[1],
                [0]])
    """
    tensors = [tensor.detach() for tensor in (*rows, *tables)]
    found: tuple[torch.Tensor, ...] = _Apart.apply(step, len(rows), *tensors)
    return found


class _Apart(torch.autograd.Function):
    @staticmethod
    def forward(step: Step, rows: int, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        del rows
        return step(*tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
        del inputs
        ctx.mark_non_differentiable(*output)

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> Any:
        """Say that there is none; torch asks for this method."""
        del ctx, cotangents
        return None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *given: Any
    ) -> tuple[tuple[torch.Tensor, ...], tuple[int, ...]]:
        """Run once for all samples where the tables are the same, else once for each."""
        step, rows, *tensors = given
        size, dims = info.batch_size, in_dims[2:]
        if all(dim is None for dim in dims[rows:]):
            stacked = [
                tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
                for tensor, dim in zip(tensors[:rows], dims, strict=False)
            ]
            shape = stacked[0].shape[:2]
            found = apart(step, [part.flatten(0, 1) for part in stacked], tensors[rows:])
            return tuple(part.unflatten(0, shape) for part in found), (0,) * len(found)
        runs: list[tuple[torch.Tensor, ...]] = []
        for place in range(size):
            own = [
                tensor if dim is None else tensor.select(dim, place)
                for tensor, dim in zip(tensors, dims, strict=True)
            ]
            runs.append(apart(step, own[:rows], own[rows:]))
        parts = tuple(torch.stack(part) for part in zip(*runs, strict=True))
        return parts, (0,) * len(parts)
