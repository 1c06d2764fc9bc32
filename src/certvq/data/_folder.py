"""Photographs from a folder of image files.

In: the path of a folder. Out: photographs in a fixed order, and each file that could not be used
with the reason. Must not import torch.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from certvq._types import Progress, UInt8Array, no_progress
from certvq.data._image_file import FORMATS, read_image, with_channels
from certvq.data._key import require_key
from certvq.data._photograph import Photograph
from certvq.errors import DataError, OptionError


@dataclass(frozen=True)
class Skipped:
    """A file or folder that was left out.

    Args:
        path: where it lies.
        reason: why it was left out, in a few words.
    """

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class FolderResult:
    """What `load_folder` found.

    Args:
        photographs: in the order of their relative paths.
        skipped: what could not be used, in the same order.
    """

    photographs: list[Photograph]
    skipped: list[Skipped]


def load_folder(
    path: str | Path,
    *,
    channels: int | None = None,
    max_pixels: int | None = None,
    progress: Progress = no_progress,
) -> FolderResult:
    """Read every photograph in a folder and in the folders below it.

    Formats are PNG, JPEG, WebP, TIFF and BMP, told by the content of a file. The orientation noted
    by a camera is applied; transparent parts show white behind them; 16-bit samples keep their high
    byte. Names that start with a dot are not looked at, linked folders are not entered. A file that
    cannot be read is left out with the reason, never half used.

    Args:
        path: the folder.
        channels: 1 converts everything to grey, 3 to colour; None keeps what the files hold and
            requires that they agree.
        max_pixels: the pixels that a file may have, as of `read_image`.
        progress: called after each file.

    Returns:
        The photographs and what was skipped. A key is the path relative to the folder, without its
        extension; where two files would share one, both keep the extension.

    Raises:
        OptionError: `channels` is neither 1, 3 nor None.
        DataError: `path` does not exist or is no folder; no file in it can be used; or grey and
            colour are mixed and `channels` is None. The first of each kind is named.
    """
    folder = Path(path)
    if channels not in (None, 1, 3):
        raise OptionError(f"channels must be 1, 3 or None, got {channels}")
    _require_folder(folder)
    files, skipped = _files(folder)
    pixels: dict[str, UInt8Array] = {}
    for done, name in enumerate(files, start=1):
        try:
            pixels[name] = _read(folder / name, name, channels, max_pixels)
        except DataError as error:
            skipped.append(Skipped(folder / name, str(error)))
        progress("reading images", done, len(files))
    skipped.sort(key=lambda entry: entry.path.as_posix())
    photographs = [
        Photograph(key, pixels[name], path=folder / name)
        for name, key in _keys(list(pixels)).items()
    ]
    _require_some(folder, photographs, skipped)
    _require_one_kind(folder, pixels)
    return FolderResult(photographs, skipped)


def _require_folder(folder: Path) -> None:
    if not folder.exists():
        raise DataError(f"{folder}: does not exist; check the path")
    if not folder.is_dir():
        raise DataError(f"{folder} must be a folder of images, but it is a file")


def _files(folder: Path) -> tuple[list[str], list[Skipped]]:
    skipped: list[Skipped] = []

    def skip_folder(error: OSError) -> None:
        skipped.append(Skipped(Path(error.filename), error.strerror or "cannot be listed"))

    found: list[str] = []
    for top, below, names in os.walk(folder, onerror=skip_folder):
        below[:] = [name for name in below if not name.startswith(".")]
        relative = Path(top).relative_to(folder)
        found += [(relative / name).as_posix() for name in names if not name.startswith(".")]
    return sorted(found), skipped


def _read(path: Path, name: str, channels: int | None, max_pixels: int | None) -> UInt8Array:
    require_key(name)
    pixels = read_image(path, max_pixels=max_pixels)
    return pixels if channels is None else with_channels(pixels, channels)


def _keys(names: Sequence[str]) -> dict[str, str]:
    """Name each file by its path without extension, or by the whole path where that is taken."""
    keys = {name: Path(name).with_suffix("").as_posix() for name in names}
    while True:
        owners: dict[str, list[str]] = {}
        for name, key in keys.items():
            owners.setdefault(key, []).append(name)
        shared = [name for group in owners.values() if len(group) > 1 for name in group]
        if not shared:
            return keys
        # "a.png" and "a.jpg" become whole paths; "a.png.png", whose short key is now taken, next.
        keys.update({name: name for name in shared})


def _require_some(
    folder: Path, photographs: Sequence[Photograph], skipped: Sequence[Skipped]
) -> None:
    if photographs:
        return
    if not skipped:
        raise DataError(f"{folder} holds no file; put {', '.join(FORMATS)} images into it")
    shown = "; ".join(str(entry) for entry in skipped[:3])
    more = f"; and {len(skipped) - 3} more" if len(skipped) > 3 else ""
    raise DataError(
        f"{folder} holds no usable image, {len(skipped)} skipped: {shown}{more}; "
        f"put {', '.join(FORMATS)} images into it"
    )


def _require_one_kind(folder: Path, pixels: dict[str, UInt8Array]) -> None:
    first: dict[int, str] = {}
    for name, array in pixels.items():
        first.setdefault(array.shape[2], name)
    if len(first) > 1:
        raise DataError(
            f"{folder} mixes grey and colour: {first[1]} is grey, {first[3]} has colour; "
            "load it with channels=3 (--channels 3 on the command line) or channels=1 to convert "
            "all"
        )
