"""One photograph: a key and its 8-bit pixels.

In: an array of pixels. Out: a frozen, checked record that owns them. Must not import torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from certvq._types import UInt8, UInt8Array
from certvq.data._key import require_key
from certvq.errors import DataError, DTypeError, OptionError, ShapeError


@dataclass(frozen=True, eq=False)
class Photograph:
    """An immutable photograph.

    Args:
        key: unique name, see `require_key`.
        pixels: uint8, shape (H, W, C) with H, W >= 1 and C = 1 (grey) or 3 (red, green, blue).
            They are copied unless they are read-only, contiguous and own their memory.
        path: the file that they come from, named in errors; None where it is not known.

    Raises:
        DataError: the key is not usable.
        DTypeError: the pixels are no uint8 array.
        ShapeError: the pixels have another rank, no pixel, or another number of channels.

    Guarantee: `pixels` is C-contiguous and read-only.

    Example:
        >>> photograph = Photograph("grey", np.zeros((2, 3, 1), np.uint8))
        >>> photograph.height, photograph.width, photograph.channels
        (2, 3, 1)
        >>> photograph.pixels.flags.writeable
        False
    """

    key: str
    pixels: UInt8[UInt8Array, "H W C"]
    path: Path | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        require_key(self.key)
        pixels: object = self.pixels
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
            kind = pixels.dtype if isinstance(pixels, np.ndarray) else type(pixels).__name__
            raise DTypeError(
                f"photograph {self.key!r}: pixels must be a uint8 array, got {kind}; "
                "scale to 0..255, round and convert with .astype(np.uint8)"
            )
        if pixels.ndim != 3 or 0 in pixels.shape or pixels.shape[2] not in (1, 3):
            raise ShapeError(
                f"photograph {self.key!r}: pixels must have the shape (height, width, 1 or 3), "
                f"got {pixels.shape}"
            )
        object.__setattr__(self, "pixels", _frozen(pixels))

    @property
    def height(self) -> int:
        """Number of rows of pixels."""
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        """Number of columns of pixels."""
        return self.pixels.shape[1]

    @property
    def channels(self) -> int:
        """1 for grey, 3 for red, green, blue."""
        return self.pixels.shape[2]


def files_of(*photographs: Photograph) -> str:
    """Return the beginning of an error about photographs: their files, as far as known.

    Example:
        >>> pixels = np.zeros((2, 3, 1), np.uint8)
        >>> files_of(Photograph("a", pixels, path=Path("a.png")), Photograph("b", pixels))
        'a.png: '
        >>> files_of(Photograph("b", pixels))
        ''
    """
    known = " and ".join(str(one.path) for one in photographs if one.path is not None)
    return f"{known}: " if known else ""


def misfit(photograph: Photograph, *, stride: int, channels: int | None = None) -> str | None:
    """Tell why a network of the given stride and channels cannot take a photograph, if it cannot.

    Example:
        >>> misfit(Photograph("tiny", np.zeros((2, 9, 1), np.uint8)), stride=4)
        'is 2 x 9 pixels, smaller than the stride of 4; enlarge it or leave it out'
    """
    if min(photograph.height, photograph.width) < stride:
        return (
            f"is {photograph.height} x {photograph.width} pixels, smaller than the stride of "
            f"{stride}; enlarge it or leave it out"
        )
    if channels is not None and photograph.channels != channels:
        return (
            f"has {photograph.channels} channels, the network takes {channels}; load the "
            f"photographs with channels={channels} (--channels {channels} on the command line)"
        )
    return None


def below_crop(photograph: Photograph, crop: int) -> str | None:
    """Tell why no square of `crop` pixels can be cut out of a photograph, if none can."""
    if min(photograph.height, photograph.width) >= crop:
        return None
    return (
        f"is {photograph.height} x {photograph.width} pixels, smaller than the crops of {crop} x "
        f"{crop}; set a smaller crop, or leave it out"
    )


def together(problems: Sequence[str]) -> str:
    """Put problems into one text: one as it is, several numbered, at most twenty in full.

    Example:
        >>> together(["a.png: too small", "b.png: damaged"])
        '2 problems: (1) a.png: too small; (2) b.png: damaged'
    """
    if len(problems) == 1:
        return problems[0]
    shown = "; ".join(f"({number}) {text}" for number, text in enumerate(problems[:20], start=1))
    more = f"; and {len(problems) - 20} more" if len(problems) > 20 else ""
    return f"{len(problems)} problems: {shown}{more}"


def require_usable(
    photographs: Sequence[Photograph], *, stride: int, channels: int | None = None
) -> None:
    """Refuse photographs that a network of the given stride cannot process together.

    Args:
        photographs: at least one.
        stride: pixels per token along each axis, at least 1; the smallest side that is allowed.
        channels: what the network expects; None asks only that all photographs agree.

    Raises:
        OptionError: `stride` is below 1.
        DataError: no photograph; a key occurs twice; a photograph has other channels than asked
            for or than the first one; a photograph is smaller than the stride. All are named.

    Example:
        >>> tiny = Photograph("tiny", np.zeros((2, 9, 1), np.uint8))
        >>> require_usable([tiny], stride=4)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        certvq.errors.DataError: photograph 'tiny' is 2 x 9 pixels, smaller than the stride ...
    """
    if stride < 1:
        raise OptionError(f"stride must be at least 1, got {stride}")
    if not photographs:
        raise DataError("at least one photograph is needed, got none")
    seen: dict[str, Photograph] = {}
    problems: list[str] = []
    for photograph in photographs:
        if photograph.key in seen:
            problems.append(
                f"{files_of(seen[photograph.key], photograph)}two photographs have the key "
                f"{photograph.key!r}; rename one of them"
            )
        seen[photograph.key] = photograph
        if reason := misfit(photograph, stride=stride, channels=channels):
            problems.append(f"{files_of(photograph)}photograph {photograph.key!r} {reason}")
        elif photograph.channels != photographs[0].channels:
            problems.append(
                f"{files_of(photographs[0], photograph)}photograph {photographs[0].key!r} has "
                f"{photographs[0].channels} channels, photograph {photograph.key!r} has "
                f"{photograph.channels}; load them with channels=1 or channels=3 "
                "(--channels 1 or 3 on the command line)"
            )
    if problems:
        raise DataError(together(problems))


def _frozen(pixels: UInt8Array) -> UInt8Array:
    flags = pixels.flags
    if flags.owndata and flags.c_contiguous and not flags.writeable:
        return pixels
    copy = np.array(pixels, dtype=np.uint8, order="C")
    copy.setflags(write=False)
    return copy
