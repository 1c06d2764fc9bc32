"""Running counts and sums of the tokens that chose each code, and new life for dead codes.

In: tokens with their codes, batch by batch. Out: moving averages, the code vectors that they imply,
and which codes are dead. The statistics of a batch wait until the next training batch arrives, so
that the codebook that a forward pass used is still there when it returns. Must not search for
codes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.autograd.graph import increment_version

from certvq import _native
from certvq.errors import OptionError
from certvq.nn._core.options import checked
from certvq.nn._torch import random as _random
from certvq.nn._torch.device import WideBuffers
from certvq.nn._torch.distributed import ALONE, Peers
from certvq.nn._torch.modes import (
    beside,
    brought,
    holds_numbers,
    recomputing,
    unwatched,
    widened,
)

_CHUNK = 1 << 18
"""Numbers that are widened at a time."""

_KERNEL_NUMBERS = (torch.float32, torch.float64)
"""Types of number that the compiled kernel adds up."""


def sums_by_code(tokens: torch.Tensor, codes: torch.Tensor, codebook_size: int) -> torch.Tensor:
    """Add up the tokens of each code.

    Args:
        tokens: (N, D), any float type.
        codes: int64 (N,) in ``range(K)``.
        codebook_size: K.

    Returns:
        float64 (K, D), on the CPU where the tokens' device has none.

    Cost: O(N D) time, O(K D) memory. On CUDA the order of additions varies unless
    ``torch.use_deterministic_algorithms(True)`` is set.
    """
    width = tokens.shape[1]
    sums, codes = widened(tokens.new_zeros(codebook_size, width)), beside(codes)
    step = max(1, _CHUNK // max(1, width))
    for start in range(0, len(tokens), step):
        part = slice(start, start + step)
        sums.index_add_(0, codes[part], widened(tokens[part]))
    return sums


def totals_by_code(
    tokens: torch.Tensor, codes: torch.Tensor, shape: tuple[int, ...], peers: Peers
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Count and add up the tokens of each code over all processes, which are asked once.

    Args:
        tokens: (N, D).
        codes: int64 (N,) in ``range(K)``.
        shape: (K, width), with width D, or 0 where no sums are wanted.
        peers: the processes.

    Returns:
        The counts (K,), and sums (K, D), float64 where the device has it, or None.
    """
    codebook_size, width = shape
    counts = torch.bincount(codes, minlength=codebook_size)
    if not width:
        return peers.add(counts), None
    sums = brought(sums_by_code(tokens, codes, codebook_size), tokens.device)
    if peers.together():
        both = peers.add(torch.cat([counts[:, None].to(sums.dtype), sums], dim=1))
        counts, sums = both[:, 0], both[:, 1:]
    return counts, sums


def _arrays(*tensors: torch.Tensor) -> list[np.ndarray] | None:
    """Return what the kernel may write to, of one type of number, or None."""
    kind = tensors[0].dtype
    if not _native.AVAILABLE or kind not in _KERNEL_NUMBERS or not unwatched(*tensors):
        return None
    for tensor in tensors:
        if tensor.dtype != kind or not tensor.is_cpu or not tensor.is_contiguous():
            return None
        if tensor.requires_grad or tensor.is_inference() or tensor.is_neg():
            return None
    return [tensor.numpy() for tensor in tensors]


class RunningStatistics(WideBuffers):
    """Moving averages with the correction of the start, in float32 or wider.

    Args:
        codebook_size: K.
        width: D where code vectors follow the sums, 0 where only counts are wanted: then there are
            no sums, since loaders take empty tensors for tensors that share memory.

    Attributes:
        weight: (), how much of the past the averages hold, ``1 - decay^t`` after t batches.
        counts: (K,), tokens per batch, times `weight`.
        sums: (K, width), sums of tokens per batch, times `weight`.
        pending_counts: (K,), tokens of the latest training batch, not yet averaged.
        pending_sums: (K, width), likewise.
        held: whether what waits shall go on waiting, so that the next batch adds to it; not part of
            the state dict.
        chosen: (K,) bool, codes with tokens in what `average` took in since `means` last moved
            them; None before.
    """

    weight: torch.Tensor
    counts: torch.Tensor
    sums: torch.Tensor
    pending_counts: torch.Tensor
    pending_sums: torch.Tensor

    def __init__(self, codebook_size: int, width: int) -> None:
        super().__init__()
        self.held = False
        self.width = width
        self.chosen: torch.Tensor | None = None
        dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
        self.register_buffer("weight", torch.zeros((), dtype=dtype))
        for name in ("counts", "pending_counts"):
            self.register_buffer(name, torch.zeros(codebook_size, dtype=dtype))
        for name in ("sums", "pending_sums") if width else ():
            self.register_buffer(name, torch.zeros(codebook_size, width, dtype=dtype))

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Pass over empty sums, which states of earlier versions have."""
        for name in () if self.width else ("sums", "pending_sums"):
            value = state_dict.get(prefix + name)
            if isinstance(value, torch.Tensor) and not value.numel():
                del state_dict[prefix + name]
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def remember(self) -> Callable[[], None]:
        """Return what puts back what is no buffer; see `all_or_nothing`."""
        held, chosen = self.held, self.chosen

        def restore() -> None:
            self.held, self.chosen = held, chosen

        return restore

    def begin(self, codebook: torch.Tensor, counts: torch.Tensor, decay: float) -> None:
        """Start as though one batch had been averaged whose means are the codebook.

        Args:
            codebook: (K, D).
            counts: (K,) tokens of each code, each at least 1.
            decay: weight of the past.
        """
        self.weight.fill_(1.0 - decay)
        self.counts.copy_(counts * (1.0 - decay))
        if self.width:
            self.sums.copy_(codebook * self.counts[:, None])

    def restart(self, codebook: torch.Tensor, least: torch.Tensor | None = None) -> None:
        """Forget all tokens but how many there are: each code has the mean count.

        Args:
            codebook: (K, D), what the sums shall imply.
            least: (), the count that codes have at least; None is 0.
        """
        self.counts.fill_(self.counts.mean()).clamp_(min=0.0 if least is None else least)
        self.pending_counts.zero_()
        if self.width:
            self.sums.copy_(codebook * self.counts[:, None])
            self.pending_sums.zero_()
        self.chosen = None

    def observe(self, tokens: torch.Tensor, codes: torch.Tensor, peers: Peers = ALONE) -> None:
        """Add the statistics of a batch, of all processes, to what the next `average` takes in.

        Several calls before it add up, as where one codebook serves several levels. A forward pass
        that is computed again for a backward pass adds nothing.

        Args:
            tokens: (N, D).
            codes: (N,) int64.
            peers: the processes.

        Cost: that of `sums_by_code`.
        """
        if recomputing():
            return
        if self.width and not peers.together() and self._add_by_kernel(tokens, codes):
            return
        counts, sums = totals_by_code(tokens, codes, (len(self.counts), self.width), peers)
        self.pending_counts.add_(counts)
        if sums is not None:
            self.pending_sums.add_(sums)

    def _add_by_kernel(self, tokens: torch.Tensor, codes: torch.Tensor) -> bool:
        """Do what `observe` does in one pass, and to the bit, where the compiled kernel can."""
        given, own = (tokens, codes), (self.pending_counts, self.pending_sums)
        kind = tokens.dtype in _KERNEL_NUMBERS and codes.is_contiguous() and not tokens.is_neg()
        arrays = _arrays(*own) if kind and unwatched(*given) and tokens.is_cpu else None
        if arrays is None:
            return False
        _native.add_batch(tokens.numpy(), codes.numpy(), *arrays)
        increment_version(own)
        return True

    def average(self, decay: float) -> bool:
        """Take the waiting batch into the averages.

        Args:
            decay: weight of the past; with 1 nothing moves.

        Returns:
            Whether the averages have moved: there was a batch with at least one token, not held.
        """
        if not self.waits():
            return False
        chosen = self.pending_counts > 0.0
        self.chosen = chosen if self.chosen is None else chosen | self.chosen.to(chosen.device)
        self._average_counts(decay)
        self.pending_counts.zero_()
        if self.width:
            # Without `alpha`, for which some processors round once where others do twice.
            self.sums.mul_(decay).add_(self.pending_sums.mul_(1.0 - decay))
            self.pending_sums.zero_()
        return decay < 1.0

    def waits(self) -> bool:
        """Say whether there is a batch to take in: one with a token, and not held."""
        return not self.held and not self.weight.is_meta and bool(self.pending_counts.any())

    def _average_counts(self, decay: float) -> None:
        self.weight.add_((1.0 - self.weight) * (1.0 - decay))  # 1 stays 1 to the bit
        self.counts.mul_(decay).add_(self.pending_counts, alpha=1.0 - decay)

    def move(self, decay: float, eps: float, codebook: torch.Tensor, written: torch.Tensor) -> bool:
        """Take the waiting batch in and move the codebook, to the bit as `average` and `means` do.

        In one pass, by the compiled kernel; a batch must wait.

        Args:
            decay: weight of the past.
            eps: as for `means`.
            codebook: (K, D); codes that got tokens move to their means.
            written: (K, D), gets the same vectors; may be the codebook.

        Returns:
            Whether the kernel could; else nothing has changed.
        """
        counts, sums = (self.counts, self.pending_counts), (self.sums, self.pending_sums)
        plain = self.chosen is None and decay < 1.0
        arrays = _arrays(*counts, *sums, codebook, written) if plain else None
        if arrays is None:
            return False
        self._average_counts(decay)
        extra, total = self.weight.item() * eps, widened(self.counts).sum().item()
        scale = total / (total + len(self.counts) * extra)
        _native.take_in(arrays[:2], arrays[2:], (decay, 1.0 - decay, extra, scale))
        increment_version((self.pending_counts, *sums, codebook, written))
        return True

    def means(self, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the code vectors that the averages imply, of codes that got tokens.

        The others stay where they are: counts and sums of theirs shrink by the same factor, so that
        their mean is the same, while smoothed counts do not shrink below `eps`.

        Args:
            eps: Laplace smoothing of the counts, in tokens.

        Returns:
            The codes, int64 (M,), and their vectors (M, width), float64 where there is one.
        """
        chosen = self.counts > 0.0 if self.chosen is None else self.chosen.to(self.counts.device)
        self.chosen = None
        rows = torch.nonzero(chosen).squeeze(1)
        counts, extra = widened(self.counts), widened(self.weight) * eps
        total = counts.sum()
        smoothed = (counts + extra) * (total / (total + len(counts) * extra))
        sums = self.sums
        if len(rows) < len(sums):
            sums, smoothed = sums[rows], smoothed[beside(rows)]
        return rows, brought(widened(sums) / smoothed[:, None], rows.device)

    def replace(self, rows: torch.Tensor, vectors: torch.Tensor, tokens: torch.Tensor) -> None:
        """Forget the past of some codes.

        Args:
            rows: (M,) int64, codes.
            vectors: (M, D), their new code vectors.
            tokens: (), the running count that they shall seem to have.
        """
        self.counts[rows] = tokens
        if self.width:
            self.sums[rows] = vectors.to(self.sums.dtype) * tokens


_REVIVED_SHARE = 0.5
"""Running count of a revived code, in units of the mean count."""


@checked
@dataclass(frozen=True)
class Revive:
    """Replace codes that are chosen too rarely by random tokens of the training batch.

    Attributes:
        threshold: a code is dead while its running count is below this share of the mean count of
            all codes; in [0, 1). 0 revives nothing.
        unit: ``"mean"``, or ``"tokens"``: then the threshold is a number of tokens for each batch,
            finite and at least 0, and a revived code counts as having had so many.

    Raises:
        OptionError: `threshold` or `unit` out of range.

    References:
        Dhariwal et al., "Jukebox", 2020, section 3 (random restarts).
    """

    threshold: float = 0.1
    unit: Literal["mean", "tokens"] = "mean"

    def __post_init__(self) -> None:
        if self.unit not in ("mean", "tokens"):
            text = f"Revive unit must be 'mean' or 'tokens', got {self.unit!r}"
            raise OptionError(text)
        below, end = (1.0, "1") if self.unit == "mean" else (math.inf, "infinity")
        if not 0.0 <= self.threshold < below:
            text = f"Revive threshold must lie in [0, {end}), got {self.threshold}"
            raise OptionError(text)

    def least(self, statistics: RunningStatistics) -> torch.Tensor:
        """Return the running count below which a code is dead, a scalar."""
        scale = statistics.counts.mean() if self.unit == "mean" else statistics.weight
        return scale * self.threshold

    def fresh(self, statistics: RunningStatistics) -> torch.Tensor:
        """Return the running count that a revived code gets, a scalar."""
        if self.unit == "mean":
            return statistics.counts.mean() * _REVIVED_SHARE
        return statistics.weight * self.threshold


def dead_codes(counts: torch.Tensor, least: torch.Tensor | float) -> torch.Tensor:
    """Return the codes whose count is too low.

    Args:
        counts: (K,) running counts.
        least: the count below which a code is dead.

    Returns:
        (M,) int64, increasing.

    Example:
        >>> dead_codes(torch.tensor([4.0, 0.1, 3.0, 0.9]), 1.0)
        tensor([1, 3])
    """
    return torch.nonzero(counts < least).squeeze(1)


def pick_tokens(
    tokens: torch.Tensor, count: int, generator: torch.Generator | None
) -> torch.Tensor:
    """Pick random tokens, each place of the batch at most once.

    Args:
        tokens: (N, D).
        count: how many are wanted.
        generator: source of the random choice.

    Returns:
        (min(count, N), D).
    """
    order = _random.permutation(len(tokens), generator, tokens.device)
    return tokens[order[:count]]


class Written:
    """What a layer itself last wrote into its codebook.

    A codebook that is another one was set by somebody: by assignment, ``copy_``, or a state that
    holds nothing but code vectors. Whoever replaces the counts along with it, as loaders of whole
    states do, says more than that.
    """

    def __init__(self) -> None:
        self.codebook: torch.Tensor | None = None
        self.counts: torch.Tensor | None = None
        self._changes = 0

    @torch.inference_mode(False)  # what is made within could not be written to later
    @torch.no_grad()
    def note(self, codebook: torch.Tensor, counts: torch.Tensor | None) -> None:
        """Remember a codebook (K, D) and its counts (K,); without counts none are compared."""
        known = holds_numbers(codebook)
        self.codebook = codebook.detach().clone() if known else None
        self.counts = counts.clone() if known and counts is not None else None

    def note_rows(
        self,
        rows: torch.Tensor,
        vectors: torch.Tensor,
        codebook: torch.Tensor,
        counts: torch.Tensor,
    ) -> None:
        """Do the same where only some rows (M,) of the codebook have become other vectors."""
        own = self.codebook
        same = own is not None and (own.device, own.dtype) == (codebook.device, codebook.dtype)
        if own is None or not same or own.is_inference() or torch.is_inference_mode_enabled():
            self.note(codebook, counts)
            return
        self._changes += 1  # first: `remember` has to know, wherever Ctrl-C comes
        own.index_copy_(0, rows, vectors)
        self.counts = counts.clone()

    def shared(self, codebook: torch.Tensor) -> torch.Tensor | None:
        """Return the note of the codebook (K, D), for whoever writes the same to both, or None."""
        own = self.codebook
        if own is None or own.shape != codebook.shape or torch.is_inference_mode_enabled():
            return None
        self._changes += 1  # before the change: `remember` has to know, wherever Ctrl-C comes
        return own

    def forget(self) -> None:
        """Take any codebook for the layer's own until the next `note`."""
        self.codebook = self.counts = None

    def overruled(self, codebook: torch.Tensor, counts: torch.Tensor) -> bool:
        """Say whether somebody set the codebook since the layer wrote it, and not the counts."""
        own, before = self.codebook, self.counts
        if own is None or own.shape != codebook.shape or not holds_numbers(codebook):
            return False
        if torch.equal(own.to(codebook.device), codebook.detach()):
            return False
        return before is None or torch.equal(before.to(counts.device), counts)

    def remember(self) -> Callable[[], None]:
        """Return what puts the note back; see `all_or_nothing`."""
        note, changes = (self.codebook, self.counts), self._changes

        def restore() -> None:
            self.codebook, self.counts = note
            if self._changes != changes:  # to the very tensor
                self.forget()

        return restore
