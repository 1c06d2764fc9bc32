"""Check a data set without its model.

In: a path. Out: every problem that was found, by part. Trusts nothing that can be computed again.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from certvq._files.lock import folder_lock
from certvq._types import Progress, no_progress
from certvq.data import require_key
from certvq.errors import CertVQError, FileFormatError, OptionError
from certvq.tokens._manifest import read_manifest, write_manifest
from certvq.tokens._part import PARTS, Part, file_sha256, part_name
from certvq.tokens._record import require_grid, require_side
from certvq.tokens._set import TokenSet, open_tokens
from certvq.tokens._stored import Block


@dataclass(frozen=True)
class Problem:
    """What is wrong with a part; `part` is its file below the folder, or the file itself."""

    part: str
    text: str

    def __str__(self) -> str:
        return f"{self.part}: {self.text}"


@dataclass(frozen=True)
class VerifyReport:
    """What was checked, and what is wrong.

    Attributes:
        parts: parts that were read.
        rows: rows of those that are right.
        tokens: codes of those that are right.
        problems: in the order of the parts.
        repaired: files of the parts that are marked as missing now, so that the job makes them
            again.
    """

    parts: int
    rows: int
    tokens: int
    problems: tuple[Problem, ...]
    repaired: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """Describe it in JSON's own types."""
        return {
            "ok": self.ok,
            "parts": self.parts,
            "rows": self.rows,
            "codes": self.tokens,
            "problems": [vars(problem) for problem in self.problems],
            "repaired": list(self.repaired),
        }


def verify_tokens(
    path: str | Path, *, repair: bool = False, progress: Progress = no_progress
) -> VerifyReport:
    """Check checksums, digests, ranges and keys of a data set.

    Args:
        path: as for `open_tokens`.
        repair: remove the parts that are wrong, from the disk and from the manifest; the job that
            is started again makes them anew.
        progress: called after each part.

    Returns:
        Each part that is missing, has another checksum or size than the manifest says, belongs to
        another job, or contradicts itself: a code out of the range of its codebook, a grid that
        does not fit, side numbers that are not finite, counts that are wrong, a key that is not
        usable or in the set already. Files among the parts that the manifest does not know are
        named as well.

    Raises:
        FileFormatError: the manifest, or the file, is none, damaged, or of a newer version.
        OptionError: `repair` of a single file, or another process holds the folder.

    Cost: memory of one row group, and 8 bytes for each key.
    """
    data = open_tokens(path)
    if repair and data.job is None:
        raise OptionError(f"{path}: is a single file, which cannot be repaired; make it again")
    problems: dict[int, list[str]] = {}
    hashes: list[np.ndarray] = []
    rows = tokens = 0
    for done, part in enumerate(data.parts, start=1):
        own: list[np.ndarray] = []
        found = _problems(data, part, own)
        problems[part.number] = found
        if not found:
            rows, tokens = rows + part.rows, tokens + part.tokens
            hashes += own
        progress("verifying", done, len(data.parts))
    for number, text in _twice(data, problems, hashes):
        problems[number].append(text)
    listed = [
        Problem(_name(data, part), text) for part in data.parts for text in problems[part.number]
    ]
    listed += [Problem(part_name(number), "is missing") for number in data.missing]
    listed += [Problem(name, "is not in the manifest") for name in _strangers(data)]
    repaired = _repair(data, {n for n, texts in problems.items() if texts}) if repair else ()
    return VerifyReport(len(data.parts), rows, tokens, tuple(listed), repaired)


def _problems(data: TokenSet, part: Part, hashes: list[np.ndarray]) -> list[str]:
    """Name what is wrong with a part; its keys are hashed on the way."""
    path = data.path_of(part)
    try:
        if data.job is not None:
            _require_bytes(path, part)
        stored = data.stored(part)
        said = vars(stored.part) | {"bytes": part.bytes, "sha256": part.sha256}
        if said != vars(part):
            raise FileFormatError("its header says other than the manifest")
        counted = [0, 0]
        for block in stored.blocks():
            hashes.append(_checked(block, data))
            counted[0] += len(block.keys)
            counted[1] += block.codes.size
        if counted != [part.rows, part.tokens] or sum(part.decided_by.values()) != part.tokens:
            raise FileFormatError(
                f"holds {counted[0]} rows and {counted[1]} codes, said are {part.rows} and "
                f"{part.tokens}, decided {sum(part.decided_by.values())}"
            )
    except (CertVQError, OSError) as error:
        return [str(error).removeprefix(f"{path}: ")]
    return []


def _require_bytes(path: Path, part: Part) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise FileFormatError(f"cannot be opened ({error.strerror})") from error
    if size != part.bytes:
        raise FileFormatError(f"has {size} bytes, the manifest says {part.bytes}")
    if (found := file_sha256(path)) != part.sha256:
        raise FileFormatError(
            f"has the checksum {found[:12]}, the manifest says {part.sha256[:12]}"
        )


def _checked(block: Block, data: TokenSet) -> np.ndarray:
    """Check a row group, and return the hashes of its keys."""
    count = len(data.codebook_sizes)
    if block.codes.size % count:
        raise FileFormatError(f"a row group holds {block.codes.size} codes of {count} codebooks")
    levels = block.codes.reshape(-1, count)
    for number, size in enumerate(data.codebook_sizes):
        if int(levels[:, number].max(initial=0)) >= size:
            bad = int(np.argmax(levels[:, number] >= size))
            row = int(np.searchsorted(block.offsets, bad * count, side="right")) - 1
            raise FileFormatError(
                f"{block.keys[row]!r}: codes must lie in range({size}), got {levels[bad, number]} "
                f"of codebook {number}"
            )
    lengths = np.diff(block.offsets)
    rows = zip(block.keys, block.modalities, block.shapes, block.sizes, lengths, strict=True)
    for key, modality, shape, size, length in rows:
        require_key(key)
        require_grid(key, modality, shape, size, codebooks=count)
        if modality != data.modality or length != np.prod(shape, dtype=np.int64):
            raise FileFormatError(
                f"{key!r}: is {modality} of {shape} tokens and {length} codes; the set is of "
                f"{data.modality}"
            )
    for key, side in zip(block.keys, block.sides, strict=True):
        require_side(key, side)
    return np.array([_hash(key) for key in block.keys], dtype=np.uint64)


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def _twice(
    data: TokenSet, problems: dict[int, list[str]], hashes: list[np.ndarray]
) -> Iterator[tuple[int, str]]:
    """Name keys that occur twice; hashes say which may, and only those are compared."""
    ordered = np.sort(np.concatenate([*hashes, np.zeros(0, np.uint64)]))
    suspects = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    if not suspects:
        return
    first: dict[str, str] = {}
    for part in data.parts:
        if problems[part.number]:
            continue
        for block in data.stored(part).blocks(["key"]):
            for key in block.keys:
                if _hash(key) not in suspects:
                    continue
                if key in first:
                    yield part.number, f"{key!r} is in {first[key]} already; keys must be unique"
                first.setdefault(key, _name(data, part))


def _name(data: TokenSet, part: Part) -> str:
    return str(data.path) if data.job is None else part.name


def _strangers(data: TokenSet) -> Iterator[str]:
    if data.job is None:
        return
    known = {part.name for part in data.parts}
    for path in sorted((data.path / PARTS).glob("*")):
        if f"{PARTS}/{path.name}" not in known:
            yield f"{PARTS}/{path.name}"


def _repair(data: TokenSet, bad: set[int]) -> tuple[str, ...]:
    with folder_lock(data.path):
        manifest = read_manifest(data.path)
        kept = [part for number, part in manifest.parts.items() if number not in bad]
        write_manifest(data.path, manifest.job, kept)
        for number in sorted(bad):
            (data.path / part_name(number)).unlink(missing_ok=True)
    return tuple(part_name(number) for number in sorted(bad))
