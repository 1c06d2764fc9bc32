"""Tensors with any number of axes around the feature axis, as the original takes them.

In: such a tensor. Out: one sample of tokens, and the way back. Must not know of quantizers.
"""

import torch

from certvq.errors import ShapeError
from certvq.nn._core.latents import require_dense, require_floats


def require_latents(x: object) -> None:
    """Require what can be latents.

    Raises:
        DTypeError: no dense tensor of floats.
        ShapeError: fewer than two axes.
    """
    require_dense(x, "latents")
    assert isinstance(x, torch.Tensor)
    require_floats(x)
    if x.ndim < 2:
        text = f"latents must have at least two axes, got shape {tuple(x.shape)}"
        raise ShapeError(text)


def as_tokens(x: torch.Tensor, *, channel_first: bool) -> tuple[torch.Tensor, tuple[int, ...]]:
    """Read a tensor as one sample of tokens.

    Args:
        x: (B, D, ...) or (B, ..., D).
        channel_first: which of the two.

    Returns:
        (1, N, D), and the shape of the codes.

    Raises:
        DTypeError: no dense tensor of floats.
        ShapeError: fewer than two axes.
    """
    require_latents(x)
    last = x.movedim(1, x.ndim - 1) if channel_first else x
    return last.reshape(1, -1, last.shape[-1]), tuple(last.shape[:-1])


def as_features(
    tokens: torch.Tensor, grid: tuple[int, ...], *, channel_first: bool
) -> torch.Tensor:
    """Undo `as_tokens`, for tokens (1, N, D) whose D may be another."""
    last = tokens.reshape(*grid, tokens.shape[-1])
    return last.movedim(len(grid), 1) if channel_first else last
