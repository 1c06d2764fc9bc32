"""One process at a time in a folder.

In: a folder. Out: a block in which no other process holds it, or an error that names who does. The
lock is the system's: it ends with its holder. Must not import anything of certvq but errors.
"""

import datetime as dt
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from certvq._files.leftovers import LOCK
from certvq.errors import OptionError

_held: ContextVar[frozenset[str]] = ContextVar("_held", default=frozenset())


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold a folder for the time of a block; blocks on the same folder may be nested.

    Args:
        folder: made if absent, and removed again if nothing was put into it.

    Raises:
        OptionError: another process, or another thread, holds it; the text names the holder. Or it
            is a file.
        OSError: the folder cannot be made or written.

    Guarantee: none where the file system knows no locks.
    """
    name = os.path.realpath(folder)
    if name in _held.get():
        yield
        return
    if Path(name).exists() and not Path(name).is_dir():
        raise OptionError(f"{folder}: is a file; give a folder that does not exist yet")
    made = [above for above in (Path(name), *Path(name).parents) if not above.exists()]
    Path(name).mkdir(parents=True, exist_ok=True)
    handle = _acquire(folder)
    token = _held.set(_held.get() | {name})
    try:
        yield
    finally:
        _held.reset(token)
        (folder / LOCK).unlink(missing_ok=True)
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)  # also where a forked child has the handle
        os.close(handle)
        with suppress(OSError):
            for empty in made:
                empty.rmdir()


def _acquire(folder: Path) -> int:
    path = folder / LOCK
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(handle, 200).decode(errors="replace").strip() or "another process"
            os.close(handle)
            text = f"{folder}: is in use by {holder}; wait for its end, or give another folder"
            raise OptionError(text) from error
        except OSError:
            return handle  # there are no locks here
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                break
        os.close(handle)  # its last holder has removed it
    since = dt.datetime.now().astimezone().isoformat(" ", "seconds")
    os.ftruncate(handle, 0)
    os.write(handle, f"process {os.getpid()} on {socket.gethostname()} since {since}\n".encode())
    return handle
