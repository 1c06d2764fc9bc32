"""Pictures of a run as data URIs.

In: paths of pictures, codes, radii. Out: `Picture`s that need no file and no host, and what colours
the originals have. Must not look for files.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from certvq._types import Float64Array, Int64Array, UInt8Array
from certvq.errors import FileFormatError
from certvq.report._colours import radius_colours
from certvq.runs._read import Photo
from certvq.runs._read_file import read_picture

_WIDEST = 640
_QUALITY = 90


@dataclass(frozen=True)
class Picture:
    """An image for the page: pixels wide and high as shown, and whether pixels stay squares."""

    uri: str
    width: int
    height: int
    pixelated: bool


def photograph(path: Path, size: tuple[int, int]) -> Picture:
    """Read a photograph and scale it to at most 640 pixels in width.

    Args:
        path: a PNG of the run.
        size: the (height, width) that the summary gives it.

    Raises:
        FileFormatError: the file is corrupt or of another size.
    """
    image = _open(path, size)
    if image.width > _WIDEST:
        height = max(1, round(image.height * _WIDEST / image.width))
        image = image.resize((_WIDEST, height), Image.Resampling.LANCZOS)
    # lossless where that is small anyway: pictures of a few thousand pixels are looked at closely
    lossless = image.width * image.height <= 128 * 128
    return _picture(image, "WEBP", pixelated=False, quality=_QUALITY, lossless=lossless)


def token_map(codes: Int64Array, colours: UInt8Array) -> Picture:
    """Draw one pixel for each token, in the colour of its code.

    Args:
        codes: (rows, columns), each in `range(len(colours))`.
        colours: (codebook_size, 3).
    """
    return _picture(Image.fromarray(colours[codes]), "PNG", pixelated=True)


def stability_map(radius: Float64Array, top: float) -> Picture:
    """Draw one pixel for each token, coloured by its radius on a scale from 0 to `top`.

    Args:
        radius: (rows, columns), at least 0.
        top: above 0.
    """
    return _picture(Image.fromarray(radius_colours(radius, top)), "PNG", pixelated=True)


def code_tints(photos: Sequence[Photo], codebook_size: int) -> Float64Array:
    """Sum over the tokens of each code how light, red and yellow the original is there.

    Returns:
        (codebook_size, 3): mean of the channels, red minus green, and yellow minus blue, each less
        its mean over the photograph; zero where no photograph has its original.

    Raises:
        FileFormatError: an original is corrupt or of another size.
    """
    sums = np.zeros((codebook_size, 3))
    for photo in photos:
        if photo.original is None:
            continue
        image = _open(photo.original, (photo.figures.height, photo.figures.width))
        rows, columns = photo.codes.shape
        cells = image.convert("RGB").resize((columns, rows), Image.Resampling.BOX)
        red, green, blue = np.moveaxis(np.asarray(cells, dtype=np.float64), 2, 0)
        tints = ((red + green + blue) / 3, red - green, (red + green) / 2 - blue)
        for column, tint in enumerate(tints):
            weights = (tint - tint.mean()).ravel()
            sums[:, column] += np.bincount(photo.codes.ravel(), weights, codebook_size)
    return sums


def _open(path: Path, size: tuple[int, int]) -> Image.Image:
    pixels = read_picture(path, max_pixels=size[0] * size[1])
    if pixels.shape[:2] != size:
        raise FileFormatError(
            f"{path}: required {size[0]} x {size[1]} pixels (height x width) as summary.json "
            f"says, got {pixels.shape[0]} x {pixels.shape[1]}; encode again"
        )
    return Image.fromarray(pixels.squeeze(axis=2) if pixels.shape[2] == 1 else pixels)


def _picture(image: Image.Image, kind: str, *, pixelated: bool, **options: float) -> Picture:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    text = base64.b64encode(stream.getvalue()).decode("ascii")
    uri = f"data:image/{kind.lower()};base64,{text}"
    return Picture(uri, image.width, image.height, pixelated)
