"""PNG: laid down byte by byte, and read by OpenCV where it reads the kind."""

import struct
import zlib
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from kinds._common import (
    Cases,
    Kind,
    Pixels,
    channels,
    high,
    noise,
    opencv,
    over_white,
)


def png(
    depth: int,
    colour: int,
    rows: Iterable[bytes],
    *chunks: tuple[bytes, bytes],
    interlaced: int = 0,
) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    width = 8
    header = struct.pack(">IIBBBBB", width, 2, depth, colour, 0, 0, interlaced)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    body = b"".join(chunk(*one) for one in ((b"IHDR", header), *chunks, (b"IDAT", data)))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def packed(samples: NDArray[np.generic], depth: int) -> list[bytes]:
    """Pack rows of samples, most significant bit first."""
    if depth == 16:
        return [row.astype(">u2").tobytes() for row in samples]
    places = np.arange(depth - 1, -1, -1)
    return [np.packbits(row.reshape(-1, 1) >> places & 1).tobytes() for row in samples]


def png_of(
    name: str,
    result: str,
    depth: int,
    colour: int,
    *chunks: tuple[bytes, bytes],
    pixels: Callable[[NDArray], Pixels] | None,
    library: str = "OpenCV",
    interlaced: bool = False,
) -> Kind:
    width = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    samples = noise(2, 8, width, bits=depth)
    samples[0, 0] = 1  # so that the transparent value of 1 occurs

    def cases() -> Cases:
        rows = packed(samples, depth)
        if interlaced:
            passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)]
            passes += [(2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
            parts = [samples[top::down, left::right] for top, left, down, right in passes]
            rows = [row for part in parts if part.size for row in packed(part, depth)]
        content = png(depth, colour, rows, *chunks, interlaced=int(interlaced))
        if pixels is None:
            yield content, None
            return
        wanted = pixels(samples)
        if library == "OpenCV":
            assert np.abs(opencv(content).astype(int) - wanted).max() <= 1
        yield content, wanted

    return Kind("PNG", name, result, library if pixels else "", cases, 1)


def _scaled(depth: int) -> Callable[[NDArray], Pixels]:
    return lambda samples: (samples * (255 // ((1 << depth) - 1))).astype(np.uint8)


def _one_clear(depth: int) -> Callable[[NDArray], Pixels]:
    """Show white where every sample of a pixel is 1, the transparent value."""
    return lambda a: np.where((a == 1).all(axis=-1, keepdims=True), 255, _scaled(depth)(a))


TABLE = np.random.default_rng(8).integers(0, 256, (256, 3)).astype(np.uint8)
_CLEAR = np.random.default_rng(9).integers(0, 256, (256, 1)).astype(np.uint8)


def _bits(depth: int) -> str:
    return f"{depth} bit" if depth == 1 else f"{depth} bits"


def _coloured(samples: NDArray) -> Pixels:
    return TABLE[samples[..., 0]]


def _plte(depth: int) -> tuple[bytes, bytes]:
    return b"PLTE", TABLE[: 1 << depth].tobytes()


def _trns(*values: int) -> tuple[bytes, bytes]:
    return b"tRNS", struct.pack(f">{len(values)}H", *values)


PNG = [
    *(
        png_of(f"grey, {_bits(depth)}", "grey", depth, 0, pixels=_scaled(depth))
        for depth in (1, 2, 4, 8)
    ),
    png_of("grey, 16 bits", "grey, high byte", 16, 0, pixels=high),
    *(
        png_of(f"palette, {_bits(depth)}", "colour", depth, 3, _plte(depth), pixels=_coloured)
        for depth in (1, 2, 4, 8)
    ),
    png_of("colour, 8 bits", "colour", 8, 2, pixels=channels),
    png_of("colour, 16 bits", "colour, high bytes", 16, 2, pixels=high),
    png_of("colour, interlaced", "colour", 8, 2, pixels=channels, interlaced=True),
    png_of("grey, 16 bits, interlaced", "grey, high byte", 16, 0, pixels=high, interlaced=True),
    png_of(
        "grey and alpha, 8 bits", "grey over white", 8, 4, pixels=over_white, library="its bytes"
    ),
    png_of(
        "grey and alpha, 16 bits",
        "grey over white, high bytes",
        16,
        4,
        pixels=lambda a: over_white(high(a)),
        library="its bytes",
    ),
    png_of("colour and alpha, 8 bits", "colour over white", 8, 6, pixels=over_white),
    png_of(
        "colour and alpha, 16 bits",
        "colour over white, high bytes",
        16,
        6,
        pixels=lambda a: over_white(high(a)),
    ),
    png_of(
        "palette with alpha",
        "colour over white",
        8,
        3,
        _plte(8),
        (b"tRNS", _CLEAR.tobytes()),
        pixels=lambda a: over_white(np.dstack([_coloured(a), _CLEAR[a[..., 0]]])),
    ),
    *(
        png_of(
            f"grey, {_bits(depth)}, one value transparent",
            "grey over white",
            depth,
            0,
            _trns(1),
            pixels=_one_clear(depth),
            library="its bytes",
        )
        for depth in (1, 2, 4, 8)
    ),
    png_of(
        "colour, 8 bits, one value transparent",
        "colour over white",
        8,
        2,
        _trns(1, 1, 1),
        pixels=_one_clear(8),
    ),
    png_of("grey, 16 bits, one value transparent", "refused", 16, 0, _trns(1), pixels=None),
    png_of("colour, 16 bits, one value transparent", "refused", 16, 2, _trns(1, 1, 1), pixels=None),
]
