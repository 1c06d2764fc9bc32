"""What a token file holds: one record per photograph, and a header about all of them.

In: codes and their origin. Out: frozen, checked records. Must not import torch, models or pyarrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from certvq._types import Int64, Int64Array
from certvq.data import require_key
from certvq.errors import CodeRangeError, DataError, DTypeError, OptionError, ShapeError

WAYS: tuple[str, ...] = ("filter", "refined", "exact")
"""How a code was decided, the keys of `TokenHeader.decided_by`; see `certvq.DecidedBy`."""


@dataclass(frozen=True, eq=False)
class TokenRecord:
    """The codes of one photograph.

    Args:
        key: of the photograph, see `certvq.data.require_key`.
        shape: rows and columns of the grid of tokens, each at least 1.
        size: height and width of the photograph in pixels, each at least that of the grid.
        codes: int64 (rows * columns,), row by row, at least 0; copied unless they are read-only
            and own their memory.

    Raises:
        DataError: the key is not usable.
        DTypeError: codes are not int64.
        ShapeError: shape or size are out of range, or there is not one code for each cell.
        CodeRangeError: a code is negative; the first is named.

    Example:
        >>> TokenRecord("tom", (1, 2), (4, 7), np.array([3, 0])).codes
        array([3, 0])
    """

    key: str
    shape: tuple[int, int]
    size: tuple[int, int]
    codes: Int64[Int64Array, " N"]

    def __post_init__(self) -> None:
        require_key(self.key)
        (rows, columns), (height, width) = self.shape, self.size
        if not (1 <= rows <= height and 1 <= columns <= width):
            raise ShapeError(
                f"{self.key!r}: a grid of {rows} x {columns} tokens does not fit an image of "
                f"{height} x {width} pixels; each must be at least 1 and no larger than the image"
            )
        codes = _frozen(self.codes)
        if codes.dtype != np.int64:
            raise DTypeError(f"{self.key!r}: codes must be int64, got {codes.dtype}; convert them")
        if codes.shape != (rows * columns,):
            raise ShapeError(
                f"{self.key!r}: codes must have the shape ({rows * columns},) for {rows} x "
                f"{columns} tokens, got {codes.shape}"
            )
        if codes.min() < 0:
            bad = int(np.argmax(codes < 0))
            raise CodeRangeError(
                f"{self.key!r}: codes must be at least 0, got {codes[bad]} at position {bad}"
            )
        object.__setattr__(self, "codes", codes)


@dataclass(frozen=True, kw_only=True)
class TokenHeader:
    """What belongs to all codes of a token file.

    Args:
        codebook_size: K, at most 2^63; every code is below it.
        codebook_sha256: `certvq.models.codebook_digest` of the codebook, 64 hexadecimal digits.
        model_sha256: `certvq.models.model_digest` of the model, likewise.
        tie_rule: which of several nearest codes is taken; "lowest" is the only rule.
        decided_by: how many codes were decided by each of `WAYS`.
        certvq_version: the version that encoded.
        channels: of the photographs, 1 or 3.

    Raises:
        OptionError: a value is out of its range; it is named.
    """

    codebook_size: int
    codebook_sha256: str
    model_sha256: str
    tie_rule: str = "lowest"
    decided_by: dict[str, int]
    certvq_version: str
    channels: int

    def __post_init__(self) -> None:
        decided: object = self.decided_by
        known = isinstance(decided, dict) and set(decided) == set(WAYS)
        required = (
            (
                "codebook_size",
                "from 1 to 2**63",
                _is_count(self.codebook_size, 1) and self.codebook_size <= 1 << 63,
            ),
            ("codebook_sha256", "64 digits of 0-9a-f", _is_digest(self.codebook_sha256)),
            ("model_sha256", "64 digits of 0-9a-f", _is_digest(self.model_sha256)),
            ("tie_rule", "'lowest'", self.tie_rule == "lowest"),
            (
                "decided_by",
                f"counts of {', '.join(WAYS)}",
                known and all(_is_count(count, 0) for count in decided.values()),
            ),
            ("certvq_version", "a text", isinstance(self.certvq_version, str)),
            ("channels", "1 or 3", _is_count(self.channels, 1) and self.channels in (1, 3)),
        )
        for name, what, holds in required:
            if not holds:
                raise OptionError(f"{name} must be {what}, got {getattr(self, name)!r}")


@dataclass(frozen=True)
class TokenFile:
    """The content of a token file.

    Args:
        header: about all records.
        records: one for each photograph.
        path: the file it was read from, for the text of errors; None if there is none.
    """

    header: TokenHeader
    records: tuple[TokenRecord, ...]
    path: Path | None = None


def require_consistent(records: Sequence[TokenRecord], header: TokenHeader) -> None:
    """Require that records belong under a header.

    Raises:
        DataError: two records have the same key.
        CodeRangeError: a code is not below `codebook_size`; the first is named.
        OptionError: `decided_by` does not add up to the number of codes.
    """
    seen: set[str] = set()
    for record in records:
        if record.key in seen:
            raise DataError(f"two records have the key {record.key!r}; keys must be unique")
        seen.add(record.key)
        if record.codes.max() >= header.codebook_size:
            bad = int(np.argmax(record.codes >= header.codebook_size))
            raise CodeRangeError(
                f"{record.key!r}: codes must lie in range({header.codebook_size}), got "
                f"{record.codes[bad]} at position {bad}"
            )
    total = sum(record.codes.size for record in records)
    decided = sum(header.decided_by.values())
    if decided != total:
        raise OptionError(f"decided_by counts {decided} codes, but the records hold {total}")


def _frozen(codes: Int64Array) -> Int64Array:
    if isinstance(codes, np.ndarray) and codes.flags.owndata and not codes.flags.writeable:
        return codes
    copy = np.array(codes)
    copy.setflags(write=False)
    return copy


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")
