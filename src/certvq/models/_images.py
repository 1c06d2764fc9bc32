"""Images as the network takes them: validated, and padded to a multiple of its stride.

In: a batch of images of any size. Out: the padded batch, or a named error. Must not know of
quantizers.
"""

import torch
from torch.nn import functional

from certvq._types import Float
from certvq.errors import DTypeError, ShapeError


def require_images(images: torch.Tensor, *, channels: int, stride: int) -> None:
    """Require a batch of images that the network can take.

    Args:
        images: (B, channels, H, W) floats.
        channels: of the model.
        stride: pixels per token along each axis.

    Raises:
        ShapeError: not four axes, other channels than the model's, or H or W below the stride.
        DTypeError: numbers that are not floats.
    """
    shape = tuple(images.shape)
    if len(shape) != 4:
        text = f"images must have four axes (batch, channels, height, width), got shape {shape}"
        raise ShapeError(text)
    if shape[1] != channels:
        text = (
            f"images must have the model's {channels} channels, got {shape[1]} in shape {shape}; "
            "convert them, or build the model with channels="
            f"{shape[1]}"
        )
        raise ShapeError(text)
    require_size(shape[2], shape[3], stride)
    if not images.dtype.is_floating_point:
        got = str(images.dtype).removeprefix("torch.")
        text = f"images must be floats of [0, 1], got {got}; divide 8-bit pixels by 255"
        raise DTypeError(text)


def require_size(height: int, width: int, stride: int) -> None:
    """Require an image size of at least one token.

    Raises:
        ShapeError: naming size and stride.
    """
    if min(height, width) < stride:
        text = (
            f"images must be at least {stride} x {stride} pixels, the stride of the model, got "
            f"{height} x {width}; enlarge them or leave them out"
        )
        raise ShapeError(text)


def pad_to_stride(
    images: Float[torch.Tensor, "B C H W"], stride: int
) -> Float[torch.Tensor, "B C rows columns"]:
    """Repeat the last row and column until height and width are multiples of the stride."""
    down, right = (-images.shape[2]) % stride, (-images.shape[3]) % stride
    if not down and not right:
        return images
    return functional.pad(images, (0, right, 0, down), mode="replicate")
