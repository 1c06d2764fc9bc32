"""How much memory a file may ask for, before it is unpacked.

In: what a file says it holds, and its size. Out: nothing, or an error that names the limit. Must
not import anything of certvq but errors.
"""

import os
from typing import Final

from certvq.errors import FileFormatError, OptionError

VARIABLE: Final = "CERTVQ_MAX_MIB"
"""Environment variable that raises the limit."""

USUAL_MIB: Final = 256
RATIO: Final = 32
"""Memory for each byte of a file that is allowed in any case: honest files need less."""


def require_room(name: object, needed: int, size: int) -> None:
    """Refuse a file that needs far more memory than it is large.

    Args:
        name: of the file.
        needed: bytes of memory that its content takes.
        size: bytes of the file.

    Raises:
        FileFormatError: more than `CERTVQ_MAX_MIB` (256 by default), and 32 times `size`.
        OptionError: the variable is no positive whole number.

    Example:
        >>> require_room("small.npz", 2**31, 1000)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        certvq.errors.FileFormatError: small.npz: unpacks to 2048 MiB, ... set CERTVQ_MAX_MIB=2048
    """
    allowed = max(_limit_mib() << 20, RATIO * size)
    if needed > allowed:
        mib = -(-needed // 2**20)
        text = (
            f"{name}: unpacks to {mib} MiB, from a file of {size} bytes {allowed >> 20} MiB are "
            f"allowed; if you trust it, set {VARIABLE}={mib}"
        )
        raise FileFormatError(text)


def _limit_mib() -> int:
    value = os.environ.get(VARIABLE, "") or str(USUAL_MIB)
    if not value.isdecimal() or not 0 < len(value) < 10 or int(value) < 1:
        text = f"{VARIABLE} must be a whole number of MiB from 1 on, got {value!r:.40}"
        raise OptionError(text)
    return int(value)
