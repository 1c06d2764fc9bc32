"""JSON that every reader takes, and JSON from files that nobody vouches for.

In: values, or text of unknown origin. Out: text by the standard, or values of moderate size. A
number that is not finite is a string, as in the JSON of protocol buffers. Must not import anything
of certvq.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, Final

NON_FINITE: Final = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}
"""How numbers that JSON does not know are written, as strings."""

SEAL: Final = "sha256"
"""The field that holds the digest of all others of a sealed record."""

_MOST_DIGITS = 20  # of 2^64


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Write a value as JSON by the standard.

    Example:
        >>> dumps({"psnr": math.inf, "codes": (1, 2)})
        '{"psnr": "Infinity", "codes": [1, 2]}'
    """
    return json.dumps(_plain(value), indent=indent, allow_nan=False)


def loads(text: str | bytes) -> Any:
    """Read JSON of unknown origin.

    Raises:
        ValueError: it is no JSON, no UTF-8, nested too deep, or holds a whole number of more than
            20 digits.

    Example:
        >>> loads(b"[" * 10**6)
        Traceback (most recent call last):
        ValueError: nested too deep
    """
    try:
        whole = text.decode() if isinstance(text, bytes) else text
        return json.loads(whole, parse_int=_whole)
    except RecursionError:
        raise ValueError("nested too deep") from None


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with a digest of all its fields, which `is_whole` checks.

    Example:
        >>> is_whole(sealed({"step": 3})), is_whole({**sealed({"step": 3}), "step": 4})
        (True, False)
    """
    return {**record, SEAL: _digest(record)}


def is_whole(record: Mapping[str, Any]) -> bool:
    """Say whether a sealed record is as it was written."""
    return record.get(SEAL) == _digest({k: v for k, v in record.items() if k != SEAL})


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(_plain(record), sort_keys=True).encode()).hexdigest()


def _whole(digits: str) -> int:
    if len(digits.lstrip("-")) > _MOST_DIGITS:
        text = f"a whole number of {len(digits)} digits, {_MOST_DIGITS} are allowed"
        raise ValueError(text)
    return int(digits)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value
