"""How alike latents and code vectors are: directions, distances, what follows from them.

In: latents and code vectors. Out: unit vectors, scores, entropies. Must not know of layers.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn import functional

from certvq.nn._torch.modes import (
    beyond_backward,
    full_precision,
    holds_numbers,
    own_graph,
    transforming,
)

SHORTEST = 1e-6
"""Vectors shorter than this are divided by it instead of their length; zero stays zero."""


def unit_rows(vectors: torch.Tensor) -> torch.Tensor:
    """Divide each row by its Euclidean length, in float32 or wider; differentiable.

    Mathematics: ``v / max(|v|, 1e-6)``, as rounded: no row has length one to the bit.

    Args:
        vectors: (N, D) finite, any float type.

    Returns:
        (N, D).

    Example:
        >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    wide = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    lengths = torch.linalg.vector_norm(wide, dim=1, keepdim=True)
    overflow = torch.isinf(lengths.detach())  # of the squares, not of the numbers
    if not holds_numbers(vectors) or transforming() or bool(overflow.any()):
        largest = wide.detach().abs().amax(dim=1, keepdim=True)
        wide = wide / torch.where(overflow, largest, 1.0)
        lengths = torch.linalg.vector_norm(wide, dim=1, keepdim=True)
    return wide / lengths.clamp(min=SHORTEST)


CHUNK = 1 << 20
"""Entries of a chunk of similarities."""

_FLOOR = 1e-8
"""Squared distances below count as this, so that the root has a gradient."""

_EPS = 1e-5
"""Probabilities below count as this within a logarithm, so that it has a gradient."""


def similarity(latents: torch.Tensor, vectors: torch.Tensor, metric: str) -> torch.Tensor:
    """Return minus the distance, or the dot product, of all pairs.

    Args:
        latents: (N, D).
        vectors: (K, D).
        metric: ``"euclidean"`` or ``"cosine"``.

    Returns:
        (N, K) in float32 or wider, differentiable; squared distances below 1e-8 count as 1e-8.
    """
    wide = _wide(latents, vectors)
    with full_precision(latents.device):
        left, right = latents.to(wide), vectors.to(wide)
        products = left @ right.T
        if metric == "cosine":
            return products
        squares = left.square().sum(1)[:, None] + right.square().sum(1) - 2.0 * products
        return -squares.clamp(min=_FLOOR).sqrt()


def chunks(rows: int, codebook_size: int) -> Iterator[slice]:
    """Cut rows into slices whose similarities have `CHUNK` entries at most.

    Compilers get one slice: a loop would tie their program to the size of one batch.
    """
    if torch.compiler.is_compiling():
        yield slice(0, rows)
        return
    step = max(1, CHUNK // codebook_size)
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))


def cross_entropy(
    latents: torch.Tensor, vectors: torch.Tensor, codes: torch.Tensor, metric: str
) -> torch.Tensor:
    """Return the mean cross entropy of the softmax of the similarities against codes.

    Args:
        latents: (N, D).
        vectors: (K, D).
        codes: int64 (N,), in range.
        metric: as for `similarity`.

    Returns:
        Scalar; 0 for no latents. Differentiable once, by latents and code vectors.

    Cost: O(N K D) time; one chunk of memory.
    """

    def term(left: torch.Tensor, right: torch.Tensor, part: slice) -> torch.Tensor:
        return functional.cross_entropy(
            similarity(left, right, metric), codes[part], reduction="sum"
        )

    return _chunked_sum(latents, vectors, term) / max(1, len(latents))


def negative_entropy(
    latents: torch.Tensor, vectors: torch.Tensor, temperature: float, metric: str
) -> torch.Tensor:
    """Return minus the entropy of the mean probabilities of the codes, averaged over groups.

    Mathematics: ``mean over g of sum_k p log p`` with ``p_k = mean over m of softmax_k(T s)`` and
    s the similarity of latent m of group g to code k. Within the logarithm, p is at least 1e-5.

    Args:
        latents: (G, M, D): G groups of M latents.
        vectors: (K, D).
        temperature: T, that multiplies the similarities.
        metric: as for `similarity`.

    Returns:
        Scalar; 0 for no latents. Differentiable once, by latents and code vectors; under
        `torch.func` and in forward mode as often as one likes.

    Cost: O(G M K D) time, twice where a gradient is wanted; O(G K) memory and one chunk.
    """
    groups, members, dim = latents.shape
    flat = latents.reshape(-1, dim)
    if not len(flat):
        return flat.sum(dtype=_wide(latents, vectors))

    def probabilities(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return (temperature * similarity(left, right, metric)).softmax(dim=1)

    if _whole():  # derivatives of any order; what they need of all chunks is kept
        every = [probabilities(flat[part], vectors) for part in chunks(len(flat), len(vectors))]
        mean = torch.cat(every).reshape(groups, members, -1).mean(dim=1)
        return (mean * mean.clamp(min=_EPS).log()).sum() / groups
    group = torch.arange(groups, device=flat.device).repeat_interleave(members)
    with torch.no_grad():
        mean = torch.zeros(groups, len(vectors), dtype=_wide(latents, vectors), device=flat.device)
        for part in chunks(len(flat), len(vectors)):
            mean.index_add_(0, group[part], probabilities(flat[part], vectors))
        mean /= members
        logarithm = mean.clamp(min=_EPS).log()
        slope = (logarithm + (mean > _EPS)) / len(flat)
        value = (mean * logarithm).sum() / groups

    def term(left: torch.Tensor, right: torch.Tensor, part: slice) -> torch.Tensor:
        return (probabilities(left, right) * slope[group[part]]).sum()

    if not (torch.is_grad_enabled() and (latents.requires_grad or vectors.requires_grad)):
        return value
    linear = _chunked_sum(flat, vectors, term)
    return value + (linear - linear.detach())


_Term = Callable[[torch.Tensor, torch.Tensor, slice], torch.Tensor]


def _chunked_sum(latents: torch.Tensor, vectors: torch.Tensor, term: _Term) -> torch.Tensor:
    """Sum a term over chunks of the rows; its gradient is computed with it, chunk by chunk.

    `torch.func` and compilers have derivatives of their own, and keep what they need of all chunks.
    """
    if _whole():
        parts = chunks(len(latents), len(vectors))
        terms = [term(latents[part], vectors, part) for part in parts]
        return torch.stack(terms).sum() if terms else (latents.sum() + vectors.sum()) * 0.0
    result: torch.Tensor = _ChunkedSum.apply(latents, vectors, term)
    return result


def _whole() -> bool:
    return beyond_backward() or torch.compiler.is_compiling()


class _ChunkedSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, latents: torch.Tensor, vectors: torch.Tensor, term: _Term
    ) -> torch.Tensor:
        wide = _wide(latents, vectors)
        wanted = any(ctx.needs_input_grad)
        right = vectors.detach().to(wide).clone().requires_grad_(wanted)
        slopes = torch.zeros_like(latents, dtype=wide), torch.zeros_like(right)
        total = right.new_zeros(())
        for part in chunks(len(latents), len(vectors)):
            left = latents[part].detach().to(wide).clone().requires_grad_(wanted)
            with torch.set_grad_enabled(wanted), own_graph():
                value = term(left, right, part)
            total += value.detach()
            if wanted:
                by_left, by_right = torch.autograd.grad(value, (left, right))
                slopes[0][part] = by_left
                slopes[1].add_(by_right)
        ctx.save_for_backward(slopes[0].to(latents.dtype), slopes[1].to(vectors.dtype))
        return total.detach()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] (the decorator's type)
        ctx: Any, *cotangents: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        left, right = ctx.saved_tensors
        return left * cotangents[0], right * cotangents[0], None


def _wide(latents: torch.Tensor, vectors: torch.Tensor) -> torch.dtype:
    return torch.promote_types(torch.promote_types(latents.dtype, vectors.dtype), torch.float32)
