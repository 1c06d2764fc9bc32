"""The files below a folder, through links, and without what certvq itself has written.

In: the path of a folder. Out: names in a fixed order, and each folder that was not entered with the
reason. Must not open the files, nor import torch.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

OUTPUT_MARK = ".certvq-output"
"""The file that says of a folder that certvq has written what is in it."""

_RUN_FILES = {
    "train.json",
    "metrics.jsonl",
}  # a run's directory has both, see certvq.train.RunFiles

_SET_FILES = {"manifest.json", "parts"}
"""A token data set has both, see `certvq.tokens.DatasetWriter`."""


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


@dataclass
class _Walk:
    """What was found so far, and what waits: links until no real folder does."""

    root: Path
    files: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)
    entered: dict[tuple[int, int], Path] = field(default_factory=dict)

    def enter(self, folder: Path) -> None:
        """List a folder, unless it has been entered by another way."""
        try:
            status = folder.stat()
            known = self.entered.setdefault((status.st_dev, status.st_ino), folder)
            if known is not folder:
                self.skipped.append(Skipped(folder, f"leads to {known}, which is read already"))
                return
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            self.skipped.append(Skipped(folder, error.strerror or "cannot be listed"))
            return
        if folder != self.root and _is_output({entry.name for entry in entries}):
            reason = "holds what certvq has written; name the folder itself to use it"
            self.skipped.append(Skipped(folder, reason))
            return
        for path in (folder / entry.name for entry in entries if not entry.name.startswith(".")):
            if not path.is_dir():
                self.files.append(path.relative_to(self.root).as_posix())
            else:
                (self.links if path.is_symlink() else self.folders).append(path)

    def waiting(self) -> Iterator[Path]:
        """Give the folders that wait, links last and in order; more may come meanwhile."""
        while self.folders or self.links:
            self.links.sort(reverse=True)
            yield (self.folders or self.links).pop()


def mark_output(folder: Path) -> None:
    """Leave a mark by which a later job knows that what is below is no source."""
    (folder / OUTPUT_MARK).write_text("certvq has written the files here.\n", encoding="utf-8")


def files_below(folder: Path) -> tuple[list[str], list[Skipped]]:
    """List the files in a folder and in all folders below it.

    Names that start with a dot are passed over. Linked folders are entered once all others have
    been; one that leads to a folder that has been entered is named instead, so that no picture
    comes twice and no circle is run through. Below the folder, what `certvq decode`,
    `certvq export`, a training run and `certvq tokenize` have written is named and not entered.

    Args:
        folder: an existing one.

    Returns:
        The paths below the folder, sorted, with `/` between their parts; and what was not entered.

    Guarantee: ends for any links.
    """
    walk = _Walk(folder)
    walk.folders.append(folder)
    for below in walk.waiting():
        walk.enter(below)
    return sorted(walk.files), walk.skipped


def _is_output(names: set[str]) -> bool:
    return OUTPUT_MARK in names or names >= _RUN_FILES or names >= _SET_FILES
