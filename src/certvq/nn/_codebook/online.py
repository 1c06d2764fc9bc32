"""The codebook as something that an optimiser of the layer's own moves.

In: nothing. Out: the option, and the module that keeps the optimiser. Must not search for codes.
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import torch
from torch import nn
from torch.optim import Optimizer

from certvq.nn._codebook.affine import Affine
from certvq.nn._codebook.statistics import totals_by_code
from certvq.nn._core.options import checked
from certvq.nn._torch.distributed import Peers
from certvq.nn._torch.modes import brought, widened
from certvq.nn._torch.packed import pack, unpack

_COPIES, _ROOM = 4, 1 << 14
"""What the state of usual optimisers takes at most: copies of the codebook, and bytes beside."""

OptimizerFactory: TypeAlias = Callable[[Iterable[torch.Tensor]], Optimizer]


@checked
@dataclass(frozen=True)
class Online:
    """Learn the codebook by an inner optimiser's steps on the codebook loss ``mse(sg[z], c)``.

    The step for a batch is taken at the beginning of the next training forward, from the counts and
    sums that wait: the gradient of code k is ``2 (n_k c_k - s_k) / (N D)``. With `immediate` it is
    taken before the codes of the batch itself are assigned, with the codes that the codebook gives
    before the step; that costs a second assignment. Either way the codebook that a forward
    used is still there when it returns.

    The codebook is a buffer, so that an outer optimiser leaves it alone. The state of the inner one
    is in the state dict, as the extra state of `inner_optimizer`: bytes in a tensor, which
    safetensors can write.

    Attributes:
        optimizer: makes the optimiser, as does ``functools.partial(torch.optim.Adam, lr=1e-3)``.
        immediate: when the step is taken.
        affine: an `Affine` map of the code vectors that follows the latents, or None.
    """

    optimizer: OptimizerFactory
    immediate: bool = False
    affine: Affine | None = None


class InnerOptimizer(nn.Module):
    """An optimiser of one codebook, whose state travels with the state dict.

    It works on a copy of the codebook of its own, in float32 or wider, so that small steps add up
    where the module is in half precision. Whoever writes to the codebook overrules the copy. Steps
    in inference mode leave ordinary tensors behind, with which training goes on.

    Attributes:
        optimizer: what the factory made.
        vectors: (K, D), the copy.
    """

    def __init__(self, factory: OptimizerFactory, codebook: torch.Tensor) -> None:
        super().__init__()
        # What is on meta cannot become a tensor with numbers; `step` takes the codebook's.
        here = torch.zeros_like(codebook, device="cpu") if codebook.is_meta else codebook.detach()
        self.vectors = here.to(_wide(codebook.dtype), copy=True)
        self.optimizer = factory([self.vectors])

    @torch.inference_mode(False)
    @torch.no_grad()
    def add(self, slope: torch.Tensor) -> None:
        """Add to the gradient, (K, D), of the next step."""
        slope = slope.clone().to(self.vectors)
        self.vectors.grad = slope if self.vectors.grad is None else self.vectors.grad + slope

    @torch.inference_mode(False)
    @torch.no_grad()
    def step(self, codebook: torch.Tensor) -> None:
        """Take one step from the codebook, with the gradient that is there, and store it."""
        dtype = torch.promote_types(_wide(codebook.dtype), self.vectors.dtype)
        if (self.vectors.device, self.vectors.dtype) != (codebook.device, dtype):
            slope = self.vectors.grad
            self.vectors.grad = None
            self.vectors.data = self.vectors.to(codebook.device, dtype)
            self.vectors.grad = None if slope is None else slope.to(self.vectors)
            self.optimizer.load_state_dict(self.optimizer.state_dict())  # follows the numbers
        same = self.vectors.to(codebook.dtype) == codebook
        self.vectors.copy_(torch.where(same, self.vectors, codebook.to(dtype)))
        self.optimizer.step()
        self.optimizer.zero_grad()
        codebook.copy_(self.vectors)

    def remember(self) -> Callable[[], None]:
        """Return what puts optimiser, copy and gradient back as they are now."""
        state, vectors = copy.deepcopy(self.optimizer.state_dict()), self.vectors.detach().clone()
        slope = None if self.vectors.grad is None else self.vectors.grad.clone()

        def restore() -> None:
            self.vectors.grad = None
            self.vectors.data = vectors
            self.vectors.grad = slope
            self.optimizer.load_state_dict(state)

        return restore

    def get_extra_state(self) -> torch.Tensor:
        """Return the state of the optimiser, and its copy of the codebook, packed."""
        state = {"optimizer": self.optimizer.state_dict(), "vectors": self.vectors.clone()}
        return pack(state, least=_ROOM + _COPIES * self.vectors.nbytes)

    def set_extra_state(self, state: torch.Tensor | dict[str, Any]) -> None:
        """Take a state over, packed or, as earlier versions saved it, as it is."""
        if isinstance(state, torch.Tensor):
            if state.is_meta:
                return
            state = cast("dict[str, Any]", unpack(state))
        # `step` follows the codebook; here the layer may have been narrower, or without numbers.
        self.vectors.grad = None
        self.vectors.data = state["vectors"].clone()
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))  # torch copies no tensor


def codebook_slope(vectors: torch.Tensor, counts: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
    """Return the gradient of the codebook loss of a batch by its code vectors.

    Args:
        vectors: (K, D).
        counts: (K,), tokens of each code.
        sums: (K, D), their sums.

    Returns:
        (K, D) of the vectors' type of number; 0 for a batch without tokens.

    Example:
        >>> codebook_slope(torch.tensor([[1.0]]), torch.tensor([2.0]), torch.tensor([[5.0]]))
        tensor([[-3.]])
    """
    counts = widened(counts)
    total = counts.sum().clamp(min=1.0) * vectors.shape[1]
    slope = 2.0 * (counts[:, None] * widened(vectors) - widened(sums)) / total
    return brought(slope.to(vectors.dtype), vectors.device)


def batch_slope(
    vectors: torch.Tensor, tokens: torch.Tensor, codes: torch.Tensor, peers: Peers
) -> torch.Tensor | None:
    """Return `codebook_slope` of tokens of all processes; None where there is no token."""
    counts, sums = totals_by_code(tokens, codes, vectors.shape, peers)
    if sums is None or not bool(counts.any()):
        return None
    return codebook_slope(vectors, counts, sums)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
