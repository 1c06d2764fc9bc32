"""A quantizer for latents of another size.

In: tokens. Out: the code vectors of the tokens divided by a scale, times that scale. Must not know
how codes are found.
"""

import math
from collections.abc import Sequence

import torch

from certvq.errors import OptionError
from certvq.nn._core.features import by_feature
from certvq.nn._core.latents import LayoutName
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import Quantizer
from certvq.nn._levels.wrapper import Wrapper
from certvq.nn._torch.modes import unrecorded


@checked
class Scaled(Wrapper):
    """Quantize latents divided by a scale, and multiply the vectors by it.

    Mathematics: ``quantized = scale * v(z / scale)``, feature by feature.

    Args:
        part: the quantizer; its layout plays no role.
        scale: one number for all features, or one for each; finite, > 0 in float32.
        layout: names of the axes of latents, one of `LayoutName`.

    Attributes:
        part: as given.

    Raises:
        OptionError: an option out of its range.

    Guarantee: that of the part for the quotient as computed, in float32 at least; a power of two
    rounds nothing but what underflows. ``quantized == decode(codes)`` wherever the part has it.
    Ties: those of the part.

    Example:
        >>> from certvq.nn import FSQ
        >>> layer = Scaled(FSQ((3,), preserve_symmetry=True, hard_clamp=True), 0.5)
        >>> layer(torch.tensor([[[0.3], [0.2]]])).quantized.tolist()
        [[[0.5], [0.0]]]
    """

    def __init__(
        self, part: Quantizer, scale: float | Sequence[float], *, layout: LayoutName = "b n d"
    ) -> None:
        super().__init__(part, layout=layout)
        numbers = [scale] * part.dim if isinstance(scale, int | float) else list(scale)
        if len(numbers) != part.dim:
            text = f"scale must be one number or one for each of {part.dim} features, got {numbers}"
            raise OptionError(text)
        with unrecorded():
            scales = torch.tensor(numbers, dtype=torch.float32, device="cpu")
            rounded = scales.tolist()
        for place, number in enumerate(rounded):
            if not 0.0 < number < math.inf:
                text = (
                    f"scale must be finite and above 0 in float32, got {numbers[place]} at place "
                    f"{place}"
                )
                raise OptionError(text)
        self._plain = all(number == 1.0 for number in rounded)
        self.register_constant("scale", scales)

    @property
    def scale(self) -> torch.Tensor:
        """The scale of each feature, float32 (D,)."""
        return self.constant("scale")

    def inward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Divide by the scale; see `Wrapper`."""
        wide = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
        return (
            wide
            if self._plain
            else by_feature(torch.div, wide, self.constant("scale", wide.device))
        )

    def outward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Multiply by the scale; see `Wrapper`."""
        if self._plain:
            return vectors
        scale = self.constant("scale", vectors.device)
        return by_feature(torch.mul, vectors, scale).to(vectors.dtype)

    @property
    def steady(self) -> bool:
        """Whether the part is; see `Quantizer`."""
        return self.part.steady

    def reach(self, largest: float) -> float:
        """Scale the part's bound; see `Quantizer`."""
        least, most = (float(end) for end in self.scale.aminmax())
        return most * self.part.reach(largest / least)

    def extra_repr(self) -> str:
        """Return the options for `repr`."""
        return f"scale={self.scale.tolist()}, layout={self._layout.name!r}"
