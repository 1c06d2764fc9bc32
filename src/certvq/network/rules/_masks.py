"""Masks of attention: which keys count for a query, and what is added to a logit.

In: the arguments of an attention. Out: `Keys`. A truth value leaves a key out or not; a number is
added to the logit of its key, and minus infinity leaves the key out. Must not compute attention.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from certvq.network._numbers import Numbers
from certvq.network._wide import Wide, wide
from certvq.network.rules._rule import Arguments, Objects

FAR: Final = -(2.0**64)
"""A key whose logit is raised by this or less weighs less than 2^-900 beside one that is not,
provided that all other numbers of both logits are below `NEAR`: ``exp(-2^64 + 2^42) < 2^-900``."""

NEAR: Final = 2.0**40


@dataclass(frozen=True)
class Keys:
    """The keys of each query.

    Attributes:
        kept: bool, which can be broadcast to (..., queries, keys).
        added: float64 of the same shape, finite where a key is kept, or None.
    """

    kept: torch.Tensor
    added: torch.Tensor | None

    def of_queries(self, part: slice) -> "Keys":
        """Return the keys of some queries."""
        if self.kept.shape[-2] == 1:
            return self
        return Keys(
            self.kept[..., part, :], None if self.added is None else self.added[..., part, :]
        )

    @property
    def near(self) -> torch.Tensor:
        """Those of the kept keys whose logits are not lowered by `FAR`."""
        return self.kept if self.added is None else self.kept & (self.added > FAR)

    def raised(self, logits: torch.Tensor) -> torch.Tensor:
        """Return logits with what is added to them."""
        if self.added is None:
            return logits
        added = self.added.clamp_min(FAR)
        return logits + (wide(added) if isinstance(logits, Wide) else added)

    def tail(self, sizes: torch.Tensor) -> torch.Tensor | float:
        """Bound what keys that are far weigh, beyond 2^-900: 0, or infinity if it is not known.

        Args:
            sizes: bounds of the logits before anything is added, (..., queries, 1).
        """
        if self.added is None or torch.equal(self.kept, self.near):
            return 0.0
        most = self.added.masked_fill(~self.near, 0.0).abs().amax(-1, keepdim=True)
        return torch.where((sizes < NEAR) & (most < NEAR), 0.0, math.inf)

    def raised_objects(self, numbers: Numbers, logits: Objects, place: tuple[int, ...]) -> Objects:
        """Return exact logits (queries, keys) of a place with what is added to them."""
        if self.added is None:
            return logits
        added = at_place(self.added, place, logits.shape)
        finite = np.isfinite(added)
        result = logits.copy()
        result[finite] = logits[finite] + numbers.array(added, finite)[finite]
        return result


def keys_of(arguments: Arguments, queries: int, keys: int) -> Keys:
    """Read the mask of an attention.

    Args:
        arguments: of ``scaled_dot_product_attention``; a mask is a tensor.
        queries: how many there are.
        keys: likewise.
    """
    mask: Any = arguments.get("attn_mask")
    if mask is None:
        every = torch.ones(queries, keys, dtype=torch.bool)
        return Keys(every.tril() if arguments.get("is_causal") else every, None)
    if mask.dtype == torch.bool:
        return Keys(mask, None)
    added = mask.detach().to("cpu", torch.float64)
    return Keys(added > -math.inf, added)


def refusal_of_mask(arguments: Arguments) -> str:
    """Say what is not supported about a mask, or return an empty text."""
    mask: Any = arguments.get("attn_mask")
    if mask is None:
        return ""
    if not isinstance(mask, torch.Tensor):
        return "with an attn_mask that is computed of floats"
    if arguments.get("is_causal"):
        return "with attn_mask and is_causal=True"
    if mask.dtype != torch.bool and not bool((mask < math.inf).all()):
        return "with an attn_mask that holds NaN or infinity"
    if not bool(keys_of(arguments, *mask.shape[-2:]).near.any(-1).all()):
        return "with an attn_mask that leaves a query without keys"
    return ""


def at_place(tensor: torch.Tensor, place: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """Return (queries, keys) at one place of the axes before, to which a mask is broadcast."""
    axes = tensor.shape[:-2]
    own = place[len(place) - len(axes) :]
    index = tuple(0 if size == 1 else i for i, size in zip(own, axes, strict=True))
    return np.broadcast_to(tensor[index].numpy(), shape)
