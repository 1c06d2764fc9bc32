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
from certvq.data._folder import read_folder
from certvq.data._image_file import read_image, with_channels
from certvq.data._photograph import below_crop, misfit, together
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
    data: Path | None,
    *,
    seed: int,
    channels: int | None = None,
    stride: int = 1,
    crop: int = 1,
    progress: Progress = no_progress,
) -> Source:
    """Load the photographs of a training run and split them by photograph.

    What does not fit is left out by name, as long as it is the smaller part.

    Args:
        data: a folder of images, of which a fifth, at least one, is held out; None for the
            photographs that come with scikit-image and scikit-learn, of which the same ones are
            held out always.
        seed: decides which photographs of a folder are held out.
        channels: 1 converts everything to grey, 3 to colour; None converts nothing and leaves out
            the rarer kind.
        stride: photographs of a folder with a smaller side are left out.
        crop: those to learn from with a smaller side are left out.
        progress: called after each file of a folder.

    Returns:
        The split.

    Raises:
        DataError: the folder is missing, holds less than two usable images or as many grey as
            coloured ones, or more photographs would be left out than kept; all are named.
        OptionError: `channels` is neither 1, 3 nor None.
    """
    _require_channels(channels)
    if data is None:
        bundled = [_converted(photograph, channels) for photograph in bundled_photographs()]
        return Source(split_by_photograph(bundled, heldout=BUNDLED_HELDOUT, seed=seed), [])
    found = load_folder(data, channels=channels, progress=progress)
    photographs, small = _fitting(found.photographs, stride=stride)
    _require_most(data, photographs, small)
    count = len(photographs)
    if count < 2:
        reasons = f" ({together([str(entry) for entry in small])})" if small else ""
        text = (
            f"{data} holds {count} usable image{reasons}, and at least 2 are needed: one to learn "
            f"from and one held out; put more images into it"
        )
        raise DataError(text)
    split = split_by_photograph(photographs, heldout=max(1, count // _HELDOUT_SHARE), seed=seed)
    reasons = {one.key: below_crop(one, crop) for one in split.train}
    uncut = [_skip(one, reasons[one.key] or "") for one in split.train if reasons[one.key]]
    train = [one for one in split.train if not reasons[one.key]]
    _require_most(data, train, uncut)
    return Source(replace(split, train=train), [*found.skipped, *small, *uncut])


def load_images(
    paths: Sequence[Path],
    *,
    channels: int | None = None,
    stride: int = 1,
    takes: int | None = None,
    progress: Progress = no_progress,
) -> FolderResult:
    """Load images from files and folders.

    Args:
        paths: files, each of which must be a usable image, and folders, of which what is not is
            skipped. The key of a file is its name without extension, that of an image in a folder
            its path below the folder.
        channels: 1 converts everything to grey, 3 to colour; None converts nothing.
        stride: images with a smaller side are not usable.
        takes: the channels that are usable; None for any.
        progress: called after each file of a folder.

    Returns:
        The photographs in the order given, and what was skipped.

    Raises:
        DataError: a file is no usable image, a folder holds none, or a path does not exist; all are
            named.
        OptionError: `channels` is neither 1, 3 nor None.
    """
    _require_channels(channels)
    photographs: list[Photograph] = []
    skipped: list[Skipped] = []
    problems: list[str] = []
    for path in paths:
        try:
            found = _load(path, channels, stride=stride, takes=takes, progress=progress)
        except DataError as error:
            problems.append(str(error))
            continue
        photographs += found.photographs
        skipped += found.skipped
    if problems:
        raise DataError(together(problems))
    return FolderResult(photographs, skipped)


def _load(
    path: Path, channels: int | None, *, stride: int, takes: int | None, progress: Progress
) -> FolderResult:
    """Load one file, which must be usable, or one folder, of which something must be."""
    if path.exists() and not path.is_dir():
        found = FolderResult([_converted(_read_file(path), channels)], [])
    else:
        found = read_folder(path, channels=channels, progress=progress)
    fitting, others = _fitting(found.photographs, stride=stride, takes=takes)
    if not fitting:
        raise DataError(together([str(entry) for entry in others]))
    return FolderResult(fitting, [*found.skipped, *others])


def _fitting(
    photographs: Sequence[Photograph], *, stride: int, takes: int | None = None
) -> tuple[list[Photograph], list[Skipped]]:
    reasons = [misfit(one, stride=stride, channels=takes) for one in photographs]
    pairs = list(zip(photographs, reasons, strict=True))
    return [one for one, no in pairs if not no], [_skip(one, no) for one, no in pairs if no]


def _skip(photograph: Photograph, reason: str) -> Skipped:
    return Skipped(photograph.path or Path(photograph.key), reason)


def _require_most(data: Path, kept: Sequence[Photograph], left_out: Sequence[Skipped]) -> None:
    if len(left_out) > len(kept):
        text = f"{data}: {len(left_out)} photographs would be left out and {len(kept)} kept: "
        raise DataError(text + together([str(entry) for entry in left_out]))


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
