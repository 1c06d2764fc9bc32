"""A model as the job sees it.

In: a module and its two ways, to codes and back. Out: the frozen `Codec`. Must not load files.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from certvq.errors import OptionError
from certvq.network import CanonicalEncoder
from certvq.tokenize._plan import Modality

Encode: TypeAlias = Callable[[torch.Tensor], "torch.Tensor | tuple[torch.Tensor, torch.Tensor]"]
Decode: TypeAlias = Callable[..., torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Codec:
    """A model that makes codes of images, sounds or latents.

    Attributes:
        module: whose parameters are the model's; in eval mode, not called from here.
        modality: ``"image"``, ``"audio"`` or ``"latent"``.
        codebooks: one (K, D) for each code of a token, in the order of the codes; or the levels
            (D,) of a grid, whole numbers.
        encode: inputs (B, channels, H, W), (B, channels, T) or (B, ..., D) to codes
            (B, ...grid, number of codebooks), or without the last axis where there is one codebook.
            The codes must come from searches by `certvq.assign`, as those of a patched module do.
            With `side`, codes and side numbers (B, any number), finite floats.
        decode: codes (1, ...grid, number of codebooks) to an image (1, C, H, W) of `pixels`, or a
            sound (1, C, T); None where there is no way back. With `side`, of codes and the side
            numbers (1, any number), float64.
        side: whether decoding needs numbers beside the codes, such as the loudness by which an
            input was divided. They are stored with the codes of the input.
        name: of the kind of model, for the manifest.
        channels: that inputs must have; None for any.
        pixels: the numbers that black and white become.
        stride: image sides, or samples, are padded to a multiple of it: images by their last row
            and column, sounds by silence.
        rate: samples per second of sounds.
        options: all else that decides about the codes, such as a bandwidth; JSON.
        canonical: makes what finds the canonical codes of exact inputs: bytes (B, C, H, W) of
            images, each of which stands for ``byte / 255``, or samples (B, C, T); None where there
            is no way to them.

    Raises:
        OptionError: no codebook, an unknown modality, a sound model without a rate, or side numbers
            and a way to canonical codes, which have none.
    """

    module: nn.Module
    modality: Modality
    codebooks: Sequence[torch.Tensor]
    encode: Encode
    decode: Decode | None = None
    side: bool = False
    name: str = "entry"
    channels: int | None = None
    pixels: tuple[float, float] = (0.0, 1.0)
    stride: int = 1
    rate: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    canonical: Callable[[], CanonicalEncoder] | None = None

    def __post_init__(self) -> None:
        if self.modality not in ("image", "audio", "latent"):
            raise OptionError(
                f"modality must be 'image', 'audio' or 'latent', got {self.modality!r}"
            )
        if not self.codebooks:
            raise OptionError("codebooks must hold one (K, D) for each code of a token, got none")
        if self.modality == "audio" and not self.rate:
            raise OptionError("rate must be the samples per second that the model takes, got None")
        if self.side and self.canonical is not None:
            raise OptionError("canonical codes have no side numbers; leave out side or canonical")

    @property
    def dim(self) -> int:
        """D of latents."""
        first = self.codebooks[0]
        return len(first) if first.ndim == 1 else int(first.shape[1])

    @property
    def device(self) -> torch.device:
        """Where its inputs belong."""
        return next(self._tensors()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of number that its inputs are cast to."""
        return next(each.dtype for each in self._tensors() if each.is_floating_point())

    def of_pixels(self, pixels: np.ndarray) -> torch.Tensor:
        """Bring uint8 (H, W, C) to an input (C, H', W')."""
        black, white = self.pixels
        image = torch.from_numpy(np.array(pixels)).to(self.device).permute(2, 0, 1)
        scaled = image.to(torch.float32) / 255 * (white - black) + black
        height, width = scaled.shape[1:]
        pad = (0, -width % self.stride, 0, -height % self.stride)
        padded = nn.functional.pad(scaled[None], pad, mode="replicate")[0] if any(pad) else scaled
        return padded.to(self.dtype)

    def of_samples(self, samples: np.ndarray) -> torch.Tensor:
        """Bring float32 (C, T) to an input (C, T')."""
        return self.padded(torch.from_numpy(samples).to(self.device)).to(self.dtype)

    def padded(self, sound: torch.Tensor) -> torch.Tensor:
        """Bring a sound (C, T) to a multiple of the stride; no number changes."""
        return nn.functional.pad(sound, (0, -sound.shape[1] % self.stride))

    def preprocessing(self, *, exact: bool = False) -> dict[str, Any]:
        """Describe what is done to inputs, as JSON.

        Args:
            exact: whether they are read as exact numbers, for canonical codes.
        """
        if self.modality == "latent":
            return {"latents": "as they are"}
        dtype = "exact" if exact else str(self.dtype).removeprefix("torch.")
        common = {"dtype": dtype, "multiple_of": self.stride}
        if self.modality == "audio":
            return {**common, "rate": self.rate, "padding": "silence"}
        return {**common, "black": self.pixels[0], "white": self.pixels[1], "padding": "last"}

    def _tensors(self) -> Any:
        yield from self.module.parameters()
        yield from self.module.buffers()
        yield from self.codebooks
