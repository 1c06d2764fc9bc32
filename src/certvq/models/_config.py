"""The shape of a VQ-VAE, as data.

In: numbers. Out: a validated frozen record that can be written as JSON. Must not import torch.
"""

import math
import sys
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from certvq.errors import OptionError

QuantizerName = Literal["vq", "residual", "fsq"]
"""One codebook; codebooks for what the ones before left over; a grid without a codebook."""

_MOST, _MOST_BLOCKS = 1 << 16, 256
"""Beyond any network that is trained; a damaged file is refused, not built. Chosen."""

_MOST_CODES = (1 << 31) - 1
"""As many as the compiled kernel counts."""

_MOST_QUANTIZERS, _MOST_CELLS = 64, 1 << 24
"""Beyond what is trained: bits per token, and a histogram of all codes in 128 MiB. Chosen."""

_NUM_QUANTIZERS, _LEVELS = 4, (8, 5, 5, 5)
"""Where they are not given: as 1,024 codes four times, and the paper's grid in their place."""

_LATER = ("quantizer", "num_quantizers", "levels")
"""Fields that files of models with one codebook do not have, as of earlier versions."""


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
        quantizer: ``"vq"``, ``"residual"`` or ``"fsq"``; see `certvq.nn.VectorQuantize`,
            `certvq.nn.ResidualVQ` and `certvq.nn.FSQ`.
        num_quantizers: codebooks of ``"residual"`` and codes of a token, 1 to 64; None is 4.
        levels: of each feature of ``"fsq"``, 3 to 4096 each, at most 2^24 codes in all; None is
            ``(8, 5, 5, 5)``. `dim` and `codebook_size` follow from them, whatever is given;
            `commitment_weight`, `decay` and `update` have no effect.

    Raises:
        OptionError: a value out of its range; the text names it.

    Example:
        >>> VQVAEConfig().codebook_size
        512
        >>> VQVAEConfig(quantizer="fsq", levels=(8, 6, 5)).codebook_size
        240

    References:
        van den Oord, Vinyals, Kavukcuoglu, "Neural Discrete Representation Learning", 2017,
        section 4.1; the numbers are those of Sonnet's example. Mentzer et al., "Finite Scalar
        Quantization: VQ-VAE Made Simple", 2023, table 1, for the levels.
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
    quantizer: QuantizerName = "vq"
    num_quantizers: int | None = None
    levels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        self._set_quantizer()
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

    def _set_quantizer(self) -> None:
        _require_choice("quantizer", self.quantizer, get_args(QuantizerName))
        for name, owner in (("num_quantizers", "residual"), ("levels", "fsq")):
            value = getattr(self, name)
            if value is not None and self.quantizer != owner:
                raise OptionError(
                    f"{name} is for the quantizer {owner!r}, got {value!r} for {self.quantizer!r}"
                )
        if self.quantizer == "residual":
            count = _NUM_QUANTIZERS if self.num_quantizers is None else self.num_quantizers
            _require_integer("num_quantizers", count, 1, _MOST_QUANTIZERS)
            object.__setattr__(self, "num_quantizers", count)
        if self.quantizer == "fsq":
            levels = _grid(_LEVELS if self.levels is None else self.levels)
            object.__setattr__(self, "levels", levels)
            object.__setattr__(self, "dim", len(levels))
            object.__setattr__(self, "codebook_size", math.prod(levels))

    def to_json(self) -> dict[str, Any]:
        """Describe the architecture in JSON's own types.

        Returns:
            One entry per field; `quantizer` and its options only where it is not ``"vq"``.
        """
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name not in _LATER or value not in (None, "vq")
        }

    @staticmethod
    def from_json(content: object) -> "VQVAEConfig":
        """Read back what `to_json` wrote.

        Args:
            content: the parsed JSON.

        Raises:
            OptionError: not an object, a field is unknown or missing, or a value out of its range.

        Example:
            >>> VQVAEConfig.from_json(VQVAEConfig.small().to_json()) == VQVAEConfig.small()
            True
        """
        known = {field.name for field in fields(VQVAEConfig)}
        keys = set(content) if isinstance(content, dict) else None
        if not isinstance(content, dict) or keys is None or not known - {*_LATER} <= keys <= known:
            got = type(content).__name__ if keys is None else sorted(map(str, keys))
            raise OptionError(
                f"must have the keys {sorted(known - {*_LATER})}, and may have {sorted(_LATER)}, "
                f"got {got}"
            )
        return VQVAEConfig(**content)

    @staticmethod
    def published() -> "VQVAEConfig":
        """Return the published architecture for colour images."""
        return VQVAEConfig()

    @staticmethod
    def small() -> "VQVAEConfig":
        """Return an architecture that two processor cores train in minutes.

        Short runs want a short average: docs/quality.md has the figures for its decay.
        """
        return VQVAEConfig(hidden=64, dim=32, decay=0.8)


def _grid(levels: object) -> tuple[int, ...]:
    if not isinstance(levels, (tuple, list)) or not levels:
        raise OptionError(f"levels must be one number for each feature, got {levels!r}")
    for number, count in enumerate(levels):
        _require_integer(f"levels[{number}]", count, 3, 4096)
    if math.prod(levels) > _MOST_CELLS or len(levels) > _MOST:
        text = f"levels must have at most {_MOST_CELLS} codes in all, got {math.prod(levels)}"
        raise OptionError(text)
    return tuple(levels)


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
