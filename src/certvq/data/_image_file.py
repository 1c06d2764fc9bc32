"""One image file to pixels, with everything that may be wrong with it as one named error.

In: a path. Out: uint8 pixels. Must not import torch, nor know of keys and folders.
"""

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from certvq._types import UInt8Array
from certvq.errors import DataError

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
"""What `read_image` reads; told by the content of the file, never by its name."""

MAX_PIXELS = 1 << 27
"""Larger images are refused before they are decoded: 134 million pixels, 403 MB in colour."""

_GREY_MODES = ("1", "L", "LA", "La")
_DECODER_ERRORS = (
    # What Pillow's readers let through on damaged files; truncation is an OSError.
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def read_image(path: Path) -> UInt8Array:
    """Read a photograph.

    The orientation that a camera noted (EXIF) is applied. Transparent parts show white behind
    them. Samples of 16 bits keep their high byte. Of a file with several frames, the first is read.
    Colour profiles are not applied.

    Args:
        path: a PNG, JPEG, WebP, TIFF or BMP file.

    Returns:
        uint8 (H, W, 1) where the file is grey, (H, W, 3) where it has colour or a palette.

    Raises:
        DataError: the file cannot be opened, is none of these formats, is truncated or damaged, has
            more than `MAX_PIXELS` pixels, 32-bit samples, which have no fixed range, or 16-bit
            samples with transparency. The text is the reason alone; the caller names the file.
    """
    with warnings.catch_warnings():
        # Pillow warns of damaged metadata, which do not matter here, and of large images, for which
        # the limit above stands.
        warnings.simplefilter("ignore")
        try:
            return _decoded(path)
        except DataError:
            raise
        except Image.UnidentifiedImageError as error:
            raise DataError(f"not a readable image ({', '.join(FORMATS)})") from error
        except _DECODER_ERRORS as error:
            raise DataError(_reason(error)) from error


def with_channels(pixels: UInt8Array, channels: int) -> UInt8Array:
    """Convert pixels (H, W, 1 or 3) to grey (1) or to red, green, blue (3).

    Grey is the luma of ITU-R BT.601, as Pillow computes it; colour of grey is three equal channels.

    Example:
        >>> with_channels(np.full((1, 1, 1), 7, np.uint8), 3).tolist()
        [[[7, 7, 7]]]
    """
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    return np.asarray(Image.fromarray(pixels).convert("L"))[:, :, np.newaxis]


def _decoded(path: Path) -> UInt8Array:
    # Opening a pipe or a device would wait for ever.
    if path.exists() and not path.is_file():
        raise DataError("neither a file nor a folder")
    with Image.open(path, formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise DataError(
                f"{image.width} x {image.height} pixels are more than the {MAX_PIXELS} allowed; "
                "cut the image into parts"
            )
        if image.mode in {"I", "F"}:
            raise DataError("32-bit samples have no fixed range; save it with 8 bits per sample")
        if image.mode.startswith("I;16") and image.has_transparency_data:
            raise DataError("16-bit grey with transparency; save it with 8 bits per sample")
        upright = ImageOps.exif_transpose(image)
    return _flattened(upright)


def _flattened(image: Image.Image) -> UInt8Array:
    if image.mode.startswith("I;16"):
        return (np.asarray(image) >> 8).astype(np.uint8)[:, :, np.newaxis]
    target = "L" if image.mode in _GREY_MODES else "RGB"
    if image.has_transparency_data:
        shown = image.convert("RGBA")
        white = Image.new("RGBA", shown.size, "white")
        image = Image.alpha_composite(white, shown)
    pixels = np.asarray(image.convert(target))
    return pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"it claims more than the {MAX_PIXELS} pixels allowed; cut the image into parts"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"cannot be decoded: {error or type(error).__name__}"
