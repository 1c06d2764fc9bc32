"""How many pixels an image file may unpack to.

In: the length of a file, and what the caller or the environment allows. Out: a number of pixels.
Must not open files, nor import torch.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from certvq.errors import OptionError

MAX_PIXELS = 1 << 27
"""No image may have more unless the caller says so: 134 million pixels."""

SMALL_PIXELS = 1 << 24
"""Every file may have as many, however short it is: 17 million pixels."""

PIXELS_PER_BYTE = 16
"""Above `SMALL_PIXELS`, each byte of a file stands for so many pixels at most. Photographs of that
size need more than a bit per pixel; a file that needs less is made to fill memory."""

VARIABLE = "CERTVQ_MAX_PIXELS"
"""The environment variable that replaces the three limits above by one number."""


def pixel_limit(file_bytes: int, max_pixels: int | None = None) -> int:
    """Tell how many pixels an image file may have.

    Args:
        file_bytes: the length of the file.
        max_pixels: what the caller allows, at least 1; None for `CERTVQ_MAX_PIXELS`, or else for
            16 pixels per byte, but never less than 2^24 nor more than 2^27.

    Returns:
        The limit.

    Raises:
        OptionError: `max_pixels` or the variable is no whole number of at least 1.

    Example:
        >>> pixel_limit(1_000_000), pixel_limit(4_000_000), pixel_limit(10, 5)
        (16777216, 64000000, 5)
    """
    name, asked = "max_pixels", str(max_pixels)
    if max_pixels is None:
        name, asked = VARIABLE, os.environ.get(VARIABLE, "")
        if not asked:
            return min(MAX_PIXELS, max(SMALL_PIXELS, PIXELS_PER_BYTE * file_bytes))
    if not (asked.isdecimal() and asked.isascii() and int(asked) > 0):
        raise OptionError(f"{name} must be a whole number of at least 1, got {asked[:40]!r}")
    return int(asked)


@contextmanager
def pillow_allows(pixels: int) -> Iterator[None]:
    """Let Pillow open images of as many pixels; its own limit, if lower, is raised meanwhile."""
    before = Image.MAX_IMAGE_PIXELS
    if before is None or pixels <= 2 * before:  # Pillow refuses what is twice its limit
        yield
        return
    Image.MAX_IMAGE_PIXELS = pixels
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
