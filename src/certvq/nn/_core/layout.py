"""Where the feature axis of a tensor of latents lies.

In: tensors as networks make them. Out: the (N, D) tokens that assignment works on, and the way
back. Must not know of codebooks.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

from certvq._types import Float
from certvq.errors import DTypeError, OptionError, ShapeError
from certvq.nn._core.dense import require_dense
from certvq.nn._torch.modes import sizes

LayoutName: TypeAlias = Literal[
    "n d", "b n d", "b d n", "b c h w", "b h w c", "b c t h w", "b t h w c"
]
"""Axes that latents may have; ``d`` or ``c`` is that of the features, the others make the grid."""

_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def require_floats(latents: torch.Tensor) -> None:
    """Require latents of a type of number that codes can be certified for.

    Raises:
        DTypeError: not float64, float32, bfloat16 or float16.
    """
    if latents.dtype not in _FLOATS:
        text = (
            "latents must be float64, float32, bfloat16 or float16, got "
            f"{str(latents.dtype).removeprefix('torch.')}; convert them"
        )
        raise DTypeError(text)


@dataclass(frozen=True)
class Layout:
    """Names of the axes of a tensor of latents; ``d`` or ``c`` is the feature axis.

    Attributes:
        name: the axes, separated by blanks, for example ``"b c h w"``.
        feature_axis: place of the feature axis among them.
    """

    name: str
    feature_axis: int

    @property
    def rank(self) -> int:
        """Number of axes of the latents; codes have one less."""
        return len(self.name.split())

    def tokens(
        self, latents: Float[torch.Tensor, "..."], dim: int
    ) -> Float[torch.Tensor, "N {dim}"]:
        """Read latents as one token a row.

        Args:
            latents: floats whose axes are those of the layout.
            dim: D, the size that the feature axis must have.

        Returns:
            (N, D), a view where the strides allow it.

        Raises:
            ShapeError: wrong rank, or a feature axis of another size.
            DTypeError: no dense tensor of float64, float32, bfloat16 or float16.
        """
        require_dense(latents, "latents")
        shape = sizes(latents)
        if len(shape) != self.rank or shape[self.feature_axis] != dim:
            text = (
                f"latents of layout {self.name!r} must have {self.rank} axes with dim={dim} at "
                f"axis {self.feature_axis}, got shape {shape}; transpose them or choose another "
                "layout"
            )
            raise ShapeError(text)
        require_floats(latents)
        return latents.movedim(self.feature_axis, latents.ndim - 1).reshape(-1, dim)

    def grid(self, latents: torch.Tensor) -> tuple[int, ...]:
        """Return the shape of the codes: the latents' shape without the feature axis."""
        shape = tuple(latents.shape)
        return (*shape[: self.feature_axis], *shape[self.feature_axis + 1 :])

    def restore(
        self, tokens: Float[torch.Tensor, "N width"], grid: tuple[int, ...]
    ) -> Float[torch.Tensor, "..."]:
        """Undo `tokens`.

        Args:
            tokens: (N, D).
            grid: shape of the codes, N in all.

        Returns:
            A view with the axes of the layout.
        """
        # No axis of -1: the TorchScript exporter to ONNX does not know how many there are.
        return tokens.reshape(*grid, tokens.shape[1]).movedim(len(grid), self.feature_axis)


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("n d", 1),
        Layout("b n d", 2),
        Layout("b d n", 1),
        Layout("b c h w", 1),
        Layout("b h w c", 3),
        Layout("b c t h w", 1),
        Layout("b t h w c", 4),
    )
}


def find_layout(name: str) -> Layout:
    """Look a layout up by its name.

    Raises:
        OptionError: no such layout; the text lists those there are.

    Example:
        >>> find_layout("b c h w").feature_axis
        1
    """
    if name not in LAYOUTS:
        known = ", ".join(repr(known) for known in LAYOUTS)
        text = f"layout must be one of {known}; got {name!r}"
        raise OptionError(text)
    return LAYOUTS[name]
