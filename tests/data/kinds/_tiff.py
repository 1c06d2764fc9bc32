"""TIFF: written and read by tifffile, or laid down byte by byte."""

import io
import itertools
import struct
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from skimage.color import lab2xyz, rgb2xyz, xyz2lab, xyz2rgb

from kinds._common import (
    FOUR8,
    FOUR16,
    GREY8,
    GREY16,
    RGB8,
    RGB16,
    Cases,
    Kind,
    Pixels,
    channels,
    high,
    noise,
    opencv,
    over_white,
    upright,
)

_PREMULTIPLIED = np.dstack([np.minimum(FOUR8[..., :3], FOUR8[..., 3:]), FOUR8[..., 3]])
BITS = GREY8 > 127
_COLORMAP = noise(3, 256, bits=16)


def premultiplied_over_white(samples: Pixels) -> Pixels:
    return samples[..., :-1] + (255 - samples[..., -1:])


def without_ink(samples: Pixels) -> Pixels:
    light = 255 - samples.astype(float)
    return np.round(light[..., :3] * light[..., 3:] / 255).astype(np.uint8)


_BRADFORD = np.array(  # from the white of print (D50) to that of screens (D65)
    [
        [0.9555766, -0.0230393, 0.0631636],
        [-0.0282895, 1.0099416, 0.0210077],
        [0.0122982, -0.0204830, 1.3299098],
    ]
)


def to_lab(colours: Pixels) -> Pixels:
    lab = xyz2lab(rgb2xyz(colours / 255) @ np.linalg.inv(_BRADFORD).T, illuminant="D50")
    scaled = np.round(lab * (2.55, 1, 1)).clip((0, -128, -128), (255, 127, 127))
    return scaled.astype(np.int16).astype(np.uint8)


def of_lab(samples: Pixels) -> Pixels:
    lab = np.dstack([samples[..., 0] / 2.55, samples[..., 1:].view(np.int8)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of colours a little outside sRGB, after rounding
        colours = xyz2rgb(lab2xyz(lab, illuminant="D50") @ _BRADFORD.T)
    return np.round(colours * 255).astype(np.uint8)


def tiff_files(
    samples: NDArray[np.generic],
    meaning: Callable[[NDArray], Pixels] | None,
    *,
    plain: bool = True,
    big_endian: bool = True,
    **options: object,
) -> Iterator[tuple[bytes, Pixels | None]]:
    """Lay samples down in both byte orders, strips and tiles, with and without compression.

    Each file has orientation 6 and one more, so that each of the eight occurs. `plain` says
    whether files without compression are read, `big_endian` whether those of that order are.
    """
    layouts = itertools.product("<>", (None, (16, 16)), (None, "zlib"))
    for number, (order, tile, compression) in enumerate(layouts, start=1):
        for orientation in (number, 6):
            stream = io.BytesIO()
            turn = [(274, "H", 1, orientation, True)]
            layout = {"byteorder": order, "tile": tile, "compression": compression}
            layout["predictor"] = 2 if compression and samples.dtype.kind == "u" else None
            tifffile.imwrite(stream, samples, extratags=turn, metadata=None, **layout, **options)
            content = stream.getvalue()
            refused = not (plain or compression) or not (big_endian or order == "<")
            if meaning is None or refused:
                yield content, None
                continue
            read = tifffile.imread(io.BytesIO(content))
            if options.get("planarconfig") == "separate":
                read = np.moveaxis(read, 0, -1)
            yield content, upright(meaning(read), orientation)


def tiff_of_tags(
    data: bytes, tags: dict[int, tuple[int, ...]], *, order: str = "<"
) -> tuple[bytes, bytes]:
    """Write one strip of data and the given tags (16-bit numbers) and nothing else."""
    whole = {258: (8,), 259: (1,), 262: (1,), 277: (1,), **tags}
    entries, tail = b"", b""
    whole.update({273: (8,), 278: whole[257], 279: (len(data),)})
    start = 8 + len(data) + len(data) % 2
    after = start + 6 + 12 * len([tag for tag in whole if whole[tag]])
    for tag in sorted(tag for tag in whole if whole[tag]):
        values = struct.pack(f"{order}{len(whole[tag])}H", *whole[tag])
        if len(values) > 4:
            place, values = after + len(tail), values + bytes(len(values) % 2)
            tail, values = tail + values, struct.pack(f"{order}I", place)
        entries += struct.pack(f"{order}HHI", tag, 3, len(whole[tag])) + values.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    count = struct.pack(f"{order}H", entries.__len__() // 12)
    return head + data + bytes(len(data) % 2) + count + entries + bytes(4) + tail


def tiff(
    name: str,
    result: str,
    samples: NDArray[np.generic],
    meaning: Callable[[NDArray], Pixels] | None,
    *,
    tolerance: int = 0,
    library: str = "tifffile",
    **options: object,
) -> Kind:
    return Kind(
        "TIFF",
        name,
        result,
        library if meaning else "",
        lambda: tiff_files(samples, meaning, **options),
        tolerance,
    )


def odd_tiff(
    name: str,
    result: str,
    data: bytes,
    tags: dict[int, tuple[int, ...]],
    pixels: Pixels | None = None,
) -> Kind:
    def cases() -> Cases:
        yield tiff_of_tags(data, {256: (4,), 257: (1,), **tags}), pixels

    return Kind("TIFF", name, result, "its bytes" if pixels is not None else "", cases)


def compressed_tiff(name: str, compression: str, picture: Image.Image) -> Kind:
    def cases() -> Cases:
        stream = io.BytesIO()
        picture.save(stream, "TIFF", compression=compression)
        yield stream.getvalue(), opencv(stream.getvalue())

    result = "grey" if picture.mode in {"1", "L"} else "colour"
    return Kind("TIFF", name, result, "OpenCV", cases, 1)


_STRAIGHT, _ASSOCIATED, _ANY = (
    {"extrasamples": [extra]} for extra in ("unassalpha", "assocalpha", "unspecified")
)
_BLACK, _WHITE, _COLOUR, _INKS = (
    {"photometric": photometric} for photometric in ("minisblack", "miniswhite", "rgb", "separated")
)
_PLANES = {"planarconfig": "separate"}
_CONTIGUOUS = {"planarconfig": "contig"}
_NO_RANGE = "refused: no fixed range"


def _floating(bits: int) -> NDArray[np.generic]:
    return (GREY8 / 255).astype(f"f{bits // 8}")


def _planes(samples: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.ascontiguousarray(np.moveaxis(samples, -1, 0))


TIFF = [
    tiff("grey, 8 bits", "grey", GREY8, channels, **_BLACK),
    tiff("grey, 8 bits, white is zero", "grey", GREY8, lambda a: channels(255 - a), **_WHITE),
    tiff("grey, 16 bits", "grey, high byte", GREY16, high, **_BLACK),
    tiff(
        "grey, 16 bits, white is zero",
        "grey, high byte; refused where big-endian",
        GREY16,
        lambda a: high(~a),
        big_endian=False,
        **_WHITE,
    ),
    tiff("grey, 1 bit", "grey", BITS, lambda a: channels(a * np.uint8(255)), **_BLACK),
    tiff(
        "grey, 1 bit, white is zero",
        "grey",
        BITS,
        lambda a: channels(np.uint8(255) * ~a),
        **_WHITE,
    ),
    tiff(
        "palette",
        "colour",
        GREY8,
        lambda a: (_COLORMAP >> 8).astype(np.uint8)[:, a].transpose(1, 2, 0),
        photometric="palette",
        colormap=_COLORMAP,
    ),
    tiff("colour, 8 bits", "colour", RGB8, channels, **_COLOUR),
    tiff("colour, 8 bits, planes", "colour", _planes(RGB8), channels, **_COLOUR, **_PLANES),
    tiff("colour, 16 bits", "colour, high bytes", RGB16, high, **_COLOUR),
    tiff(
        "colour, 16 bits, planes",
        "colour, high bytes",
        _planes(RGB16),
        high,
        **_COLOUR,
        **_PLANES,
    ),
    tiff(
        "grey and alpha, 8 bits",
        "grey over white",
        RGB8[..., :2],
        over_white,
        **_BLACK,
        **_STRAIGHT,
        **_CONTIGUOUS,
        tolerance=1,
    ),
    tiff(
        "grey and alpha, 8 bits, premultiplied",
        "grey over white",
        _PREMULTIPLIED[..., [0, 3]],
        premultiplied_over_white,
        tolerance=1,
        **_BLACK,
        **_ASSOCIATED,
        **_CONTIGUOUS,
    ),
    tiff(
        "colour and alpha, 8 bits",
        "colour over white",
        FOUR8,
        over_white,
        tolerance=1,
        **_COLOUR,
        **_STRAIGHT,
    ),
    tiff(
        "colour and alpha, 8 bits, planes",
        "colour over white",
        _planes(FOUR8),
        over_white,
        tolerance=1,
        **_COLOUR,
        **_STRAIGHT,
        **_PLANES,
    ),
    tiff(
        "colour and alpha, 8 bits, premultiplied",
        "colour over white",
        _PREMULTIPLIED,
        premultiplied_over_white,
        tolerance=1,
        **_COLOUR,
        **_ASSOCIATED,
    ),
    tiff(
        "colour and alpha, 16 bits",
        "colour over white, high bytes",
        FOUR16,
        lambda a: over_white(high(a)),
        tolerance=1,
        **_COLOUR,
        **_STRAIGHT,
    ),
    tiff(
        "colour and a fourth channel without meaning",
        "colour, the fourth left out",
        FOUR8,
        lambda a: a[..., :3],
        **_COLOUR,
        **_ANY,
    ),
    tiff("inks (CMYK), 8 bits", "colour", FOUR8, without_ink, tolerance=1, **_INKS),
    tiff(
        "inks (CMYK), 8 bits, planes",
        "colour",
        _planes(FOUR8),
        without_ink,
        tolerance=1,
        **_INKS,
        **_PLANES,
    ),
    tiff(
        "inks (CMYK), 16 bits",
        "colour, high bytes",
        FOUR16,
        lambda a: without_ink(high(a)),
        tolerance=1,
        **_INKS,
    ),
    tiff(
        "CIE Lab, 8 bits",
        "colour (sRGB)",
        to_lab(RGB8 // 2 + 64),
        of_lab,
        tolerance=8,
        library="scikit-image",
        photometric="cielab",
    ),
    tiff(
        "luma and chroma (YCbCr), not as JPEG",
        "refused",
        RGB8,
        None,
        photometric="ycbcr",
        subsampling=(1, 1),
    ),
    tiff(
        "BigTIFF",
        "as TIFF; refused where big-endian",
        GREY8,
        channels,
        bigtiff=True,
        big_endian=False,
        **_BLACK,
    ),
    compressed_tiff("compressed by LZW", "tiff_lzw", Image.fromarray(RGB8)),
    compressed_tiff("compressed by PackBits", "packbits", Image.fromarray(GREY8)),
    compressed_tiff("compressed by JPEG", "jpeg", Image.fromarray(RGB8)),
    compressed_tiff("compressed as fax (group 4)", "group4", Image.fromarray(BITS)),
    odd_tiff(
        "grey, 12 bits",
        "grey, highest 8 bits",
        bytes.fromhex("123456fff010"),
        {258: (12,)},
        np.array([[[0x12], [0x45], [0xFF], [0x01]]], np.uint8),
    ),
    odd_tiff(
        "palette, 4 bits",
        "colour",
        b"\x12\x3f",
        {258: (4,), 262: (3,), 320: tuple(range(0, 4800, 100))},
        np.array([[[0, 6, 12], [0, 7, 13], [1, 7, 13], [5, 12, 18]]]),
    ),
    odd_tiff(
        "grey, 4 bits", "grey", b"\x12\x3f", {258: (4,)}, np.array([[[17], [34], [51], [255]]])
    ),
    tiff("grey, signed 8 bits", _NO_RANGE, GREY8.view(np.int8), None, **_BLACK),
    tiff("grey, signed 16 bits", _NO_RANGE, GREY16.view(np.int16), None, **_BLACK),
    tiff("grey, 32 bits", _NO_RANGE, GREY8.astype(np.uint32), None, **_BLACK),
    *(
        tiff(f"grey, floating, {bits} bits", _NO_RANGE, _floating(bits), None, **_BLACK)
        for bits in (16, 32, 64)
    ),
    tiff("colour, floating, 32 bits", _NO_RANGE, RGB8.astype(np.float32), None, **_COLOUR),
    tiff(
        "grey and alpha, 16 bits",
        "refused",
        RGB16[..., :2],
        None,
        **_BLACK,
        **_STRAIGHT,
        **_CONTIGUOUS,
    ),
    tiff(
        "colour and alpha, 16 bits, planes",
        "colour over white, high bytes; refused where not compressed",
        _planes(FOUR16),
        lambda a: over_white(high(a)),
        tolerance=1,
        plain=False,
        **_COLOUR,
        **_STRAIGHT,
        **_PLANES,
    ),
    tiff("ICC Lab", "refused", RGB8, None, photometric="icclab"),
    odd_tiff("no photometric interpretation", "refused", bytes(4), {262: ()}),
    odd_tiff("a smaller copy as first image", "refused", bytes(4), {254: (1,)}),
    odd_tiff("raw samples of a camera (DNG)", "refused", bytes(4), {50706: (1, 4)}),
    odd_tiff(
        "palette of 8-bit numbers",
        "refused",
        bytes(4),
        {262: (3,), 320: tuple(i % 256 for i in range(768))},
    ),
    odd_tiff(
        "inks other than CMYK",
        "refused",
        bytes(16),
        {258: (8,) * 4, 262: (5,), 277: (4,), 332: (2,)},
    ),
    odd_tiff(
        "one plane, white is zero, not compressed", "refused", bytes(4), {262: (0,), 284: (2,)}
    ),
    odd_tiff("one plane of 4 bits, not compressed", "refused", bytes(2), {258: (4,), 284: (2,)}),
]
