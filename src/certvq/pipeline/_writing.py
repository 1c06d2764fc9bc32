"""Pictures and arrays to files, each complete or absent.

In: pixels or arrays. Out: a PNG or an `.npz` file. Must not know what they are for.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from certvq._atomic import atomic_path
from certvq._types import UInt8Array


def write_picture(path: Path, pixels: UInt8Array) -> None:
    """Write a picture as a PNG file, from which its pixels come back exactly.

    Args:
        path: the file; its folder is created.
        pixels: uint8 (H, W, 1 or 3).

    Raises:
        OSError: it cannot be written.
    """
    grey = pixels.shape[2] == 1
    with atomic_path(path) as partial:
        Image.fromarray(pixels[:, :, 0] if grey else pixels).save(partial, format="PNG")


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by key as an `.npz` file that `numpy.load` reads.

    Args:
        path: the file.
        arrays: of numbers; the keys may be any text, unlike those of `numpy.savez`, which cannot
            hold "file".

    Raises:
        OSError: it cannot be written.
    """
    with (
        atomic_path(path) as partial,
        zipfile.ZipFile(partial, "w", compression=zipfile.ZIP_DEFLATED) as archive,
    ):
        for key, array in arrays.items():
            with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
