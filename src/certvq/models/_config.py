"""The shape of a VQ-VAE, as data.

In: numbers. Out: a validated frozen record that can be written as JSON. Must not import torch.
"""

import sys
from dataclasses import dataclass
from typing import Literal

from certvq.errors import OptionError

_MOST, _MOST_BLOCKS = 1 << 16, 256
"""Beyond any network that is trained; a damaged file is refused, not built. Chosen."""

_MOST_CODES = (1 << 31) - 1
"""As many as the compiled kernel counts."""


@dataclass(frozen=True)
class VQVAEConfig:
    """Architecture and loss of a `VQVAE`; the defaults are the published ones.

    Attributes:
        channels: of the images, 1 or 3.
        hidden: channels inside encoder and decoder, even, 2 to 65536.
        residual_blocks: in the encoder and in the decoder each, 0 to 256.
        residual_hidden: channels inside a residual block, 1 to 65536.
        dim: D, size of a code vector, 1 to 65536.
        codebook_size: K, 1 to 2^31 - 1.
        downsampling: pixels per token along each axis, 2, 4, 8 or 16.
        commitment_weight: beta, finite and >= 0.
        decay: of the codebook's moving average, in [0, 1); without effect if `update` is
            ``"gradient"``.
        update: how the codebook learns, ``"ema"`` or ``"gradient"``.

    Raises:
        OptionError: a value out of its range; the text names it.

    Example:
        >>> VQVAEConfig().codebook_size
        512

    References:
        van den Oord, Vinyals, Kavukcuoglu, "Neural Discrete Representation Learning", 2017,
        section 4.1; the numbers are those of Sonnet's example.
    """

    channels: int = 3
    hidden: int = 128
    residual_blocks: int = 2
    residual_hidden: int = 32
    dim: int = 64
    codebook_size: int = 512
    downsampling: int = 4
    commitment_weight: float = 0.25
    decay: float = 0.99
    update: Literal["ema", "gradient"] = "ema"

    def __post_init__(self) -> None:
        for name in ("hidden", "residual_hidden", "dim"):
            _require_integer(name, getattr(self, name), 1, _MOST)
        _require_integer("codebook_size", self.codebook_size, 1, _MOST_CODES)
        _require_integer("residual_blocks", self.residual_blocks, 0, _MOST_BLOCKS)
        _require_choice("channels", self.channels, (1, 3))
        _require_choice("downsampling", self.downsampling, (2, 4, 8, 16))
        _require_choice("update", self.update, ("ema", "gradient"))
        if self.hidden % 2:
            text = f"hidden must be even, got {self.hidden}"
            raise OptionError(text)
        weight = self.commitment_weight
        if not _is_number(weight) or not 0 <= weight <= sys.float_info.max:
            text = f"commitment_weight must be a finite number of at least 0, got {weight!r}"
            raise OptionError(text)
        if not _is_number(self.decay) or not 0 <= self.decay < 1:
            text = f"decay must be a number of [0, 1), got {self.decay!r}"
            raise OptionError(text)

    @staticmethod
    def published() -> "VQVAEConfig":
        """Return the published architecture for colour images."""
        return VQVAEConfig()

    @staticmethod
    def small() -> "VQVAEConfig":
        """Return an architecture that two processor cores train in minutes."""
        return VQVAEConfig(hidden=64, dim=32)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _require_integer(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        text = f"{name} must be an integer from {least} to {most}, got {value!r}"
        raise OptionError(text)


def _require_choice(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if isinstance(value, (bool, float)) or value not in allowed:
        text = f"{name} must be one of {', '.join(map(repr, allowed))}; got {value!r}"
        raise OptionError(text)
