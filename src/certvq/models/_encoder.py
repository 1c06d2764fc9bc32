"""From images to latents.

In: images, (B, channels, H, W), H and W multiples of the stride. Out: latents, (B, D, h, w). Must
not know of codebooks.
"""

from itertools import pairwise

import torch
from torch import nn

from certvq._types import Float
from certvq.models._config import VQVAEConfig
from certvq.models._residual import residual_stack


class Encoder(nn.Module):
    """Halve the size log2(downsampling) times, then a residual stack and a projection to D.

    Args:
        config: the architecture.

    References:
        van den Oord, Vinyals, Kavukcuoglu, 2017, section 4.1; the widths are those of Sonnet's
        example: the first strided convolution has half the hidden channels.
    """

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        halvings = config.downsampling.bit_length() - 1
        widths = [config.channels, config.hidden // 2, *[config.hidden] * (halvings - 1)]
        layers: list[nn.Module] = []
        for narrow, wide in pairwise(widths):
            layers += [nn.Conv2d(narrow, wide, 4, stride=2, padding=1), nn.ReLU()]
        self.body = nn.Sequential(
            *layers,
            nn.Conv2d(widths[-1], config.hidden, 3, padding=1),
            residual_stack(config.hidden, config.residual_hidden, config.residual_blocks),
            nn.Conv2d(config.hidden, config.dim, 1),
        )

    def forward(self, images: Float[torch.Tensor, "B C H W"]) -> Float[torch.Tensor, "B D h w"]:
        """Map centred images (B, channels, H, W) to latents (B, D, h, w)."""
        latents: torch.Tensor = self.body(images)
        return latents
