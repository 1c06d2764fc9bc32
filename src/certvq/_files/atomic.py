"""Files and folders that are either complete or absent.

In: the final path. Out: a temporary path beside it, renamed onto the final one when the block ends
without an exception and removed otherwise. Must not import anything of certvq but `leftovers`.
"""

import ctypes
import errno
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from certvq._files.leftovers import REPLACED, is_leftover, sweep, temporary

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `final`; rename it onto `final` on success.

    Args:
        final: the file that shall exist afterwards; its folder is created. The target of a link is
            written, not the link. An older file's mode and owner are kept. A pipe or a device of
            characters gets the whole content when the block has ended.

    Raises:
        OSError: the folder cannot be created, or the file not be written; it names `final`.

    Guarantee: whatever happens in the block, `final` is the old file or the new one, whole, also
    after a loss of power: the content is on the disk before it gets its name. What an earlier
    process left half-written beside it is removed.
    """
    with naming_file(final):
        if _is_stream(final):
            with _streamed(final) as partial:
                yield partial
            return
        target = Path(os.path.realpath(final))
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target)
        with (
            temporary(target, "part", directory=False) as partial,
            naming_file(final, instead=partial),
        ):
            yield partial
            _take_over_mode(partial, target, 0o666)
            _flush(partial)
            partial.replace(target)
            _flush(target.parent)


@contextmanager
def atomic_directory(final: Path, *, replace: bool = True) -> Iterator[Path]:
    """Yield a temporary folder; put it in the place of `final` on success.

    Args:
        final: the folder that shall exist afterwards. The target of a link is written.
        replace: whether an older folder is replaced; otherwise it must still be absent or empty
            when the block ends.

    Raises:
        OSError: the folder above cannot be created or written, or `final` is not empty although it
            may not be replaced.

    Guarantee: `final` is the old folder or the new one, whole, also if the process is interrupted;
    on a file system that cannot exchange two folders in one step, a process that is killed in
    between leaves the old one aside, and the next one that writes `final` puts it back. Where
    `final` cannot be moved (a mount point, the working directory, a folder above that cannot be
    written) each file in it is whole. Files and folders in it have the permissions of newly made
    ones, whatever their writer chose; executable files stay so.
    """
    target = Path(os.path.realpath(final))
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target)
    home = target if target.is_dir() and _stays(target) else target.parent
    with (
        naming_file(final),
        temporary(target, "part", directory=True, within=home) as partial,
        naming_file(final, instead=partial),
    ):
        yield partial
        _open_up(partial)
        _take_over_mode(partial, target, 0o777)
        if home == target:
            _move_in(partial, target, replace=replace)
        elif replace and target.exists():
            _put_in_place(partial, target)
        else:
            _rename(partial, target, replace=replace)


@contextmanager
def naming_file(final: Path, *, instead: Path | None = None) -> Iterator[None]:
    """Name a file in an error of the system that names none, or a temporary one.

    Args:
        final: the file that is written in the block.
        instead: the temporary file or folder that stands for it.

    Raises:
        OSError: as in the block, with a name.
    """
    try:
        yield
    except OSError as error:
        name = final
        if error.filename is not None:
            if instead is None or not Path(os.fsdecode(error.filename)).is_relative_to(instead):
                raise
            name = final / Path(os.fsdecode(error.filename)).relative_to(instead)
        number = error.errno or _number(str(error))
        if number is not None:
            raise OSError(number, os.strerror(number), str(name)) from error
        if str(final) in str(error):
            raise
        raise OSError(f"{name}: {error}") from error


def _number(text: str) -> int | None:
    """Read the system's number of an error off its text, where a library gives no more."""
    if found := re.search(r"\(os error (\d+)\)", text):  # of Rust, as safetensors has it
        return int(found[1])
    return errno.ENOSPC if re.fullmatch(r"\d+ requested and \d+ written", text) else None  # NumPy


def _is_stream(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise OSError(errno.EINVAL, "a disk or a socket, required is a file", str(path))
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


@contextmanager
def _streamed(final: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="certvq-") as folder:
        yield Path(folder) / "content"
        with (
            (Path(folder) / "content").open("rb") as content,
            os.fdopen(os.open(final, os.O_WRONLY), "wb") as stream,
        ):
            shutil.copyfileobj(content, stream)


def _take_over_mode(partial: Path, final: Path, usual: int) -> None:
    """Give a new file or folder the mode and the owner of the one that it replaces."""
    try:
        old = final.stat()
    except FileNotFoundError:
        partial.chmod(usual & ~_umask())
        return
    with suppress(OSError):
        os.chown(partial, old.st_uid, old.st_gid)
    partial.chmod(stat.S_IMODE(old.st_mode))


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _stays(folder: Path) -> bool:
    """Say whether a folder must be filled where it is."""
    return (
        os.path.ismount(folder)
        or (Path.cwd().samefile(folder))
        or not os.access(folder.parent, os.W_OK | os.X_OK)
    )


def _rename(partial: Path, final: Path, *, replace: bool) -> None:
    try:
        partial.rename(final)  # onto nothing, or onto an empty folder
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EXDEV) or not final.is_dir():
            raise
        _move_in(partial, final, replace=replace)  # it was mounted there


def _put_in_place(partial: Path, final: Path) -> None:
    if _exchange(partial, final):
        return
    with temporary(final, "old", directory=True) as old:
        try:
            final.rename(old / REPLACED)
            _rename(partial, final, replace=True)
        except BaseException:
            if (old / REPLACED).exists() and not final.exists():
                (old / REPLACED).rename(final)
            raise


def _move_in(partial: Path, final: Path, *, replace: bool) -> None:
    """Move what is in one folder into another, which loses all else."""
    new = {path.name for path in partial.iterdir()}
    old = [path for path in final.iterdir() if not _is_no_content(path.name)]
    if old and not replace:
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(final))
    for path in old:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name not in new:
            path.unlink()
    for name in sorted(new):
        shutil.move(partial / name, final / name)


def is_empty(folder: Path) -> bool:
    """Say whether a folder holds nothing but what a killed process or a file system left there."""
    return all(_is_no_content(path.name) for path in folder.iterdir())


def _is_no_content(name: str) -> bool:
    return name == "lost+found" or is_leftover(name)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system cannot."""
    call = _renameat2()
    if call is None:
        return False
    paths = os.fsencode(one), os.fsencode(other)
    return call(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0


@cache
def _renameat2() -> Any:
    if sys.platform != "linux":
        return None
    function = getattr(ctypes.CDLL(None), "renameat2", None)
    if function is not None:
        text, number = ctypes.c_char_p, ctypes.c_int
        function.argtypes = [number, text, number, text, ctypes.c_uint]
    return function


def _open_up(folder: Path) -> None:
    """Give a folder and all in it the permissions that the umask allows."""
    mask = _umask()
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink():
            continue
        wide = path.is_dir() or path.stat().st_mode & 0o111
        path.chmod((0o777 if wide else 0o666) & ~mask)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
