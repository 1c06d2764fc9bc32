"""Names of photographs that are safe as file names and as text in a token file.

In: a key. Out: what is wrong with it, or nothing. Must not import torch, nor anything of certvq but
errors.
"""

import re

from certvq.errors import DataError

_MOST_PARTS = 100
"""Folders that a key of unknown origin may ask for when its picture is written; chosen."""

_LONGEST = 4096
"""Characters: what Linux allows a path (PATH_MAX)."""

_FORBIDDEN = re.compile(r"[\\\x00-\x1f\x7f\ud800-\udfff]")


def require_key(key: str) -> None:
    """Refuse a key that could not be written as a file below an output folder.

    Args:
        key: name of a photograph: a relative path with `/` between its parts, such as `cats/tom`.

    Raises:
        DataError: the key is empty or no text, starts or ends with `/`, has more than 100 parts
            or 4096 characters, an empty part, `.` or `..` as a part, a backslash, a control
            character, or a lone surrogate (what a file name that is not UTF-8 is read as).

    Guarantee: `folder / key` lies below `folder`, also for keys that come from a file of unknown
    origin.

    Example:
        >>> require_key("cats/tom")
        >>> require_key("../tom")
        Traceback (most recent call last):
        certvq.errors.DataError: the key '../tom' has the part '..'; use names joined by '/'
    """
    if problem := _problem(key):
        raise DataError(f"the key {key!r:.300} {problem}; use names joined by '/'")


def _problem(key: object) -> str | None:
    if not isinstance(key, str):
        return f"is no text but {type(key).__name__}"
    sizes = ((len(key), _LONGEST, "characters"), (key.count("/") + 1, _MOST_PARTS, "parts"))
    for size, most, what in sizes:
        if size > most:
            return f"has {size} {what}, and {most} are allowed"
    parts = key.split("/")
    if not all(parts):
        return "is empty or has an empty part"
    if dots := {".", ".."}.intersection(parts):
        return f"has the part {min(dots)!r}"
    if found := _FORBIDDEN.search(key):
        surrogate = found.group() >= "\ud800"
        what = ", a byte that is no text in this locale" if surrogate else ""
        return f"has the character {found.group()!r}{what}"
    return None
