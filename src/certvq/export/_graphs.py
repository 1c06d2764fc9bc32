"""The two halves of a model, as exporters want them: modules with one input and one output.

In: a `VQVAE`. Out: modules for `torch.export`, AOTInductor and ONNX. Must not know of file formats.
"""

import torch
from torch import nn

from certvq.models import VQVAE


class EncodeGraph(nn.Module):
    """Images to codes.

    Args:
        model: in eval mode; it is not copied.

    Guarantee: that of `certvq.assign` for the latents that the exported encoder computes, as the
    search is the operator ``certvq::assign`` itself. The latents may differ in their last bits from
    those of the model in eager mode: that is another program of the same function.

    Example:
        >>> from certvq.models import VQVAEConfig
        >>> model = VQVAE(VQVAEConfig.small(), generator=torch.Generator().manual_seed(0)).eval()
        >>> images = torch.rand(2, 3, 16, 16)
        >>> graph = torch.export.export(EncodeGraph(model), (images,)).module()
        >>> torch.equal(graph(images), model.encode(images))
        True
    """

    def __init__(self, model: VQVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the codes, (B, h, w) int64, of images (B, channels, H, W) of [0, 1]."""
        return self.model.encode(images)


class DecodeGraph(nn.Module):
    """Codes to images of all their pixels.

    Args:
        model: in eval mode; it is not copied.
    """

    def __init__(self, model: VQVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the images, (B, channels, stride h, stride w) of [0, 1], of codes (B, h, w)."""
        return self.model.decode(codes)
