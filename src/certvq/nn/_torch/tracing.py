"""Graphs that `torch.jit.trace` and `torch.onnx.export` record: checks and searches within them.

In: tensors that a tracer follows. Out: tensors. Graphs of standard operators cannot raise errors of
their own; the certified search stays one operator. Must not know of layers.
"""

from typing import Any

import torch

from certvq.assign._onnx import ASSIGN, DOMAIN
from certvq.errors import ExportError
from certvq.nn._torch.operators import assign_operator

_NAME = f"{DOMAIN}::{ASSIGN}"


def required(fine: torch.Tensor) -> torch.Tensor:
    """Return a zero that is looked up in a table of one entry, beyond its end if not all is fine.

    Torch, and ONNX Runtime on CPUs, refuse to look beyond the end of a table.

    Args:
        fine: bool, any shape.

    Returns:
        int64 scalar.

    Example:
        >>> int(required(torch.tensor([True, True])))
        0
        >>> required(torch.tensor([True, False]))
        Traceback (most recent call last):
        IndexError: index out of range in self
    """
    bad = torch.logical_not(fine).to(torch.int64).sum().clamp(max=1)
    table = torch.zeros(1, dtype=torch.int64, device=fine.device)
    return table.index_select(0, bad.reshape(1)).reshape(())


def search_in_graph(
    latents: torch.Tensor, codebook: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Record the search: as ``certvq::assign`` for TorchScript, as `ASSIGN` for ONNX.

    Args:
        latents: (N, D), detached.
        codebook: (K, D), detached.

    Returns:
        What `assign_operator` returns.

    Raises:
        ExportError: numbers that the operator of ONNX does not take: float64.
    """
    if not torch.onnx.is_in_onnx_export():
        return assign_operator(latents, codebook)
    for name, numbers in (("latents", latents), ("codebook", codebook)):
        if numbers.dtype == torch.float64:
            text = f"the search in ONNX graphs takes float32, got float64 {name}; call .float()"
            raise ExportError(text)
    latents, codebook = latents.float(), codebook.float()
    if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage] (documented)
        recorded: tuple[torch.Tensor, ...] = _Search.apply(latents, codebook)
        return recorded[0], recorded[1], recorded[2]
    if not hasattr(torch.onnx, "ops"):  # before torch 2.8
        return assign_operator(latents, codebook)
    found = torch.onnx.ops.symbolic_multi_out(
        _NAME,
        (latents, codebook),
        dtypes=(torch.int64, torch.uint8, torch.float64),
        shapes=[latents.shape[:1]] * 3,
        version=1,
    )
    return found[0], found[1], found[2]


class _Search(torch.autograd.Function):
    """The search as the TorchScript exporter wants it."""

    @staticmethod
    def forward(ctx: Any, latents: torch.Tensor, codebook: torch.Tensor) -> Any:
        found = assign_operator(latents, codebook)
        ctx.mark_non_differentiable(*found)
        return found

    @staticmethod
    def symbolic(graph: Any, latents: Any, codebook: Any) -> Any:
        """Return the operator, with the types of its results."""
        found = graph.op(_NAME, latents, codebook, outputs=3)
        for value, number in zip(found, (torch.int64, torch.uint8, torch.float64), strict=True):
            value.setType(latents.type().with_dtype(number).with_sizes([None]))
        return found


def nearest_in_graph(latents: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Find the nearest number of each row by standard operators.

    Mathematics: z is nearer to b than to a < b just when ``2 z > a + b = s + e``, with s the
    rounded sum and e its rounding error (exact, by Knuth's two-sum); that is ``2 z > s``, or
    ``2 z = s`` and ``e < 0``. Where ``2 z = a + b`` both are nearest.

    Args:
        latents: (D, N) float64, finite.
        table: (D, M) float64, of magnitudes below 2^1000 but for +inf at the end of short rows.

    Returns:
        int64 (D, N): the first place of a nearest number in its row.
    """
    numbers = table.sort(dim=1).values
    lower, upper = numbers[:, :-1], numbers[:, 1:]
    total = lower + upper
    part = total - lower
    error = ((lower - (total - part)) + (upper - part)).unsqueeze(1)
    total, twice = total.unsqueeze(1), (latents * 2.0).unsqueeze(2)
    beyond, on = twice > total, twice == total
    places = torch.arange(table.shape[1], device=table.device)
    first = []
    for further in (error < 0.0, error <= 0.0):
        cells = (beyond | (on & further)).to(torch.int64).sum(dim=2)
        chosen = numbers.gather(1, cells).unsqueeze(2)
        found = torch.where(chosen == table.unsqueeze(1), places, table.shape[1])
        first.append(found.amin(dim=2))
    return torch.minimum(*first)
