"""How sure each latent is of its bits, and how evenly a batch uses the codes.

In: logits of independent bits. Out: entropies in nats, differentiable, without a table of all codes
for each latent. Must not know how bits are found.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from certvq.errors import OptionError
from certvq.nn._core.options import checked
from certvq.nn._torch.distributed import ALONE, Peers, require_group
from certvq.nn._torch.modes import full_precision, transforming

MOST_BITS = 20
"""Bits whose joint distribution is held at once: 2^20 numbers."""

_CHUNK = 2**22
"""Numbers in the table of half of the bits that are held at once."""


@checked
@dataclass(frozen=True)
class Entropy:
    """Push each latent to one code, and a batch to all codes.

    The loss is ``weight (per_sample - diversity * batch)``. A latent u has code c with probability
    proportional to ``exp(2 inverse_temperature u.c)``; `per_sample` is the mean entropy of that
    distribution over the batch, `batch` the entropy of its mean. For corners of a cube the bits of
    one latent are independent, so that `per_sample` is the sum of the entropies of its bits.

    Attributes:
        weight: of the loss; finite, >= 0.
        diversity: gamma, finite, >= 0.
        inverse_temperature: finite, > 0.
        group_bits: None for the exact entropy of the batch, up to 20 bits. Else the bits are
            divided into groups of at most so many, from the first on, and `batch` is the sum of
            the entropies of the groups: an upper bound, equal where the groups are independent.
        process_group: over whose batches the entropy `batch` is taken: a
            `torch.distributed.ProcessGroup`, None for the default group, or False for the batch of
            this process alone, as other losses are under ``DistributedDataParallel``.

    Raises:
        OptionError: an option out of its range.

    References:
        Yu et al., "Language Model Beats Diffusion: Tokenizer is Key to Visual Generation", 2023,
        section 3.1; Zhao, Xiong, Krähenbühl, "Image and Video Tokenization with Binary Spherical
        Quantization", 2024, section 4.2 (bits taken apart).
    """

    weight: float = 0.1
    diversity: float = 1.0
    inverse_temperature: float = 100.0
    group_bits: int | None = None
    process_group: Any = False

    def __deepcopy__(self, memo: dict[int, Any]) -> "Entropy":
        """Return the same, which nobody can change; a process group cannot be copied."""
        del memo
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Keep whether the entropy is shared; the default group takes the place of another."""
        group = False if self.process_group is False else None
        return self.__dict__ | {"process_group": group}

    def __post_init__(self) -> None:
        require_group(self.process_group)
        for name in ("weight", "diversity"):
            if not 0.0 <= getattr(self, name) < math.inf:
                text = f"{name} must be finite and at least 0, got {getattr(self, name)}"
                raise OptionError(text)
        if not 0.0 < self.inverse_temperature < math.inf:
            text = f"inverse_temperature must be finite and above 0, got {self.inverse_temperature}"
            raise OptionError(text)
        if self.group_bits is not None and not 1 <= self.group_bits <= MOST_BITS:
            text = f"group_bits must be None or 1 to {MOST_BITS}, got {self.group_bits}"
            raise OptionError(text)

    def require_bits(self, bits: int) -> None:
        """Refuse more bits than an exact entropy can be computed for.

        Raises:
            OptionError: more than 20 bits without `group_bits`.
        """
        if self.group_bits is None and bits > MOST_BITS:
            text = (
                f"the entropy of a batch over 2^{bits} codes is computed up to 2^{MOST_BITS}; give "
                "Entropy(group_bits=16), the sum over groups of bits, or entropy=None"
            )
            raise OptionError(text)


def sample_entropy(logits: torch.Tensor) -> torch.Tensor:
    """Return the mean over the batch of the entropy of independent bits.

    Mathematics: a bit with logit a has the entropy
    ``ln(1 + exp(-|a|)) + |a| / (1 + exp(|a|))``; a latent has the sum of those of its bits.

    Args:
        logits: (N, D), float32 or float64; infinite ones have entropy 0.

    Returns:
        Scalar; 0 where N is 0.

    Example:
        >>> round(float(sample_entropy(torch.zeros(5, 3))) / math.log(2), 4)
        3.0
    """
    size = logits.abs().clamp_max_(torch.finfo(logits.dtype).max)  # infinity times 0 is NaN
    bits = functional.softplus(-size) + size * torch.sigmoid(-size)
    return bits.sum() / max(1, len(logits))


def batch_entropy(
    logits: torch.Tensor, *, group_bits: int | None = None, peers: Peers = ALONE
) -> torch.Tensor:
    """Return the entropy of the mean over the batch of the distribution of the codes.

    Mathematics: the mean of products, ``mean_n prod_d p_nd^b_d (1 - p_nd)^(1 - b_d)`` for all codes
    b, is one product of matrices: the table of one half of the bits times that of the other.

    Args:
        logits: (N, D), finite, float32 or float64, of this process.
        group_bits: as for `Entropy`; None for all bits together.
        peers: the processes over whose latents the mean is taken.

    Returns:
        Scalar in float32 or float64; 0 where there is no latent. Probabilities below the smallest
        normal number count as that number under the logarithm.

    Cost: ``N 2^D`` multiplications and ``2^D + N 2^(D/2)`` memory, the latter in chunks.

    Example:
        >>> round(float(batch_entropy(torch.tensor([[9.0, 9.0], [-9.0, 9.0]]))) / math.log(2), 2)
        1.0
    """
    width = group_bits or logits.shape[1]
    count = _count_over_processes(logits, peers)
    total = logits.new_zeros(())
    with full_precision(logits.device):
        for group in logits.split(width, dim=1):
            mean = _over_processes(_sum_of_products(group), peers) / count
            tiny = torch.finfo(mean.dtype).tiny
            total = total - (mean * mean.clamp(min=tiny).log()).sum()
    return total


def _sum_of_products(logits: torch.Tensor) -> torch.Tensor:
    """Sum the probabilities of all codes over the batch, (2^(D - h), 2^h)."""
    rows = chunk_rows(logits)
    if len(logits) <= rows:
        return _chunk(logits)
    if transforming() or not (torch.is_grad_enabled() and logits.requires_grad):
        return sum(map(_chunk, logits.split(rows)), start=logits.new_zeros(()))
    parts = [
        checkpoint(_chunk, part, use_reentrant=False, preserve_rng_state=False)
        for part in logits.split(rows)
    ]
    return torch.stack(parts).sum(0)


def chunk_rows(logits: torch.Tensor) -> int:
    """Return for how many latents tables are held at once."""
    return max(1, _CHUNK >> ((logits.shape[1] + 1) // 2))


def _chunk(logits: torch.Tensor) -> torch.Tensor:
    bits = logits.T.contiguous()
    left, right = half_tables(torch.stack([torch.sigmoid(-bits), torch.sigmoid(bits)], dim=1))
    return left @ right.T


def half_tables(ends: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the probabilities of the values of the later bits, and of the first ``h = D // 2``.

    Args:
        ends: (D, 2, N), the probabilities that each bit is 0 and 1.

    Returns:
        (2^(D - h), N) and (2^h, N).
    """
    each = ends.unbind()
    half = len(each) // 2
    return _table(each[half:]), _table(each[:half] or (torch.ones_like(each[0][:1]),))


def _table(ends: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Return the probability of each value of some bits, (2^bits, N), given those of 0 and 1."""
    table, *others = ends
    for pair in others:  # each (2, N); rows as long as the batch are multiplied fastest
        table = (pair.unsqueeze(1) * table).flatten(0, 1)
    return table


def _count_over_processes(logits: torch.Tensor, peers: Peers) -> torch.Tensor | int:
    """Return the number of latents, at least 1."""
    if not peers.together():
        return max(1, len(logits))
    count = torch.tensor(float(len(logits)), device=logits.device)
    return peers.add(count).clamp(min=1.0)


def _over_processes(sums: torch.Tensor, peers: Peers) -> torch.Tensor:
    """Add over processes, with the gradient whose mean over processes is that of the total."""
    if not peers.together():
        return sums
    mine = sums * distributed.get_world_size(peers.group)
    return mine + (peers.add(sums.detach().clone()) - mine.detach())
