"""Single files of a run directory, each read with its name in every complaint.

In: a path. Out: plain Python objects and NumPy arrays. Must not know what the page looks like.
"""

import zipfile
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from certvq._files.damage import naming_damage
from certvq._files.json import loads
from certvq._files.limits import require_room
from certvq._files.npy import MAGIC, read_npz_member
from certvq._types import UInt8Array
from certvq.data import read_image
from certvq.errors import DataError, FileFormatError

_CODEBOOK = "quantizer.codebook"


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        FileFormatError: the file is not UTF-8, not JSON, or no object.
        OSError: the file cannot be opened.
    """
    try:
        value = loads(path.read_bytes())
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are both ValueErrors
        raise FileFormatError(f"{path}: no JSON ({error}); write the run again") from error
    if not isinstance(value, dict):
        raise FileFormatError(
            f"{path}: required one JSON object, got {type(value).__name__}; write the run again"
        )
    return value


def read_json_lines(path: Path) -> tuple[tuple[dict[str, Any], ...], bool]:
    """Read a file of one JSON object a line, whose last line may be unfinished.

    Returns:
        The objects, and whether an unfinished last line (without its newline) was left out.

    Raises:
        FileFormatError: a finished line is no JSON object; the text has its number.
        OSError: the file cannot be opened.
    """
    *lines, tail = path.read_bytes().split(b"\n")
    records = [_json_line(path, number, line) for number, line in enumerate(lines, start=1)]
    return tuple(records), bool(tail.strip())


def _json_line(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        value = loads(line)
    except ValueError as error:
        raise FileFormatError(
            f"{path}: line {number} is no JSON ({error}); remove the line or train again"
        ) from error
    if not isinstance(value, dict):
        raise FileFormatError(
            f"{path}: line {number} must be a JSON object, got {type(value).__name__}; "
            "remove the line or train again"
        )
    return value


def read_picture(path: Path, *, max_pixels: int | None = None) -> UInt8Array:
    """Read a picture as uint8 of shape (height, width, channels), 1 or 3 channels.

    Args:
        path: a picture that certvq has written.
        max_pixels: the pixels that it may have, as of `certvq.data.read_image`.

    Raises:
        FileFormatError: the file is no picture, is truncated, or has more pixels.
        OSError: the file cannot be opened.
    """
    path.stat()  # a missing file is an OSError here, as everywhere in this module
    try:
        return read_image(path, max_pixels=max_pixels)
    except DataError as error:
        raise FileFormatError(f"{path}: corrupt picture ({error}); encode again") from error


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read every array of an `.npz` file; nothing is unpickled.

    Raises:
        FileFormatError: the file is no `.npz`, is truncated, or holds Python objects.
        OSError: the file cannot be opened.
    """
    with path.open("rb") as stream:
        if stream.read(len(MAGIC)) == MAGIC:
            raise FileFormatError(f"{path}: one array, no .npz archive; encode again")
        with (
            naming_damage(path, "corrupt .npz", advice="encode again"),
            zipfile.ZipFile(stream) as archive,
        ):
            members = archive.infolist()
            require_room(path, sum(m.file_size for m in members), path.stat().st_size)
            return {
                member.filename.removesuffix(".npy"): read_npz_member(archive, member)
                for member in members
            }


def read_codebook(path: Path) -> torch.Tensor:
    """Read the codebook, (codebook_size, dim), out of a model's weights.

    Raises:
        FileFormatError: the file is no safetensors file, or holds no codebook of rank 2 and of
            finite numbers.
        OSError: the file cannot be opened.
    """
    path.stat()  # a missing file is an OSError here, as everywhere in this module
    try:
        with safe_open(path, framework="pt") as weights:
            names = list(weights.keys())
            codebook = weights.get_tensor(_CODEBOOK) if _CODEBOOK in names else None
    except SafetensorError as error:
        raise FileFormatError(f"{path}: corrupt model ({error}); train again") from error
    if codebook is None or codebook.ndim != 2:
        found = "no such tensor" if codebook is None else f"shape {tuple(codebook.shape)}"
        raise FileFormatError(
            f"{path}: required a tensor {_CODEBOOK!r} of shape (codebook_size, dim), got {found}; "
            "was the model saved with save_pretrained?"
        )
    if not codebook.isfinite().all():
        raise FileFormatError(f"{path}: the codebook holds NaN or infinity; train again")
    return codebook
