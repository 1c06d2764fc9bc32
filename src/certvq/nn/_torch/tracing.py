"""Graphs that `torch.jit.trace` and `torch.onnx.export` record: checks and tables within them.

In: tensors that a tracer follows. Out: tensors. Graphs of standard operators cannot raise errors of
their own. Must not know of layers.
"""

import torch


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
