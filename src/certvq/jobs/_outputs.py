"""Pictures and arrays to files.

In: pixels or arrays. Out: a PNG or an `.npz` file. Must not know what they are for.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certvq._files.atomic import atomic_path
from certvq._types import UInt8Array
from certvq.tokenize._output import write_picture


def write_pictures(folder: Path, pictures: Mapping[str, UInt8Array]) -> dict[str, str]:
    """Write pictures as PNG files, from which their pixels come back exactly.

    Args:
        folder: which is put in its place once all is written.
        pictures: uint8 (H, W, 1 or 3) by name, such as `cats/tom.png`.

    Returns:
        The names that the file system does not take, too long or beside a folder of that name, each
        with the reason.

    Raises:
        OSError: the folder cannot be written.
    """
    reasons = {name: write_picture(folder / name, pixels) for name, pixels in pictures.items()}
    return {name: reason for name, reason in reasons.items() if reason}


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
