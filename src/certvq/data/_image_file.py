"""One image file to pixels, with everything that may be wrong with it as one named error.

In: a path. Out: uint8 pixels. Must not import torch, nor know of keys and folders.
"""

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from certvq._types import UInt8, UInt8Array
from certvq.data._pixel_limit import VARIABLE, pillow_allows, pixel_limit
from certvq.data._quiet import quieten_pillow
from certvq.data._tiff import bits_of_grey, mend_planes, require_right_tiff, white_is_zero
from certvq.errors import CertVQError, DataError

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
"""What `read_image` reads; told by the content of the file, never by its name."""

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BLOCK_PIXELS = 1 << 18
"""Pixels converted at a time: 1 MiB with four channels. Whole images took 31 bytes a pixel with
transparency, blocks take 7."""

_UPRIGHT = {
    # EXIF's orientation: how to look at the upright picture so that it lies as it is stored.
    2: lambda view: view[:, ::-1],
    3: lambda view: view[::-1, ::-1],
    4: lambda view: view[::-1],
    5: lambda view: view.transpose(1, 0, 2),
    6: lambda view: view[:, ::-1].transpose(1, 0, 2),
    7: lambda view: view[::-1, ::-1].transpose(1, 0, 2),
    8: lambda view: view[::-1].transpose(1, 0, 2),
}
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


def read_image(path: Path | bytes, *, max_pixels: int | None = None) -> UInt8[UInt8Array, "H W C"]:
    """Read a photograph.

    The orientation that a camera noted (EXIF) is applied. Transparent parts show white behind
    them. Samples of more than 8 bits keep their highest 8. Of a file with several frames, the first
    is read. Colour profiles are not applied. docs/images.md lists every kind of file.

    Args:
        path: a PNG, JPEG, WebP, TIFF or BMP file, or what is in one.
        max_pixels: the pixels that it may have; None for `CERTVQ_MAX_PIXELS`, or else for 2^24 or
            16 for each byte of the file, whichever is more, but at most 2^27.

    Returns:
        uint8 (H, W, 1) where the file is grey, (H, W, 3) where it has colour or a palette;
        read-only.

    Raises:
        DataError: the file cannot be opened, is none of these formats, is truncated or damaged, has
            too many pixels, numbers without a fixed range, 16-bit samples with a transparent value,
            or is of a kind that would be read wrongly (TIFF). The text is the reason alone; the
            caller names the file.
        OptionError: `max_pixels` or `CERTVQ_MAX_PIXELS` is no whole number of at least 1.

    Cost: at most 8 bytes of memory per pixel, 16 for WebP and JPEG.
    """
    with warnings.catch_warnings():
        # Pillow warns of damaged metadata, which do not matter here, and of large images, for which
        # the limit above stands.
        warnings.simplefilter("ignore")
        try:
            return _read(path, max_pixels)
        except CertVQError:
            raise
        except _DECODER_ERRORS as error:
            raise DataError(_reason(error)) from error


def with_channels(
    pixels: UInt8[UInt8Array, "H W _"], channels: int
) -> UInt8[UInt8Array, "H W {channels}"]:
    """Convert pixels (H, W, 1 or 3) to grey (1) or to red, green, blue (3).

    Grey is the luma of ITU-R BT.601, as Pillow computes it; colour of grey is three equal channels.

    Args:
        pixels: uint8 (H, W, 1 or 3).
        channels: 1 or 3.

    Returns:
        uint8 (H, W, channels); the very array where it has them already.

    Example:
        >>> with_channels(np.full((1, 1, 1), 7, np.uint8), 3).tolist()
        [[[7, 7, 7]]]
    """
    if pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    return np.asarray(Image.fromarray(pixels).convert("L"))[:, :, np.newaxis]


def _read(path: Path | bytes, max_pixels: int | None) -> UInt8Array:
    if isinstance(path, bytes):
        return _read_stream(io.BytesIO(path), len(path), max_pixels)
    # Opening a pipe or a device would wait for ever.
    if path.exists() and not path.is_file():
        raise DataError("a pipe, socket or device, which is not read as an image")
    # From a path, Pillow 13 maps some files into memory, and then scrambles what is turned.
    with path.open("rb") as file:
        return _read_stream(file, path.stat().st_size, max_pixels)


def _read_stream(file: BinaryIO, size: int, max_pixels: int | None) -> UInt8Array:
    quieten_pillow()
    limit = pixel_limit(size, max_pixels)
    with pillow_allows(limit):
        try:
            image = Image.open(file, formats=FORMATS)
        except UnidentifiedImageError as error:
            file.seek(0)
            if file.read(4) in _TIFF_STARTS:
                raise DataError("TIFF of a kind that is not read; save it as PNG") from error
            raise DataError(f"not a readable image ({', '.join(FORMATS)})") from error
        with image:
            _require_readable(image, limit)
            return _decoded(image)


def _require_readable(image: Any, limit: int) -> None:
    """Look at the header alone; nothing is unpacked before."""
    pixels = image.width * image.height
    if pixels > limit:
        raise DataError(
            f"{image.width} x {image.height} pixels are more than the {limit} allowed for a file "
            f"of this length; cut the image into parts, or allow them by {VARIABLE}={pixels}"
        )
    if image.format == "TIFF":
        require_right_tiff(image, limit=limit)
    if image.format != "TIFF" and image.mode == "CMYK" and "adobe" not in image.info:
        raise DataError("JPEG of inks without Adobe's mark, which may be inverted; save it as PNG")
    if image.mode in {"I", "F"}:
        raise DataError("32-bit samples have no fixed range; save it with 8 bits per sample")


def _decoded(image: Any) -> UInt8[UInt8Array, "H W C"]:
    """Unpack an image, turn it upright and make it 8-bit grey or colour, in blocks of rows."""
    stored = image.tile[0].args if image.tile else None
    stored = stored[0] if isinstance(stored, tuple) else stored
    grey = image.mode in _GREY_MODES or image.mode.startswith("I;16") or stored == "LA;16B"
    shift, inverted = bits_of_grey(image) - 8, white_is_zero(image)
    mend_planes(image)
    image.load()
    _mend_transparency(image, stored)
    view_of = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation), lambda view: view)
    turned = view_of(np.empty((image.height, image.width, 0))).shape[:2]
    pixels = np.empty((*turned, 1 if grey else 3), np.uint8)
    view = view_of(pixels)
    rows = max(1, _BLOCK_PIXELS // image.width)
    for top in range(0, image.height, rows):
        block = image.crop((0, top, image.width, min(top + rows, image.height)))
        view[top : top + rows] = _flattened(block, grey=grey, shift=shift)
    if inverted:
        np.subtract(255, pixels, out=pixels)
    pixels.setflags(write=False)
    return pixels


def _mend_transparency(image: Any, stored: object) -> None:
    """Bring the one transparent value of a PNG to the 8 bits that Pillow brings its samples to."""
    value = image.info.get("transparency")
    if value is None or image.mode == "P":
        return
    if image.mode.startswith("I;16") or stored == "RGB;16B":
        raise DataError("16-bit samples with a transparent value; save it with 8 bits per sample")
    image.info["transparency"] = value * {"L;2": 85, "L;4": 17}.get(str(stored), 1)


def _flattened(image: Image.Image, *, grey: bool, shift: int) -> UInt8[UInt8Array, "H W C"]:
    """Make a block of rows 8-bit grey (H, W, 1) or colour (H, W, 3), over white."""
    if image.mode.startswith("I;16"):
        return (np.asarray(image) >> shift).astype(np.uint8)[:, :, np.newaxis]
    if image.has_transparency_data:
        shown = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        white = Image.new("RGBA", shown.size, "white")
        image = Image.alpha_composite(white, shown)
    pixels = np.asarray(image.convert("L" if grey else "RGB"))
    return pixels[:, :, np.newaxis] if grey else pixels


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return (
            "it claims more pixels than are allowed for a file of this length; cut the image into "
            f"parts, or allow more by {VARIABLE}"
        )
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"cannot be decoded: {error or type(error).__name__}"
