"""Do the operands that were captured explain the scores that the model computed from them?

In: scores of a model, and the latents and code vectors that it is believed to compare. Out: whether
they agree within the rounding of the model's own arithmetic. This guards against versions and
subclasses that compare something else; it decides no code. Must not change anything.
"""

import math
from dataclasses import dataclass, replace

import torch

from certvq.inspect._libraries.adapter import Comparison

ROWS = 4
"""How many rows of each codebook, or latents with codebooks of their own, are looked at."""

CODES = 64
"""How many scores of each of these rows."""

LEAST_LENGTH = 0.5
"""Vectors divided by their lengths are shorter than this only where the divisor was not the length:
of length 0, or below the least divisor of `torch.nn.functional.normalize`."""


@dataclass(frozen=True)
class Explained:
    """Whether operands explain scores.

    Attributes:
        agrees: whether one of the readings holds in all the rows that were looked at.
        telling: whether latents of length 0 would not explain the same scores. Where they would, as
            in silence, other latents may do so as well, and later calls show which it is.
    """

    agrees: bool
    telling: bool


def explain(comparison: Comparison, scores: torch.Tensor, sign: int) -> Explained:
    """Say whether differences of scores are those of distances, in some rows.

    The scores may be squared distances, distances, or inner products with vectors of one length,
    and each row may lack a constant. Up to that they must agree with float64 to within
    `tolerance`. Rows whose scores overflowed are left out, and most codes of a large codebook; of
    unit vectors, those that are too short to be made ones.

    Args:
        comparison: latents (H, N, D) and code vectors (H, K, D), all finite.
        scores: (..., K), of H N rows in all.
        sign: 1 where the least score wins, -1 where the greatest does.

    Of code vectors that each latent has for itself, those of some latents are looked at.

    Returns:
        What was found; no latents agree with everything, and tell nothing.
    """
    heads, rows = comparison.latents.shape[:2]
    if rows == 0 or heads == 0:
        return Explained(agrees=True, telling=False)
    with torch.no_grad():
        some, given = _sample(comparison, scores, sign)
        latents, codebook = some.latents.double(), some.codebook.double()
        true = (codebook[:, None] - latents[:, :, None]).square().sum(-1)
        reach = latents.norm(dim=-1)[..., None] + codebook.norm(dim=-1).amax(-1)[:, None, None]
        bound = tolerance(comparison, scores) * reach.square() + 2e-8
        bound = bound + _shifted(comparison) * reach
        read = given.isfinite().all(-1, keepdim=True).expand_as(given)
        still = codebook.square().sum(-1)[:, None].expand_as(true)
        if comparison.unit:
            read = read & (codebook.norm(dim=-1) > LEAST_LENGTH)[:, None]
            true, still = (each.where(read, torch.inf) for each in (true, still))
        readings = [given, given * given.abs()]
        if comparison.unit or _of_one_length(comparison, bound):
            readings.append(2 * given)
        return Explained(
            agrees=any(_agree(reading, true, bound, read) for reading in readings),
            telling=not any(_agree(reading, still, bound, read) for reading in readings),
        )


def _of_one_length(comparison: Comparison, bound: torch.Tensor) -> bool:
    """Say whether all code vectors of a head, not some alone, have one length to within a bound."""
    squares = comparison.codebook.detach().double().square().sum(-1)
    spread = (squares.amax(-1) - squares.amin(-1)).amax()
    return bool(spread <= bound.amax())


def lengths_differ(
    comparison: Comparison, scores: torch.Tensor, sign: int
) -> tuple[int, float, int, float] | None:
    """Return two codes and their lengths where scores are inner products and these differ.

    Args:
        comparison: as for `explain`.
        scores: likewise.
        sign: likewise.

    Returns:
        The codes of the shortest and the longest vector, each with its length; None where the
        scores are something else.
    """
    with torch.no_grad():
        some, given = _sample(comparison, scores, sign)
        true = -torch.einsum("hnd,hkd->hnk", some.latents.double(), some.codebook.double())
        lengths = comparison.codebook.detach().double().norm(dim=-1).flatten()
        reach = some.latents.double().norm(dim=-1)[..., None] * lengths.max()
        bound = tolerance(comparison, scores) * reach + 2e-8
        if not _agree(given, true, bound, given.isfinite()):
            return None
        least, most = int(lengths.argmin()), int(lengths.argmax())
        size = comparison.codebook.shape[1]
        return least % size, lengths[least].item(), most % size, lengths[most].item()


def _sample(
    comparison: Comparison, scores: torch.Tensor, sign: int
) -> tuple[Comparison, torch.Tensor]:
    """Return some latents and code vectors, and their scores (H, N, K), of which the least wins."""
    heads, rows = comparison.latents.shape[:2]
    latents, codebook = comparison.latents.detach(), comparison.codebook.detach()
    by_head = scores.detach().reshape(heads, rows, -1)
    if comparison.own:
        few = _spread(heads, scores.device)
        latents, codebook, by_head = latents[few], codebook[few], by_head[few]
    some = _spread(rows, scores.device)
    codes = _spread(codebook.shape[1], scores.device, CODES)
    chosen = replace(comparison, latents=latents[:, some], codebook=codebook[:, codes])
    return chosen, sign * by_head[:, some][..., codes].double()


def _spread(count: int, device: torch.device, most: int = ROWS) -> torch.Tensor:
    """Return some places in ``range(count)``, the first and the last among them."""
    return torch.linspace(0, count - 1, min(most, count)).round().long().to(device)


def _shifted(comparison: Comparison) -> float:
    """Bound what a shift e of each entry does to a difference of squared distances.

    ``|z - c + e|^2`` is ``|z - c|^2 + 2 e sum(z - c) + D e^2``, so that a difference of two moves
    by ``2 e sum(c' - c)``, at most ``4 e sqrt(D)`` times ``|z| + max |c|``; twice that is allowed.
    """
    return 8.0 * abs(comparison.shift) * math.sqrt(comparison.latents.shape[2])


def _agree(
    given: torch.Tensor, true: torch.Tensor, bound: torch.Tensor, read: torch.Tensor
) -> bool:
    best = true.argmin(-1, keepdim=True)
    slope = (given - given.gather(-1, best)) - (true - true.gather(-1, best))
    return bool(((slope.abs() <= bound) | ~read).all())


def tolerance(comparison: Comparison, scores: torch.Tensor) -> float:
    """Bound the error of a difference of scores relative to ``(|z| + max |c|)^2``.

    Each score is a sum of at most 2 D + 3 products of numbers of type u, none beyond
    ``(|z| + |c|)^2``; a difference has two of them. Four times that is allowed, because nothing
    but the identity of the operands hangs on it.
    """
    dim = int(comparison.latents.shape[2])
    return 8.0 * (2 * dim + 3) * _coarsest_rounding(comparison, scores)


def _coarsest_rounding(comparison: Comparison, scores: torch.Tensor) -> float:
    """Return the greatest relative rounding that the model's product may have used."""
    types = {scores.dtype, comparison.latents.dtype, comparison.codebook.dtype}
    device = scores.device.type
    if torch.is_autocast_enabled(device):
        types.add(torch.get_autocast_dtype(device))
    if torch.get_float32_matmul_precision() != "highest":
        types.add(torch.bfloat16)
    rounding = max(torch.finfo(kind).eps for kind in types)
    return rounding if device == "cpu" else max(rounding, 2.0**-10)  # TensorFloat-32
