"""Whether a path may become the output of a job, tried before the work begins.

In: a path, and the inputs of the job. Out: nothing, or an error that names the way out. Must not
import torch, nor leave anything behind.
"""

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from certvq._files.atomic import is_empty
from certvq._files.leftovers import sweep
from certvq.errors import OptionError


def claim_file(out: Path, *, inputs: Sequence[Path] = (), magic: bytes = b"") -> None:
    """Require a path that a file may be written to: absent, a file that is replaced, or a pipe.

    Args:
        out: where the file shall be.
        inputs: files that must not be lost, and folders of such.
        magic: how a file begins that an earlier run may have left in such a folder.

    Raises:
        OptionError: it is a folder, a disk or a socket, or one of the inputs, by whatever name.
        OSError: a file cannot be written there.

    Example:
        >>> claim_file(Path("."))
        Traceback (most recent call last):
        certvq.errors.OptionError: .: is a folder; name a file
    """
    if out.is_dir():
        raise OptionError(f"{out}: is a folder; name a file")
    if out.is_block_device() or out.is_socket():
        raise OptionError(f"{out}: is a disk or a socket; name a file")
    _require_no_input(out, inputs, magic)
    if out.is_fifo() or out.is_char_device():
        return
    sweep(Path(os.path.realpath(out)))
    try_writing(Path(os.path.realpath(out)), out)


def claim_folder(out: Path) -> None:
    """Require a path that may become a folder: absent, an empty folder, or a link to such a path.

    Raises:
        OptionError: it is a file, or holds something.
        OSError: a folder cannot be made there.
    """
    sweep(Path(os.path.realpath(out)))
    if out.exists() and not (out.is_dir() and is_empty(out)):
        raise OptionError(f"{out}: must be a folder that does not exist yet or is empty")
    try_writing(Path(os.path.realpath(out)) / "file", out)


def try_writing(path: Path, out: Path) -> None:
    """Make and remove a file in the folder of a path, or in the first one above that is there.

    Args:
        path: of a file, links followed.
        out: what to call it in an error.

    Raises:
        OSError: that is not possible.
    """
    try:
        with suppress(FileNotFoundError):
            path.lstat()  # a name may be too long
        folder = next(folder for folder in path.parents if os.path.lexists(folder))
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, f"cannot be written ({error.strerror})", str(out)) from error


def _require_no_input(out: Path, inputs: Sequence[Path], magic: bytes) -> None:
    try:
        target = Path(os.path.realpath(out)).stat()  # also where a folder before `..` is absent
    except OSError:
        return
    for given in inputs:
        for path in _files(given):
            with suppress(OSError):
                if os.path.samestat(path.stat(), target) and not (
                    given.is_dir() and magic and _begins(path, magic)
                ):
                    text = f"{out}: is an input ({path}), which would be lost; name another file"
                    raise OptionError(text)


def _files(given: Path) -> Iterator[Path]:
    """List a file, or all files below a folder, linked ones included."""
    if not given.is_dir():
        yield given
        return
    seen: set[tuple[int, int]] = set()
    for top, folders, names in os.walk(given, followlinks=True):
        here = Path(top).stat()
        if (here.st_dev, here.st_ino) in seen:
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        yield from (Path(top) / name for name in names)


def _begins(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic
