"""Photographs from a folder of image files.

In: the path of a folder. Out: photographs in a fixed order, and each file that could not be used
with the reason. Must not import torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from certvq._types import Progress, UInt8Array, no_progress
from certvq.data._image_file import FORMATS, read_image, with_channels
from certvq.data._key import require_key
from certvq.data._photograph import Photograph
from certvq.data._walk import Skipped, files_below
from certvq.errors import DataError, OptionError

_KINDS = {1: "grey", 3: "colour"}


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
    byte. Names that start with a dot are not looked at. Linked folders are entered, each folder
    once; folders below that hold what certvq has written are not. A file that cannot be read is
    left out with the reason, never half used. docs/images.md tells more.

    Args:
        path: the folder.
        channels: 1 converts everything to grey, 3 to colour; None keeps what the files hold, and
            leaves out the grey ones where more have colour, or the reverse.
        max_pixels: the pixels that a file may have, as of `read_image`.
        progress: called after each file.

    Returns:
        The photographs and what was skipped. A key is the path relative to the folder, without its
        extension; where two files would share one, both keep the extension.

    Raises:
        OptionError: `channels` is neither 1, 3 nor None.
        DataError: `path` does not exist or is no folder; no file in it can be used; or as many are
            grey as have colour and `channels` is None.
    """
    found = read_folder(path, channels=channels, max_pixels=max_pixels, progress=progress)
    return _of_one_kind(Path(path), found)


def read_folder(
    path: str | Path,
    *,
    channels: int | None = None,
    max_pixels: int | None = None,
    progress: Progress = no_progress,
) -> FolderResult:
    """Read every photograph as `load_folder` does, grey and colour together.

    Raises:
        OptionError, DataError: as `load_folder`, except for mixed kinds.
    """
    folder = Path(path)
    if channels not in (None, 1, 3):
        raise OptionError(f"channels must be 1, 3 or None, got {channels}")
    _require_folder(folder)
    files, skipped = files_below(folder)
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
        for name, key in unique_keys(list(pixels)).items()
    ]
    _require_some(folder, photographs, skipped)
    return FolderResult(photographs, skipped)


def _require_folder(folder: Path) -> None:
    if not folder.exists():
        raise DataError(f"{folder}: does not exist; check the path")
    if not folder.is_dir():
        raise DataError(f"{folder} must be a folder of images, but it is a file")


def _read(path: Path, name: str, channels: int | None, max_pixels: int | None) -> UInt8Array:
    require_key(name)
    pixels = read_image(path, max_pixels=max_pixels)
    return pixels if channels is None else with_channels(pixels, channels)


def unique_keys(names: Sequence[str]) -> dict[str, str]:
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


def _of_one_kind(folder: Path, found: FolderResult) -> FolderResult:
    """Leave out the photographs of the rarer kind, grey or colour, each by name."""
    by_kind: Mapping[int, list[Photograph]] = {1: [], 3: []}
    for photograph in found.photographs:
        by_kind[photograph.channels].append(photograph)
    rare, common = sorted(by_kind, key=lambda channels: len(by_kind[channels]))
    if len(by_kind[rare]) == len(by_kind[common]):
        grey, colour = ((some[0].path or folder).relative_to(folder) for some in by_kind.values())
        raise DataError(
            f"{folder} mixes grey and colour: {grey} is grey, {colour} has colour, "
            f"{len(by_kind[rare])} of each; load it with channels=3 (--channels 3 on the command "
            "line) or channels=1 to convert all"
        )
    reason = (
        f"is {_KINDS[rare]}, most are {_KINDS[common]}; load all with channels={common} "
        f"(--channels {common} on the command line) to convert it"
    )
    left_out = [Skipped(one.path or folder / one.key, reason) for one in by_kind[rare]]
    skipped = sorted([*found.skipped, *left_out], key=lambda entry: entry.path.as_posix())
    return FolderResult(by_kind[common], skipped)
