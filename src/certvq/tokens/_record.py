"""What a token file holds: one record per input, and a header about all of them.

In: codes and their origin. Out: frozen, checked records. Must not import torch, models or pyarrow.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from certvq._types import Int64, Int64Array
from certvq.data import require_key
from certvq.errors import (
    CodeRangeError,
    DataError,
    DTypeError,
    NonFiniteError,
    OptionError,
    ShapeError,
)

WAYS: tuple[str, ...] = ("filter", "refined", "exact")
"""How a code was decided, the keys of `TokenHeader.decided_by`; see `certvq.DecidedBy`."""

RUNGS: tuple[str, ...] = ("float64", "wider", "exact")
"""How a canonical code was decided, the keys of `decided_by` in data sets of canonical codes; see
`certvq.network.Rung`."""

AXES: Final = {"image": (2, 2), "audio": (1, 2), "video": (3, 3), "latent": (None, 0)}
"""By modality, how many numbers the grid of tokens has (None: any), and how many the size."""


@dataclass(frozen=True, eq=False)
class TokenRecord:
    """The codes of one input.

    Args:
        key: of the input, see `certvq.data.require_key`.
        shape: the grid of tokens, each number at least 1: rows and columns of an image, frames of
            audio, frames, rows and columns of video, any of latents. Where a token has several
            codes, one per codebook, their number follows as the last axis.
        size: of the input, each number at least 1: height and width of an image in pixels, at least
            those of the grid; samples and samples a second of audio; frames, height and width of
            video; none of latents.
        codes: int64 (product of shape,), the last axis fastest, at least 0; copied unless they are
            read-only and own their memory.
        modality: a name in `AXES`.
        side: numbers beside the codes that the decoder of some models needs, such as the loudness
            of each piece of a sound; empty where the model has none.

    Raises:
        DataError: the key is not usable.
        NonFiniteError: a number of `side` is NaN or infinite.
        DTypeError: codes are not int64.
        ShapeError: shape or size are out of range, or there is not one code for each cell.
        CodeRangeError: a code is negative; the first is named.

    Example:
        >>> TokenRecord("tom", (1, 2), (4, 7), np.array([3, 0])).codes
        array([3, 0])
    """

    key: str
    shape: tuple[int, ...]
    size: tuple[int, ...]
    codes: Int64[Int64Array, " N"]
    modality: str = "image"
    side: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require_key(self.key)
        require_grid(self.key, self.modality, self.shape, self.size)
        require_side(self.key, self.side)
        codes = _frozen(self.codes)
        if codes.dtype != np.int64:
            raise DTypeError(f"{self.key!r}: codes must be int64, got {codes.dtype}; convert them")
        count = math.prod(self.shape)
        if codes.shape != (count,):
            raise ShapeError(
                f"{self.key!r}: codes must have the shape ({count},) for "
                f"{' x '.join(map(str, self.shape))} tokens, got {codes.shape}"
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
            ("codebook_sha256", "64 digits of 0-9a-f", is_digest(self.codebook_sha256)),
            ("model_sha256", "64 digits of 0-9a-f", is_digest(self.model_sha256)),
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


def require_grid(
    key: str,
    modality: str,
    shape: Sequence[int],
    size: Sequence[int],
    *,
    codebooks: int | None = None,
) -> None:
    """Require that a grid of tokens and the size of an input are those of its modality.

    Args:
        key: of the input, for the text of errors.
        modality: a name in `AXES`.
        shape: the grid, and the number of codebooks where there are several.
        size: of the input.
        codebooks: how many there are; None where it is not known.

    Raises:
        ShapeError: they are not.
    """
    if modality not in AXES:
        raise ShapeError(f"{key!r}: the modality must be one of {', '.join(AXES)}, got {modality}")
    axes, sizes = AXES[modality]
    several = (0, 1) if codebooks is None else (int(codebooks > 1),)
    if axes is not None and len(shape) not in {axes + last for last in several}:
        wanted = " or ".join(str(axes + last) for last in several)
        raise ShapeError(f"{key!r} has {len(shape)} numbers as shape, needs {wanted}")
    if len(size) != sizes:
        raise ShapeError(f"{key!r} has {len(size)} numbers as size, needs {sizes}")
    if modality == "image" and not (1 <= shape[0] <= size[0] and 1 <= shape[1] <= size[1]):
        raise ShapeError(
            f"{key!r}: a grid of {shape[0]} x {shape[1]} tokens does not fit an image of "
            f"{size[0]} x {size[1]} pixels; each must be at least 1 and no larger than the image"
        )
    if not shape or min(*shape, *size, 1) < 1:
        raise ShapeError(f"{key!r}: shape and size must be at least 1, got {shape} and {size}")
    if codebooks is not None and codebooks > 1 and shape[-1] != codebooks:
        raise ShapeError(
            f"{key!r}: the last axis of shape must be the {codebooks} codebooks, got {shape}"
        )


def require_side(key: str, side: Iterable[float]) -> None:
    """Require that the numbers beside the codes of an input are finite.

    Raises:
        NonFiniteError: one is not; the first is named.
    """
    for place, number in enumerate(side):
        if not math.isfinite(number):
            raise NonFiniteError(f"{key!r}: side must be finite, got {number} at position {place}")


def _frozen(codes: Int64Array) -> Int64Array:
    if isinstance(codes, np.ndarray) and codes.flags.owndata and not codes.flags.writeable:
        return codes
    copy = np.array(codes)
    copy.setflags(write=False)
    return copy


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_digest(value: object) -> bool:
    """Say whether a value is a SHA-256 in hexadecimal."""
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")
