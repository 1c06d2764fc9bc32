"""The original's layouts of latents.

In: latents and the layer's switches. Out: tokens, one a row, and the way back. Must not know of
codebooks.
"""

from dataclasses import dataclass
from typing import Protocol

import torch

from certvq.errors import OptionError, ShapeError
from certvq.nn._core.latents import require_dense, require_floats


class Switches(Protocol):
    """What a layer says about its layout."""

    channel_last: bool
    accept_image_fmap: bool
    accept_3d_fmap: bool


@dataclass(frozen=True)
class Grid:
    """Where the feature axis is.

    Attributes:
        axis: its place in the latents.
    """

    axis: int

    def of(self, latents: torch.Tensor) -> tuple[int, ...]:
        """Return the shape of the latents without the feature axis."""
        return (*latents.shape[: self.axis], *latents.shape[self.axis + 1 :])

    def tokens(self, latents: torch.Tensor, dim: int) -> torch.Tensor:
        """Read latents as (N, dim).

        Raises:
            ShapeError: a feature axis of another size.
            DTypeError: numbers that are not floats.
        """
        require_dense(latents, "latents")
        require_floats(latents)
        if latents.shape[self.axis] != dim:
            text = (
                f"latents must have dim={dim} at axis {self.axis}, got shape "
                f"{tuple(latents.shape)}; see channel_last and accept_image_fmap"
            )
            raise ShapeError(text)
        return latents.movedim(self.axis, latents.ndim - 1).reshape(-1, dim)

    def restore(self, rows: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """Undo `tokens` for rows (N, d), or (N, k, d), whose axis of size k stays behind."""
        whole = rows.reshape(*shape, *rows.shape[1:])
        return whole if self.axis == len(shape) else whole.movedim(whole.ndim - 1, self.axis)


def find_grid(switches: Switches, rank: int) -> Grid:
    """Say where the feature axis of latents is.

    Args:
        switches: the layer.
        rank: number of axes of the latents; 2 is one token for each sample.

    Raises:
        ShapeError: a number of axes that the layer does not take.
    """
    wanted = 4 if switches.accept_image_fmap else 5 if switches.accept_3d_fmap else 3
    if rank not in (2, wanted):
        text = f"latents must have {wanted} axes, or 2 for one token each, got {rank}"
        raise ShapeError(text)
    first = wanted > 3 or not switches.channel_last
    return Grid(1 if first or rank == 2 else 2)


def require_one_layout(*, accept_image_fmap: bool, accept_3d_fmap: bool) -> None:
    """Refuse images and volumes at once.

    Raises:
        OptionError: both are asked for.
    """
    if accept_image_fmap and accept_3d_fmap:
        text = (
            "at most one of accept_image_fmap and accept_3d_fmap may be True, got both; latents "
            "are (b, c, h, w) or (b, c, d, h, w)"
        )
        raise OptionError(text)
