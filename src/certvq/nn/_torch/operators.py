"""certvq as operators of torch: what compilers and exporters see of it.

In: tensors. Out: tensors, by `torch.ops.certvq.assign` and `torch.ops.certvq.straight_through`.
Each has a fake implementation (shapes without numbers), a rule for `torch.func.vmap` and, where
there is a derivative, one for autograd. Must not know of layers.
"""

from typing import Any

import torch
from torch.nn import functional

from certvq.assign import assign
from certvq.errors import DeviceError
from certvq.nn._torch.float64 import brought, widest


def assign_tensors(
    latents: torch.Tensor, codebook: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return what `assign_operator` does, out of sight of compilers and modes of torch."""
    with torch.autocast(latents.device.type, enabled=False):
        found = assign(latents.detach(), codebook.detach())
    return found.codes, found.decided_by, brought(found.sqdist, latents.device)


@torch.library.custom_op("certvq::assign", mutates_args=())
def assign_operator(
    latents: torch.Tensor, codebook: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Find the nearest codes; `certvq.assign` as an operator of torch.

    Args:
        latents: (N, D) finite floats.
        codebook: (K, D) finite floats.

    Returns:
        codes, int64 (N,); decided_by, uint8 (N,); sqdist, float64 (N,): as in `Assignment`,
        but float32 where the device has no float64.

    Raises:
        NonFiniteError: NaN or infinity.
        ShapeError: wrong rank, empty codebook, or latents and codebook of different dim.
        DTypeError: numbers that are not floats.
        DeviceError: one of them, but not both, is on the meta device.

    Guarantee: that of `certvq.assign`.
    Ties: the lowest index.
    """
    return assign_tensors(latents, codebook)


@assign_operator.register_fake
def _(
    latents: torch.Tensor, codebook: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    if (latents.device.type == "meta") != (codebook.device.type == "meta"):
        text = (
            "latents and codebook must both have numbers, or both be on the meta device, got "
            f"latents on {latents.device} and a codebook on {codebook.device}"
        )
        raise DeviceError(text)
    codes, decided_by, sqdist = (
        latents.new_empty(latents.shape[:1], dtype=number)
        for number in (torch.int64, torch.uint8, widest(latents.device))
    )
    return codes, decided_by, sqdist


@assign_operator.register_vmap
def _(
    info: Any, in_dims: tuple[int | None, int | None], latents: torch.Tensor, codebook: torch.Tensor
) -> tuple[list[torch.Tensor], list[int]]:
    """One search for each entry of the batch; one for all where the codebook is the same."""
    latents_dim, codebook_dim = in_dims
    if codebook_dim is None:
        batch = latents.movedim(latents_dim or 0, 0)
        found = assign_operator(batch.reshape(-1, batch.shape[-1]), codebook)
        return [part.reshape(batch.shape[:-1]) for part in found], [0, 0, 0]
    searches = [
        assign_operator(
            latents if latents_dim is None else latents.select(latents_dim, place),
            codebook.select(codebook_dim, place),
        )
        for place in range(info.batch_size)
    ]
    return [torch.stack(part) for part in zip(*searches, strict=True)], [0, 0, 0]


@torch.library.custom_op("certvq::straight_through", mutates_args=())
def straight_through_operator(
    latents: torch.Tensor, codebook: torch.Tensor, codes: torch.Tensor
) -> torch.Tensor:
    """Look codes up; the derivative with respect to `latents` is the identity.

    Args:
        latents: (N, D), any float type.
        codebook: (K, D).
        codes: (N,) int64 in ``range(K)``.

    Returns:
        (N, D) of the codebook's type of number.
    """
    del latents
    return functional.embedding(codes, codebook)


@straight_through_operator.register_fake
def _(latents: torch.Tensor, codebook: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    return codebook.new_empty((*codes.shape, latents.shape[-1]))


def _keep_dtype(ctx: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
    del output
    ctx.latents_dtype = inputs[0].dtype


def _send_back(ctx: Any, cotangent: torch.Tensor) -> tuple[torch.Tensor, None, None]:
    return cotangent.to(ctx.latents_dtype), None, None


straight_through_operator.register_autograd(_send_back, setup_context=_keep_dtype)


@straight_through_operator.register_vmap
def _(
    info: Any, in_dims: tuple[int | None, ...], *inputs: torch.Tensor
) -> tuple[torch.Tensor, int]:
    latents, codebook, codes = (
        part.expand(info.batch_size, *part.shape) if dim is None else part.movedim(dim, 0)
        for part, dim in zip(inputs, in_dims, strict=True)
    )
    if in_dims[1] is None:
        return straight_through_operator(latents, inputs[1], codes), 0
    places = torch.arange(info.batch_size, device=codes.device)
    shifted = codes + places.reshape(-1, *(1 for _ in codes.shape[1:])) * codebook.shape[1]
    return straight_through_operator(latents, codebook.flatten(0, 1), shifted), 0
