"""Pictures and sounds to files.

In: pixels or samples. Out: a PNG or WAV file, or the reason why its name cannot be had. Must not
know what they are for.
"""

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from certvq._types import UInt8Array

_NAMES = {
    errno.ENAMETOOLONG: "its name is too long for a file here",
    errno.EEXIST: "a folder above it has the name of another file",
    errno.ENOTDIR: "a folder above it has the name of another file",
    errno.EISDIR: "a folder has its name",
    errno.EILSEQ: "its name has characters that a file cannot have here",
}
"""Errors of the system that are about one name; all others would befall the next file too."""


def write_picture(path: Path, pixels: UInt8Array) -> str | None:
    """Write uint8 (H, W, 1 or 3) as a PNG file; return why its name cannot be had, if it cannot.

    Raises:
        OSError: the folder cannot be written.
    """
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    return _named(path, lambda: image.save(path, format="PNG"))


def write_sound(path: Path, samples: np.ndarray, *, rate: int) -> str | None:
    """Write floats (C, T) as a WAV file of 32-bit floats; otherwise as `write_picture`."""
    import soundfile

    def write() -> None:
        with path.open("wb") as file:  # soundfile's own errors of a name are no OSError
            soundfile.write(file, samples.T, rate, format="WAV", subtype="FLOAT")

    return _named(path, write)


def _named(path: Path, write: Callable[[], object]) -> str | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write()
    except OSError as error:
        if error.errno not in _NAMES:
            raise
        return _NAMES[error.errno]
    return None
