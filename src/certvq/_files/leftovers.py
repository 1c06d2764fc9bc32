"""Temporary files and folders beside the final ones: whose they are, and what a later run removes.

In: the final path. Out: a temporary one that its owner holds locked, and none of those whose owner
has died. Must not import anything of certvq.
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal

REPLACED: Final = "replaced"
"""What a folder that is being replaced is called within its `.old` folder."""

LOCK: Final = ".certvq.lock"
"""The file in a folder that a process holds locked while it writes there."""

_LONGEST = 200  # bytes of a name that are kept: a file name may have 255


@contextmanager
def temporary(
    final: Path, kind: Literal["part", "old"], *, directory: bool, within: Path | None = None
) -> Iterator[Path]:
    """Make a temporary file or folder beside `final`, and remove what is left of it.

    Args:
        final: what it shall become, or was; names the temporary one.
        kind: the suffix.
        directory: whether to make a folder.
        within: the folder to make it in, that of `final` by default.

    Raises:
        OSError: it cannot be made.

    Guarantee: `sweep` leaves it alone as long as this process lives (where the file system knows
    locks; elsewhere it always does).
    """
    path, handle = _locked(within or final.parent, _prefix(final.name), f".{kind}", directory)
    try:
        yield path
    finally:
        _remove(path)
        os.close(handle)


def sweep(final: Path) -> None:
    """Remove the temporary files of `final` whose owners have died.

    A folder that was moved aside to be replaced, by a process that died before the new one came, is
    put back. What cannot be listed, locked or removed is left.
    """
    if any(part.endswith(".part") for part in final.parts):
        return  # within a temporary folder nobody else writes
    name = re.compile(re.escape(_prefix(final.name)) + r"[a-z0-9_]{8}\.(part|old)")
    for folder in (final.parent, final):
        found: list[Path] = []
        with suppress(OSError):
            found = [path for path in folder.iterdir() if name.fullmatch(path.name)]
        for path in found:
            with suppress(OSError):
                _sweep_one(path, final)


def is_leftover(name: str) -> bool:
    """Say whether a file name is one that `temporary` gives, or that of a lock."""
    return name == LOCK or re.fullmatch(r"\..*\.[a-z0-9_]{8}\.(part|old)", name) is not None


def _locked(folder: Path, prefix: str, suffix: str, directory: bool) -> tuple[Path, int]:  # noqa: FBT001
    while True:
        if directory:
            path = Path(tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=folder))
        else:
            made, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=folder)
            os.close(made)
            path = Path(name)
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue  # swept away before it was locked
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not path.exists():
                os.close(handle)
                continue
        return path, handle


def _sweep_one(path: Path, final: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if (path / REPLACED).is_dir() and not final.exists():
            (path / REPLACED).replace(final)
        _remove(path)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _prefix(name: str) -> str:
    return f".{name.encode(errors='surrogateescape')[:_LONGEST].decode(errors='ignore')}."
