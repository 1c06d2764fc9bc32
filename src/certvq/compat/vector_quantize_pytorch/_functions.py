"""Functions that stand beside the classes in the original's modules.

In: tensors, as the original's functions take them. Out: what certvq's own layers compute. Must not
know of layers.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from certvq.compat.vector_quantize_pytorch._layer import estimated
from certvq.compat.vector_quantize_pytorch._levels import draw_seed
from certvq.compat.vector_quantize_pytorch._tensors import mask_of_lengths
from certvq.errors import ShapeError
from certvq.nn import Reparam, RotationTrick, exchange
from certvq.nn._estimators.each_level import partly_detached
from certvq.nn._regularizers.orthogonal import orthogonality
from certvq.nn._scalar.activations import find_activation
from certvq.nn._scalar.binary_mapper import fair_coin_divergence
from certvq.nn._torch.distributed import Peers

_EVERYBODY = Peers(None, "a function of certvq.compat.vector_quantize_pytorch")

NAT = float(torch.tensor(2.0, dtype=torch.float64).log())

Map = Callable[[torch.Tensor], torch.Tensor]


def build_cdf_act(act_name: str) -> tuple[Map, Map]:
    """Return an activation of `FSP` onto [0, 1], and its inverse.

    Example:
        >>> onto, back = build_cdf_act("tanh")
        >>> bool(torch.isclose(back(onto(torch.tensor(0.5))), torch.tensor(0.5)))
        True
    """
    found = find_activation(act_name)
    return found.forward, found.inverse


def straight_through(src: torch.Tensor, tgt: torch.Tensor) -> torch.Tensor:
    """Return `tgt` to the bit, with the gradient of `src`."""
    return exchange(src, tgt.detach())


def rotate_to(src: torch.Tensor, tgt: torch.Tensor) -> torch.Tensor:
    """Return `tgt` to the bit, with the rotated gradient of `src`; see `certvq.nn.RotationTrick`.

    Args:
        src: (..., d), latents.
        tgt: (..., d), their code vectors.
    """
    return _estimated(RotationTrick(), src, tgt)


def directional_reparam(
    src: torch.Tensor, tgt: torch.Tensor, noise_variance: float = 5e-3
) -> torch.Tensor:
    """Return `src` moved about as far as `tgt` is, in about its direction; see `certvq.nn.Reparam`.

    Args:
        src: (..., d), latents.
        tgt: (..., d), their code vectors.
        noise_variance: of what is added to the direction.
    """
    return _estimated(Reparam(noise_variance), src, tgt)


def _estimated(
    estimator: RotationTrick | Reparam, src: torch.Tensor, tgt: torch.Tensor
) -> torch.Tensor:
    if src.shape != tgt.shape:
        text = f"src and tgt must have one shape, got {tuple(src.shape)} and {tuple(tgt.shape)}"
        raise ShapeError(text)
    return estimated(estimator, src, tgt)


def orthogonal_loss_fn(t: torch.Tensor) -> torch.Tensor:
    """Return the term of `orthogonal_reg_weight` for codebooks (h, K, d)."""
    return torch.stack([orthogonality(vectors) for vectors in t]).mean()


def frac_gradient(t: torch.Tensor, frac: float) -> torch.Tensor:
    """Return the same numbers with a share of their gradient."""
    return partly_detached(t, frac)


def round_ste(z: torch.Tensor) -> torch.Tensor:
    """Return the nearest integers, straight through."""
    return exchange(z, z.detach().round())


def floor_ste(z: torch.Tensor) -> torch.Tensor:
    """Return the integers below, straight through."""
    return exchange(z, z.detach().floor())


def l2norm(t: torch.Tensor, dim: int = -1, eps: float = 1e-6) -> torch.Tensor:
    """Return vectors divided by their length, or by `eps` where that is longer."""
    return nn.functional.normalize(t, dim=dim, eps=eps)


def lens_to_mask(lens: torch.Tensor, max_length: int) -> torch.Tensor:
    """Return the mask (b, max_length) of sequences of the lengths (b,)."""
    return mask_of_lengths(lens, (len(lens), max_length))


def binary_entropy(logits: torch.Tensor) -> torch.Tensor:
    """Return the sum of the entropies of bits, (...), of their logits (..., bits), in nats."""
    return logits.shape[-1] * NAT - fair_coin_divergence(logits)


def is_distributed() -> bool:
    """Say whether this process is one of several; asked at each call."""
    return _EVERYBODY.together()


class _Mean(torch.autograd.Function):
    """The mean over all processes, of which every process has the derivative of all of them."""

    @staticmethod
    def forward(ctx: Any, t: torch.Tensor) -> torch.Tensor:
        del ctx
        return _EVERYBODY.add(t.clone()) / _EVERYBODY.size()

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> torch.Tensor:
        del ctx
        return _EVERYBODY.add(slopes[0].clone()) / _EVERYBODY.size()


def maybe_distributed_mean(t: torch.Tensor) -> torch.Tensor:
    """Return the mean over all processes, differentiable; one process returns what it is given."""
    if not _EVERYBODY.together():
        return t
    mean: torch.Tensor = _Mean.apply(t)
    return mean


def get_maybe_sync_seed(device: torch.device, max_size: int = 10_000) -> int:
    """Draw a seed below `max_size` from torch's default generator, the same on all processes."""
    return draw_seed(device, [_EVERYBODY], max_size)


def round_up_multiple(num: int, mult: int) -> int:
    """Return the least multiple of `mult` that is at least `num`."""
    return -(-num // mult) * mult
