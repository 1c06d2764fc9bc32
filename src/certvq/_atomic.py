"""Files that are either complete or absent.

In: the final path. Out: a temporary path beside it, renamed onto the final one when the block ends
without an exception and removed otherwise. Must not import anything of certvq.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `final`; rename it onto `final` on success.

    Args:
        final: the file that shall exist afterwards; its folder is created.

    Raises:
        OSError: the folder cannot be created or written.

    Guarantee: whatever happens in the block, `final` is the old file or the new one, whole.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{final.name}.", suffix=".part", dir=final.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o666 & ~_umask())
        partial.replace(final)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_directory(final: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `final`; put it in the place of `final` on success.

    Args:
        final: the folder that shall exist afterwards; an older one of that name is replaced.

    Raises:
        OSError: the folder above cannot be created or written.

    Guarantee: `final` never holds a mixture of old and new files. Files and folders in it have the
    permissions of newly made ones, whatever their writer chose; executable files stay so.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".part", dir=final.parent))
    try:
        yield partial
        _open_up(partial)
        if final.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".old", dir=final.parent))
            final.replace(old / "replaced")
            partial.replace(final)
            shutil.rmtree(old)
        else:
            partial.replace(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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
