"""From code vectors to images.

In: code vectors, (B, D, h, w). Out: images, (B, channels, H, W). Must not know of codebooks.
"""

from itertools import pairwise

import torch
from torch import nn

from certvq._types import Float
from certvq.models._config import VQVAEConfig
from certvq.models._residual import residual_stack


class Decoder(nn.Module):
    """Mirror of the encoder: a residual stack, then log2(downsampling) doublings of the size.

    Args:
        config: the architecture.
    """

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        doublings = config.downsampling.bit_length() - 1
        widths = [*[config.hidden] * (doublings - 1), config.hidden // 2, config.channels]
        if doublings == 1:
            widths = [config.hidden, config.channels]
        layers: list[nn.Module] = []
        for wide, narrow in pairwise(widths):
            layers += [nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1), nn.ReLU()]
        self.body = nn.Sequential(
            nn.Conv2d(config.dim, config.hidden, 3, padding=1),
            residual_stack(config.hidden, config.residual_hidden, config.residual_blocks),
            *layers[:-1],
        )

    def forward(self, vectors: Float[torch.Tensor, "B D h w"]) -> Float[torch.Tensor, "B C H W"]:
        """Map code vectors (B, D, h, w) to centred images (B, channels, H, W)."""
        images: torch.Tensor = self.body(vectors)
        return images
