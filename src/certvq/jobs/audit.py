"""Audit an array of codes by exact arithmetic, and what an audit of files gives.

In: latents, a codebook and codes in files. Out: every violation, with where it is. Must not import
torch unless the codebook is a model's.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certvq
from certvq._types import Array, Progress, no_progress
from certvq.assign._validate import require_codes, require_latents
from certvq.check import Violation
from certvq.jobs._arrays import blocks, load_array, load_codebook, naming
from certvq.spec._rounded import to_float

if TYPE_CHECKING:
    from certvq.data import Skipped


@dataclass(frozen=True)
class LocatedViolation:
    """A code that is not the lowest nearest one, and where it is.

    Attributes:
        key: of the photograph; None for arrays.
        violation: the row, within the photograph or the array, the code, the right one, the excess.
    """

    key: str | None
    violation: Violation

    def to_json(self) -> dict[str, Any]:
        """Describe it in JSON's own types; `excess` as the nearest finite float, 0 only for 0."""
        where = {} if self.key is None else {"key": self.key}
        found = self.violation
        return where | {
            "row": found.row,
            "code": found.code,
            "nearest": found.nearest,
            "excess": to_float(found.excess),
        }


@dataclass(frozen=True)
class AuditResult:
    """What an audit of files found.

    Attributes:
        rows: codes audited.
        violations: those that break the contract, in order.
        skipped: image files that could not be used, with the reasons; none for arrays.
    """

    rows: int
    violations: tuple[LocatedViolation, ...]
    skipped: "tuple[Skipped, ...]" = ()

    @property
    def ok(self) -> bool:
        """Whether there is no violation."""
        return not self.violations

    def to_json(self) -> dict[str, Any]:
        """Describe it in JSON's own types."""
        found = [entry.to_json() for entry in self.violations]
        return {"rows": self.rows, "audit_violations": len(found), "violations": found}


def audit_arrays(
    latents: Path, codebook: Path, codes: Path, *, progress: Progress = no_progress
) -> AuditResult:
    """Audit an array of codes.

    Args:
        latents: `.npy` file of floats (N, D).
        codebook: `.npy` file of floats (K, D), or a model directory.
        codes: `.npy` file of integers (N,).
        progress: called once per block of rows.

    Returns:
        Every code that is not the lowest nearest one.

    Raises:
        FileFormatError: a file is corrupt; it is named.
        ShapeError, DTypeError, NonFiniteError, CodeRangeError: as `certvq.audit`, with the files.
        OSError: a file cannot be read.
    """
    return audit_loaded(load_arrays(latents, codebook, codes), progress=progress)


@dataclass(frozen=True)
class Arrays:
    """Latents, a codebook and codes, and the files that they came from, in this order.

    A file is read once: a pipe gives its content once, and a file may change meanwhile.
    """

    latents: Array
    codebook: Array
    codes: Array
    paths: tuple[Path, Path, Path]


def load_arrays(latents: Path, codebook: Path, codes: Path) -> Arrays:
    """Read what `audit_arrays` audits.

    Raises:
        FileFormatError: a file is corrupt; it is named.
        OSError: a file cannot be read.
    """
    found = load_array(latents), load_codebook(codebook), load_array(codes)
    return Arrays(*found, (latents, codebook, codes))


def audit_loaded(arrays: Arrays, *, progress: Progress = no_progress) -> AuditResult:
    """Audit codes as `audit_arrays` does, once they are read.

    Raises:
        ShapeError, DTypeError, NonFiniteError, CodeRangeError: as `certvq.audit`, with the files.
    """
    rows, given = arrays.latents, arrays.codes
    violations: list[LocatedViolation] = []
    with naming(*arrays.paths):
        prepared = certvq.prepare(arrays.codebook)
        require_latents(rows, prepared.dim)  # before the blocks, for their rows have other numbers
        require_codes(given, len(rows), prepared.codebook_size)
        for block in blocks(len(rows), "auditing", progress):
            found = certvq.audit(rows[block], prepared, given[block]).violations
            violations += [
                LocatedViolation(None, replace(v, row=v.row + block.start)) for v in found
            ]
    return AuditResult(len(rows), tuple(violations))
