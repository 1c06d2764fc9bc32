"""The lines that Pillow and its libtiff write to standard error of their own accord.

In: nothing. Out: silence; what matters is raised. Must not import torch, nor anything of certvq.
"""

import ctypes
import logging
from contextlib import suppress
from functools import cache
from pathlib import Path


@cache
def quieten_pillow() -> None:
    """Keep Pillow, and libtiff where it has loaded it, from writing of damaged files.

    Handlers of the caller still get what Pillow logs. Of libtiff, on systems other than Linux,
    nothing changes.
    """
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with suppress(OSError):
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
        loaded = {line.split(maxsplit=5)[-1] for line in lines if "libtiff" in line}
        for library in map(ctypes.CDLL, sorted(loaded)):
            for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
                handler = getattr(library, name, None)
                if handler is not None:
                    handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
                    handler(None)
