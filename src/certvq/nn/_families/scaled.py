"""A quantizer for latents of another size.

In: tokens. Out: the code vectors of the tokens divided by a scale, times that scale. Must not know
how codes are found.
"""

import math
from collections.abc import Sequence

import torch

from certvq.errors import OptionError
from certvq.nn._core.features import by_feature
from certvq.nn._core.options import checked
from certvq.nn._core.quantizer import Quantizer
from certvq.nn._families.wrapper import Wrapper


@checked
class Scaled(Wrapper):
    """Quantize latents divided by a scale, and multiply the vectors by it.

    Mathematics: ``quantized = scale * v(z / scale)``, feature by feature.

    Args:
        part: the quantizer; its layout plays no role.
        scale: one number for all features, or one for each; finite, > 0 in float32.
        layout: ``"b n d"``, ``"b d n"``, ``"b c h w"`` or ``"b c t h w"``.

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

    _bits: torch.Tensor

    def __init__(
        self, part: Quantizer, scale: float | Sequence[float], *, layout: str = "b n d"
    ) -> None:
        super().__init__(part, layout=layout)
        numbers = [scale] * part.dim if isinstance(scale, int | float) else list(scale)
        if len(numbers) != part.dim:
            text = f"scale must be one number or one for each of {part.dim} features, got {numbers}"
            raise OptionError(text)
        scales = torch.tensor(numbers, dtype=torch.float32, device="cpu")
        for place, number in enumerate(scales.tolist()):
            if not 0.0 < number < math.inf:
                text = (
                    f"scale must be finite and above 0 in float32, got {numbers[place]} at place "
                    f"{place}"
                )
                raise OptionError(text)
        self._plain = all(number == 1.0 for number in scales.tolist())
        # Floats are kept as the integers of their bits: `half()` leaves integers as they are.
        self.register_constant("_bits", scales.view(torch.int32))

    @property
    def scale(self) -> torch.Tensor:
        """The scale of each feature, float32 (D,)."""
        return self.floats("_bits", torch.float32)

    def inward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Divide by the scale; see `Wrapper`."""
        wide = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
        return wide if self._plain else by_feature(torch.div, wide, self.scale)

    def outward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Multiply by the scale; see `Wrapper`."""
        if self._plain:
            return vectors
        return by_feature(torch.mul, vectors, self.scale).to(vectors.dtype)

    def reach(self, largest: float) -> float:
        """Scale the part's bound; see `Quantizer`."""
        least, most = (float(end) for end in self.scale.aminmax())
        return most * self.part.reach(largest / least)

    def extra_repr(self) -> str:
        """Return the options for `repr`."""
        scale = self._constants["_bits"].view(torch.float32).tolist()  # also of a layer on meta
        return f"scale={scale}, layout={self._layout.name!r}"
