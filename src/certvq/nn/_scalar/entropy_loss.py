"""The loss of `Entropy` and its slope at once, for small batches.

In: latents whose logits are independent bits. Out: the loss as one node of the graph. The same
numbers step by step are those of `bit_entropy`, up to rounding. Must not know how bits are found.
"""

import functools
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from certvq.nn._scalar.bit_entropy import batch_entropy, chunk_rows, half_tables, sample_entropy
from certvq.nn._torch.modes import full_precision


def fits(latents: torch.Tensor) -> bool:
    """Say whether latents (N, D) are few enough for `entropy_loss`."""
    return 0 < len(latents) <= chunk_rows(latents)


def entropy_loss(
    latents: torch.Tensor, scale: float, weight: float, diversity: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return ``weight (per_sample - diversity * batch)`` of the bits with logits ``scale * z``.

    For use where `fits` and `certvq.nn._torch.modes.backward_alone` say so, and in one process.

    Args:
        latents: (N, D), float32 or float64, D at most 20.
        scale: of the logits.
        weight: of the loss.
        diversity: of the second term.

    Returns:
        The loss, and without gradients the entropies `per_sample` and `batch`, all scalars.

    Example:
        >>> loss, sample, batch = entropy_loss(torch.zeros(4, 2), 1.0, 1.0, 0.5)
        >>> loss.item() == sample.item() - 0.5 * batch.item()
        True
    """
    found: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = _EntropyLoss.apply(
        latents, scale, weight, diversity
    )
    return found


def _by_steps(latents: torch.Tensor, scale: float, weight: float, diversity: float) -> torch.Tensor:
    logits = latents * scale
    return weight * (sample_entropy(logits) - diversity * batch_entropy(logits))


class _EntropyLoss(torch.autograd.Function):
    """With p the probability of 1 and q that of 0, a bit's entropy has the slope ``-a p q``.

    That of the batch goes back through the tables L and R of both halves of the bits: with S its
    slope by the mean of ``L R^T`` and ``G = (S R) L``, entry by entry, the slope by the logit of a
    bit of L is ``G_1 q - G_0 p``, G_b being the sum of G over the codes whose bit is b.
    """

    @staticmethod
    def forward(
        ctx: Any, latents: torch.Tensor, scale: float, weight: float, diversity: float
    ) -> Any:
        most = torch.finfo(latents.dtype).max  # infinity times 0 is NaN
        bits = (latents.T * scale).contiguous().clamp_(-most, most)
        with full_precision(latents.device):
            ends = torch.stack([-bits, bits], dim=1).sigmoid_()
            left, right = half_tables(ends)
            mean = (left @ right.T).div_(len(latents))
        tiny = torch.finfo(mean.dtype).tiny
        logarithm = mean.clamp(min=tiny).log_()
        chosen = torch.dot(mean.view(-1), logarithm.view(-1))  # minus the entropy of the batch
        size = bits.abs()
        each = torch.addcmul(functional.softplus(-size), size, torch.minimum(*ends.unbind(1)))
        sample = each.sum().div_(len(latents))
        ctx.save_for_backward(latents, bits, ends, left, right, logarithm.add_(mean >= tiny))
        ctx.numbers = scale, weight, diversity
        batch = -chosen
        ctx.mark_non_differentiable(sample, batch)
        return torch.add(sample, chosen, alpha=diversity).mul_(weight), sample, batch

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> Any:
        latents, bits, ends, left, right, by_mean = ctx.saved_tensors
        scale, weight, diversity = ctx.numbers
        if torch.is_grad_enabled():  # a graph of the slope is wanted
            loss = _by_steps(latents, scale, weight, diversity)
            return *torch.autograd.grad(loss, latents, cotangents[0], create_graph=True), *[
                None
            ] * 3
        with full_precision(latents.device):
            parts = [_by_bit((by_mean.T @ left).mul_(right)), _by_bit((by_mean @ right).mul_(left))]
        sums, (zeros, ones) = torch.cat(parts), ends.unbind(1)
        slope = (sums[:, 1] * zeros).sub_(sums[:, 0] * ones).mul_(diversity / len(latents))
        slope.addcmul_(bits * zeros, ones, value=-1.0 / len(latents))
        return slope.mul_(cotangents[0] * (scale * weight)).T, None, None, None


def _by_bit(table: torch.Tensor) -> torch.Tensor:
    """Add up the rows of a table (2^m, N) by each of the m bits of their numbers: (m, 2, N)."""
    bits = table.shape[0].bit_length() - 1
    members = torch.from_numpy(_members(bits, str(table.dtype).removeprefix("torch.")))
    return (members.to(table.device) @ table).view(bits, 2, table.shape[1])


@functools.cache
def _members(bits: int, number: str) -> np.ndarray:
    """Return for each bit and each of its values which numbers below 2^bits have it."""
    places = np.arange(1 << bits) >> np.arange(bits)[:, None] & 1
    return np.stack([1 - places, places], axis=1).reshape(2 * bits, 1 << bits).astype(number)
