"""The rotation trick: the gradient turns with the latent.

In: latents, code vectors and codes. Out: the code vectors themselves, with a gradient that was
rotated and rescaled. Must not know how codes are found.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from certvq.nn._estimators.estimator import Estimator
from certvq.nn._torch.modes import applied, transforming

_OPPOSITE = 1e-6
"""Squared length of the sum of two unit vectors below which they count as opposite."""


@dataclass(frozen=True)
class RotationTrick(Estimator):
    """Rotate the gradient from the code vector to the latent, and rescale it.

    Mathematics: with ``e = z / |z|``, ``q = c / |c|``, ``w = e + q`` and the rotation
    ``R = I - 2 w w' / |w|^2 + 2 q e'``, that takes e to q, the value is c and the derivative with
    respect to the latent is ``(|c| / |z|) R``: c as a linear function of z, whose matrix is held
    constant. Where latent or code vector is zero there is no rotation, and the gradient goes
    straight through. Where the two are opposite, to about a thousandth of a radian, the rotation is
    not unique; R is then ``I + 2 q e'``, a reflection if they are opposite exactly.

    The gradient grows with ``|c| / |z|``: latents much shorter than their code vectors get large
    ones. Code vectors get none.

    Guarantee: the value equals the code vector bit for bit. The gradient is that of the formula, in
    float32 or wider, rounded.

    References:
        Fifty et al., "Restructuring Vector Quantization with the Rotation Trick", 2024
        (arXiv 2410.06424), equation 4 and section 4.2.
    """

    def estimate(
        self,
        latents: torch.Tensor,
        codebook: torch.Tensor,
        codes: torch.Tensor,
        generator: torch.Generator | None,
    ) -> torch.Tensor:
        """Return the code vectors; see `Estimator.estimate`."""
        del generator
        result: torch.Tensor = applied(
            _Rotation, _RotationBothWays, latents, codebook.detach(), codes
        )
        return result


class _Rotation(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(latents: torch.Tensor, codebook: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        del latents
        return functional.embedding(codes, codebook)

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor], output: torch.Tensor
    ) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        latents, vectors = ctx.saved_tensors
        return rotate_back(cotangents[0], latents.detach(), vectors.detach()), None, None


class _RotationBothWays(_Rotation):
    """With the derivative of forward mode, which compilers refuse."""

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor], output: torch.Tensor
    ) -> None:
        ctx.save_for_backward(inputs[0], output)
        ctx.save_for_forward(inputs[0], output)

    @staticmethod
    def jvp(ctx: Any, *tangents: torch.Tensor) -> torch.Tensor:
        latents, vectors = (part.detach() for part in ctx.saved_tensors)
        return _turn(tangents[0], latents, vectors, back=False).to(vectors.dtype)


def rotate_back(
    cotangents: torch.Tensor, latents: torch.Tensor, vectors: torch.Tensor
) -> torch.Tensor:
    """Apply the transposed matrix of `RotationTrick` to each row.

    Args:
        cotangents: (N, D), gradients of the code vectors.
        latents: (N, D).
        vectors: (N, D), the code vectors.

    Returns:
        (N, D) of the latents' type of number.

    Example:
        >>> e, c = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> rotate_back(torch.tensor([[0.0, 8.0]]), e, c)  # along the code vector, half as long
        tensor([[4., 0.]])
    """
    return _turn(cotangents, latents, vectors, back=True).to(latents.dtype)


def _turn(
    turning: torch.Tensor, latents: torch.Tensor, vectors: torch.Tensor, *, back: bool
) -> torch.Tensor:
    """Apply the matrix of `RotationTrick` to each row, or its transpose to go back."""
    wide = torch.promote_types(torch.promote_types(latents.dtype, vectors.dtype), torch.float32)
    z, c, g = latents.to(wide), vectors.to(wide), turning.to(wide)
    z_length = torch.linalg.vector_norm(z, dim=1, keepdim=True)
    c_length = torch.linalg.vector_norm(c, dim=1, keepdim=True)
    z_inverse, c_inverse = z_length.reciprocal(), c_length.reciprocal()
    g_along_z = (g * z).sum(1, keepdim=True) * z_inverse
    g_along_c = (g * c).sum(1, keepdim=True) * c_inverse
    cosine = (z * c).sum(1, keepdim=True) * z_inverse * c_inverse
    square = 2.0 + 2.0 * cosine
    share = 2.0 * (g_along_z + g_along_c) / square
    share = torch.where(square > _OPPOSITE, share, 0.0)
    if back:
        along_z, along_c = (2.0 * g_along_c - share) * z_inverse, -share * c_inverse
    else:
        along_z, along_c = -share * z_inverse, (2.0 * g_along_z - share) * c_inverse
    ratio = c_length * z_inverse
    if transforming():  # `torch.func.vmap` has no rule for the other one
        turned = torch.addcmul(torch.addcmul(g, along_z, z), along_c, c) * ratio
    else:
        turned = torch.addcmul(g, along_z, z).addcmul_(along_c, c).mul_(ratio)
    plain = (z_length == 0.0) | (c_length == 0.0)
    return torch.where(plain, g, turned)
