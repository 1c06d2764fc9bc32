"""Where the photographs of a job come from.

In: paths, or nothing. Out: photographs and what was skipped, or a split of them. Must not import
torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from certvq._types import Progress, no_progress
from certvq.data import (
    BUNDLED_HELDOUT,
    FolderResult,
    Photograph,
    Skipped,
    Split,
    bundled_photographs,
    load_folder,
    split_by_photograph,
)
from certvq.data._image_file import read_image, with_channels
from certvq.errors import DataError, OptionError

_HELDOUT_SHARE = 5


@dataclass(frozen=True)
class Source:
    """Photographs by use, and the files that could not be used.

    Attributes:
        split: photographs to learn from and photographs held out.
        skipped: files left out, with the reasons.
    """

    split: Split
    skipped: list[Skipped]


def load_split(
    data: Path | None, *, seed: int, channels: int | None = None, progress: Progress = no_progress
) -> Source:
    """Load the photographs of a training run and split them by photograph.

    Args:
        data: a folder of images, of which a fifth, at least one, is held out; None for the
            photographs that come with scikit-image and scikit-learn, of which the same ones are
            held out always.
        seed: decides which photographs of a folder are held out.
        channels: 1 converts everything to grey, 3 to colour; None converts nothing.
        progress: called after each file of a folder.

    Returns:
        The split.

    Raises:
        DataError: the folder is missing, holds less than two usable images, or mixes grey and
            colour while `channels` is None.
        OptionError: `channels` is neither 1, 3 nor None.
    """
    _require_channels(channels)
    if data is None:
        bundled = [_converted(photograph, channels) for photograph in bundled_photographs()]
        return Source(split_by_photograph(bundled, heldout=BUNDLED_HELDOUT, seed=seed), [])
    found = load_folder(data, channels=channels, progress=progress)
    count = len(found.photographs)
    if count < 2:
        text = (
            f"{data} holds {count} usable image, and at least 2 are needed: one to learn from and "
            f"one held out; put more images into it"
        )
        raise DataError(text)
    heldout = max(1, count // _HELDOUT_SHARE)
    return Source(split_by_photograph(found.photographs, heldout=heldout, seed=seed), found.skipped)


def load_images(
    paths: Sequence[Path], *, channels: int | None = None, progress: Progress = no_progress
) -> FolderResult:
    """Load images from files and folders.

    Args:
        paths: files, each of which must be an image, and folders, of which what is no image is
            skipped. The key of a file is its name without extension, that of an image in a folder
            its path below the folder.
        channels: 1 converts everything to grey, 3 to colour; None converts nothing.
        progress: called after each file of a folder.

    Returns:
        The photographs in the order given, and what was skipped.

    Raises:
        DataError: a file is no readable image, a folder holds none or mixes grey and colour, or a
            path does not exist.
        OptionError: `channels` is neither 1, 3 nor None.
    """
    _require_channels(channels)
    photographs: list[Photograph] = []
    skipped: list[Skipped] = []
    for path in paths:
        if path.is_file():
            photographs.append(_converted(_read_file(path), channels))
        else:
            found = load_folder(path, channels=channels, progress=progress)
            photographs += found.photographs
            skipped += found.skipped
    return FolderResult(photographs, skipped)


def _require_channels(channels: int | None) -> None:
    if channels not in (None, 1, 3):
        raise OptionError(f"channels must be 1 or 3, got {channels}")


def _read_file(path: Path) -> Photograph:
    try:
        return Photograph(path.stem, read_image(path), path=path)
    except DataError as error:
        raise DataError(f"{path}: {error}; leave it out, or give a readable image") from error


def _converted(photograph: Photograph, channels: int | None) -> Photograph:
    if channels is None:
        return photograph
    return replace(photograph, pixels=with_channels(photograph.pixels, channels))
