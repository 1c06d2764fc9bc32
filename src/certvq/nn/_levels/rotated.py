"""A quantizer in rotated coordinates.

In: tokens. Out: the code vectors of the rotated tokens, rotated back. Must not know how codes are
found.
"""

import torch

from certvq.nn._core.latents import LayoutName
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import Quantizer
from certvq.nn._levels.wrapper import Wrapper
from certvq.nn._torch import random as _random
from certvq.nn._torch.device import default_device


@checked
class Rotated(Wrapper):
    """Quantize latents after a fixed random rotation, and rotate the vectors back.

    Mathematics: ``quantized = v(z R) R^T`` with an orthogonal R. It spreads what one feature holds
    over all, so that quantizers of single features use their codes evenly.

    Args:
        part: the quantizer; its layout plays no role.
        layout: names of the axes of latents, one of `LayoutName`.
        generator: source of the rotation; None is torch's default generator.

    Attributes:
        part: as given.
        rotation: R, (D, D), a buffer.

    Guarantee: that of the part for ``z R`` as computed: products and sums in one fixed order, in
    float32 at least, the same for every batch and under autocast. Distances are those of the
    latents up to that rounding. ``quantized == decode(codes)`` wherever the part has it.
    Ties: those of the part.
    Cost: ``N D^2``, one pass over the tokens for each feature.

    Example:
        >>> from certvq.nn import FSQ
        >>> layer = Rotated(FSQ((4, 4), preserve_symmetry=True))
        >>> quantized, codes, loss = layer(torch.randn(1, 5, 2))
        >>> torch.equal(quantized, layer.decode(codes))
        True

    References:
        Chee, Cai, Kuleshov, De Sa, "QuIP: 2-Bit Quantization of Large Language Models With
        Guarantees", 2023, section 4 (incoherence by random rotations).
    """

    rotation: torch.Tensor

    def __init__(
        self,
        part: Quantizer,
        *,
        layout: LayoutName = "b n d",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(part, layout=layout)
        normal = _random.normal((part.dim, part.dim), generator, torch.device("cpu"))
        orthogonal, triangle = torch.linalg.qr(normal)
        rotation = orthogonal * torch.where(triangle.diagonal() < 0, -1.0, 1.0)
        kind, device = torch.get_default_dtype(), default_device()
        self.register_buffer("rotation", rotation.to(device, kind).contiguous())

    def inward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Multiply by the rotation; see `Wrapper`."""
        return multiply(tokens.to(torch.promote_types(tokens.dtype, torch.float32)), self.rotation)

    def outward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Multiply by the transpose; see `Wrapper`."""
        wide = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
        return multiply(wide, self.rotation.T).to(vectors.dtype)

    def reach(self, largest: float) -> float:
        """Multiply by the number of features, which bounds sums of entries; see `Quantizer`."""
        return self.dim * self.part.reach(self.dim * largest)


def multiply(tokens: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Multiply rows by a matrix, adding in the order of the columns of `tokens`.

    A library's product of matrices may add in another order for another number of rows.

    Args:
        tokens: (..., D).
        matrix: (D, M).
    """
    wide = matrix.to(tokens.dtype)
    total = tokens[..., :1] * wide[0]
    for column in range(1, wide.shape[0]):
        total = total + tokens[..., column, None] * wide[column]
    return total
