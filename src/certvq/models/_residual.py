"""Residual blocks of the published architecture.

In: feature maps. Out: feature maps of the same shape. Must not know of quantizers.
"""

import torch
from torch import nn

from certvq._types import Float


class ResidualBlock(nn.Module):
    """Add ``conv1x1(relu(conv3x3(relu(x))))`` to x.

    Args:
        channels: of input and output.
        hidden: channels between the two convolutions.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, hidden, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1, bias=False),
        )

    def forward(self, features: Float[torch.Tensor, "B C H W"]) -> Float[torch.Tensor, "B C H W"]:
        """Map (B, channels, H, W) to the same shape."""
        return features + self.body(features)


def residual_stack(channels: int, hidden: int, blocks: int) -> nn.Sequential:
    """Return `blocks` residual blocks and the ReLU that closes them."""
    return nn.Sequential(*(ResidualBlock(channels, hidden) for _ in range(blocks)), nn.ReLU())
