"""JPEG, WebP, BMP, and what is common to formats: written by Pillow, read by OpenCV."""

import io
import struct

from PIL import Image

from kinds._common import (
    FOUR8,
    GREY8,
    RGB8,
    Cases,
    Kind,
    noise,
    opencv,
)
from kinds._png import TABLE


def written(
    fmt: str, name: str, result: str, picture: Image.Image, tolerance: int = 0, **options: object
) -> Kind:
    def cases() -> Cases:
        stream = io.BytesIO()
        picture.save(stream, fmt.upper(), **options)
        yield stream.getvalue(), opencv(stream.getvalue())

    return Kind(fmt, name, result, "OpenCV", cases, tolerance)


def unmarked_inks() -> Kind:
    """Take the segment away by which Adobe says what numbers mean."""

    def cases() -> Cases:
        stream = io.BytesIO()
        Image.fromarray(FOUR8, "CMYK").save(stream, "JPEG")
        whole = stream.getvalue()
        start = whole.index(b"\xff\xee")
        length = struct.unpack(">H", whole[start + 2 : start + 4])[0]
        yield whole[:start] + whole[start + 2 + length :], None

    return Kind("JPEG", "inks (CMYK) without Adobe's mark", "refused", "", cases)


def turned(fmt: str, **options: object) -> Kind:
    """Write a picture eight times, each with another orientation in its EXIF data."""

    def cases() -> Cases:
        for orientation in range(1, 9):
            exif, stream = Image.Exif(), io.BytesIO()
            exif[0x0112] = orientation
            Image.fromarray(RGB8).save(stream, fmt.upper(), exif=exif, **options)
            yield stream.getvalue(), opencv(stream.getvalue(), turned=True)

    return Kind(fmt, "colour, each orientation of EXIF", "upright", "OpenCV", cases, 1)


def frames(fmt: str, **options: object) -> Kind:
    def cases() -> Cases:
        stream = io.BytesIO()
        others = [Image.fromarray(255 - RGB8)]
        first = Image.fromarray(RGB8)
        first.save(stream, fmt.upper(), save_all=True, append_images=others, **options)
        yield stream.getvalue(), RGB8

    return Kind(fmt, "several frames or pages", "the first", "its bytes", cases)


def bmp(name: str, bits: int, data: bytes, *, tolerance: int = 0, **fields: object) -> Kind:
    """Lay down a BMP of 8 x 2 pixels: header of 40 bytes, masks or palette, rows of data."""
    masks, compression = fields.get("masks", b""), fields.get("compression", 0)
    height = fields.get("height", 2)
    palette = b"" if bits > 8 else b"".join(bytes([*row[::-1], 0]) for row in TABLE[: 1 << bits])
    size = 56 if len(masks) == 16 else 40  # with a mask of alpha, the header is longer
    start = 54 + len(masks) + len(palette)
    info = struct.pack(
        "<IiiHHIIiiII", size, 8, height, 1, bits, compression, len(data), 0, 0, len(palette) // 4, 0
    )
    head = b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start)

    def cases() -> Cases:
        content = head + info + masks + palette + data
        yield content, opencv(content)

    result = "colour over white" if len(masks) == 16 else "colour"
    return Kind("BMP", name, result, "OpenCV", cases, tolerance)


_MASKS565 = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
_MASKS8888 = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
_RLE8 = bytes([3, 9, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0, 8, 200, 0, 0, 0, 1])
_RUN = noise(64).tobytes()

OTHERS = [
    frames("PNG"),
    turned("PNG"),
    written("JPEG", "grey", "grey", Image.fromarray(GREY8), 1),
    written("JPEG", "colour", "colour", Image.fromarray(RGB8), 2),
    written("JPEG", "colour, progressive", "colour", Image.fromarray(RGB8), 2, progressive=True),
    written("JPEG", "colour, chroma in full", "colour", Image.fromarray(RGB8), 2, subsampling=0),
    written("JPEG", "inks (CMYK)", "colour", Image.fromarray(FOUR8, "CMYK"), 3),
    unmarked_inks(),
    turned("JPEG"),
    written("WebP", "colour, lossless", "colour", Image.fromarray(RGB8), lossless=True),
    written("WebP", "colour, lossy", "colour", Image.fromarray(RGB8), 2),
    written(
        "WebP",
        "colour and alpha",
        "colour over white",
        Image.fromarray(FOUR8),
        1,
        lossless=True,
        exact=True,
    ),
    turned("WebP", lossless=True),
    frames("WebP", lossless=True),
    frames("TIFF"),
    bmp("palette, 1 bit", 1, _RUN[:8]),
    bmp("palette, 4 bits", 4, _RUN[:8]),
    bmp("palette, 8 bits", 8, _RUN[:16]),
    bmp("palette, 8 bits, run lengths", 8, _RLE8, compression=1),
    # OpenCV leaves the low bits empty, where Pillow scales 31 to 255.
    bmp("colour, 15 bits", 16, _RUN[:32], tolerance=7),
    bmp("colour, 16 bits, by masks", 16, _RUN[:32], tolerance=7, compression=3, masks=_MASKS565),
    bmp("colour, 24 bits", 24, _RUN[:48]),
    bmp("colour, 24 bits, from the top", 24, _RUN[:48], height=-2),
    bmp("colour and alpha, by masks", 32, _RUN[:64], tolerance=1, compression=3, masks=_MASKS8888),
    bmp("colour, 32 bits, the fourth byte left out", 32, _RUN[:64]),
    written("BMP", "grey, 8 bits (a palette of greys)", "grey", Image.fromarray(GREY8)),
]
