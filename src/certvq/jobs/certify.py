"""Certify codes that somebody else proposed, and write the certificate that Lean checks.

In: latents, a codebook and codes in files. Out: the violations, the certified codes, and a Lean
file. Must not import torch unless the codebook is a model's, nor Lean's runner unless it is used.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from certvq._files.atomic import atomic_path
from certvq._files.claim import claim_file
from certvq._types import Array, Progress, no_progress
from certvq.assign._arrays import to_host
from certvq.errors import OptionError
from certvq.jobs._torchlean import Documents, TorchLean, write_documents
from certvq.jobs.audit import AuditResult, audit_loaded, load_arrays


@dataclass(frozen=True)
class CertifyResult:
    """What became of some codes.

    Attributes:
        audit: the violations among the codes that were given.
        repaired: whether the right codes have taken their place.
        lean: the certificate that was written, None without one.
        lean_errors: what Lean holds against it; None where Lean was not asked.
        documents: those for TorchLean; None without them.
    """

    audit: AuditResult
    repaired: bool
    lean: Path | None
    lean_errors: tuple[str, ...] | None
    documents: Documents | None = None

    @property
    def ok(self) -> bool:
        """Whether the codes are certified, Lean agrees if it was asked, and no document fails."""
        right = self.audit.ok or self.repaired
        return right and not self.lean_errors and not (self.documents and self.documents.refused)

    def to_json(self) -> dict[str, Any]:
        """Describe it in JSON's own types."""
        found: dict[str, Any] = {
            "repaired": self.repaired,
            "lean": str(self.lean) if self.lean else None,
        }
        found |= {"lean_errors": self.lean_errors}
        if self.documents is not None:
            found["torchlean"] = {
                "folder": str(self.documents.folder),
                "documents": self.documents.count,
                "refused": self.documents.refused,
            }
        return self.audit.to_json() | found


def certify_file(  # noqa: PLR0913 (three arrays, and each option is one of the command's)
    latents: Path,
    codebook: Path,
    codes: Path,
    *,
    out: Path | None = None,
    on_violation: Literal["raise", "repair", "report"] = "raise",
    lean: Path | None = None,
    check: bool = False,
    torchlean: TorchLean | None = None,
    progress: Progress = no_progress,
) -> CertifyResult:
    """Certify an array of codes.

    Args:
        latents: `.npy` file of floats (N, D).
        codebook: `.npy` file of floats (K, D), or a model directory.
        codes: `.npy` file of integers (N,).
        out: receives the certified codes, int64 (N,), as an `.npy` file.
        on_violation: ``"repair"`` puts the right code in the place of each wrong one; the others
            write nothing if there is one.
        lean: receives a Lean file whose theorem says that the certified codes are right.
        check: let Lean check that file.
        torchlean: the documents that TorchLean's checker reads, if there shall be any.
        progress: called once per block of rows.

    Returns:
        A `CertifyResult`; it tells of the violations, it does not raise.

    Raises:
        OptionError: `check` without `lean`, repair without `out`, an unknown `on_violation`, or
            `out` or `lean` is a folder or an input, or they are the same file; options of
            `torchlean` that do not fit together, or a folder that is not empty.
        FileFormatError, ShapeError, DTypeError, NonFiniteError, CodeRangeError: with the files.
        LeanUnavailableError: `check`, and there is no Lean; before anything is written.
        LeanError: Lean crashed or took too long.
        OSError: a file cannot be read or written.

    Guarantee: that of `certvq.assign` for the codes that are written. Each document has been read
    back and proved by the checker of `certvq.torchlean`.
    """
    if on_violation not in ("raise", "repair", "report"):
        text = f"--on-violation must be raise, repair or report, got {on_violation!r}"
        raise OptionError(text)
    if check and lean is None:
        raise OptionError("--check needs --lean FILE, the certificate that Lean shall check")
    if on_violation == "repair" and out is None:
        raise OptionError("--on-violation repair needs --out FILE for the repaired codes")
    if out is not None and lean is not None and out.resolve() == lean.resolve():
        raise OptionError(f"{out}: --out and --lean need a file each")
    for path in (out, lean):
        if path is not None:
            claim_file(path, inputs=(latents, codebook, codes))
    if torchlean is not None:
        torchlean.claim()
    lean_errors = documents = None
    if check:
        from certvq._lean import find_lean

        find_lean()
    arrays = load_arrays(latents, codebook, codes)
    audit = audit_loaded(arrays, progress=progress)
    repaired = on_violation == "repair" and not audit.ok
    if audit.ok or repaired:
        right = np.asarray(arrays.codes).astype(np.int64)
        for entry in audit.violations:
            right[entry.violation.row] = entry.violation.nearest
        if out is not None:
            with atomic_path(out) as partial, partial.open("wb") as file:
                np.save(file, right)
        if lean is not None:
            _write_certificate(lean, arrays.latents, arrays.codebook, right)
            lean_errors = _lean_errors(lean) if check else None
        if torchlean is not None:
            documents = write_documents(torchlean, arrays.latents, arrays.codebook, right, progress)
    written = lean if audit.ok or repaired else None
    return CertifyResult(audit, repaired, written, lean_errors, documents)


def _write_certificate(path: Path, latents: Array, codebook: Array, codes: np.ndarray) -> None:
    from certvq._lean import certificate, pack

    points, vectors = (to_host(a).astype(np.float64).tolist() for a in (latents, codebook))
    text = certificate(pack(points, vectors), codes.tolist())
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _lean_errors(path: Path) -> tuple[str, ...]:
    """Return what Lean says against a file; a warning counts."""
    from certvq._lean import find_lean, run_lean

    run = run_lean(find_lean(), path.read_text(encoding="utf-8"))
    said = (m for m in run.messages if m.severity != "information")
    return tuple(f"{path}:{m.line}: {m.severity}: {m.text}" for m in said)
