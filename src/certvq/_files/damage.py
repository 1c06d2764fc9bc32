"""Damaged archives and tables, named in one line whatever their readers raise.

In: a block that reads a file. Out: what it gives, or one error with the file's name. Must not
import anything of certvq but errors.
"""

import errno
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from certvq.errors import CertVQError, FileFormatError

DAMAGE: Final = (
    # RuntimeError: an encrypted archive, or a way of compression that is not known
    *(OSError, ValueError, TypeError, LookupError, EOFError, RuntimeError),
    *(struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError),
)
"""What the readers of NumPy, pyarrow, zipfile and tarfile let through on damaged files."""

_LONGEST = 200  # characters of a reason: zipfile quotes the file


@contextmanager
def naming_damage(
    path: Path,
    what: str = "is damaged",
    *,
    advice: str = "copy it again",
    kind: type[CertVQError] = FileFormatError,
) -> Iterator[None]:
    """Turn what a reader raises in a block into an error that names the file.

    Args:
        path: the file.
        what: said of it, before the reason.
        advice: said after it.
        kind: of the error.

    Raises:
        CertVQError: of that kind, or as it was raised in the block.
        OSError: the system could not read the file.

    Example:
        >>> with naming_damage(Path("a.npz")):
        ...     zlib.decompress(b"no")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        certvq.errors.FileFormatError: a.npz: is damaged (Error -3 while decompressing data: ...
    """
    try:
        yield
    except CertVQError:
        raise
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
        raise kind(f"{path}: {what} ({reason}); {advice}") from error
