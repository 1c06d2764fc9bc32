"""Codes from elsewhere: find every violation, and repair or refuse.

In: latents, a codebook and codes of any origin. Out: `AuditReport`, or an `Assignment`. The audit
is the independent checker's, not the kernels'.
"""

from dataclasses import dataclass
from typing import Literal, overload

import numpy as np

from certvq import check
from certvq._types import Array
from certvq.assign._arrays import Codes, Latents, as_array, is_torch, to_host
from certvq.assign._assign import assign
from certvq.assign._assignment import Assignment
from certvq.assign._prepare import Codebook, Prepared, as_prepared
from certvq.assign._validate import require_codes, require_ieee754, require_width
from certvq.check import Violation, Violations
from certvq.errors import CertificateError, OptionError
from certvq.spec._rounded import to_text


@dataclass(frozen=True)
class AuditReport:
    """The rows whose codes break the contract.

    Attributes:
        rows: how many codes were audited.
        violations: the bad ones, in order of rows, each a `certvq.check.Violation` with its exact
            excess; also as arrays (`certvq.check.Violations`).
    """

    rows: int
    violations: Violations

    @property
    def ok(self) -> bool:
        """Whether there is no violation."""
        return not self.violations

    @property
    def wrong(self) -> int:
        """How many codes name a code vector that is not nearest."""
        return len(self.violations) - self.ties_broken_otherwise

    @property
    def ties_broken_otherwise(self) -> int:
        """How many codes name a nearest code vector that has a lower twin."""
        return int(self.violations.ties.sum())

    def __str__(self) -> str:
        if self.ok:
            return f"{self.rows} codes audited: no violation"
        return (
            f"{self.rows} codes audited: {self.wrong} wrong, {self.ties_broken_otherwise} ties "
            f"broken otherwise; the first at {_shown(self.violations[0])}"
        )


def _shown(violation: Violation) -> str:
    return (
        f"row {violation.row}: code {violation.code}, nearest {violation.nearest}, "
        f"excess squared distance {to_text(violation.excess)}"
    )


def audit(latents: Latents, codebook: Codebook, codes: Codes) -> AuditReport:
    """Find every code that is not the lowest nearest one, in exact arithmetic.

    Args:
        latents: (N, D), as for `certvq.assign`.
        codebook: (K, D) or a `Prepared`.
        codes: (N,) integers, from anywhere.

    Returns:
        An `AuditReport`; for each violation the right code and the exact excess distance.

    Raises:
        ShapeError, DTypeError, NonFiniteError, CodeRangeError, FloatEnvironmentError: with numbers.

    Cost: O(N K D) time, O(N + K D) memory; some 100 bytes for each violation.

    Example:
        >>> import numpy as np, certvq
        >>> report = certvq.audit(np.array([[0.2], [0.9]]), np.array([[0.0], [1.0]]), [0, 0])
        >>> print(report)
        2 codes audited: 1 wrong, 0 ties broken otherwise; the first at row 1: code 0, nearest 1,
        excess squared distance 0.8
        >>> float(report.violations[0].excess)
        0.8
    """
    checked = _read(latents, as_prepared(codebook), codes)
    return AuditReport(len(checked[2]), check.all_violations(*checked))


def _read(latents: Latents, prepared: Prepared, codes: Codes) -> tuple[Array, Array, np.ndarray]:
    array = as_array(latents)
    require_width(array, prepared.dim)
    require_ieee754()
    given = require_codes(as_array(codes), int(array.shape[0]), prepared.codebook_size)
    return _readable(array), _readable(prepared.source), given


def _readable(array: Array) -> Array:
    """Leave to the checker what it reads by itself, which is bfloat16 without a copy."""
    return array if is_torch(array) or isinstance(array, np.ndarray) else to_host(array)


@overload
def certify(
    latents: Array,
    codebook: Array,
    codes: Array,
    *,
    on_violation: Literal["raise", "repair"] = "raise",
) -> Assignment: ...
@overload
def certify(
    latents: Array, codebook: Array, codes: Array, *, on_violation: Literal["report"]
) -> AuditReport: ...
@overload
def certify(
    latents: Array,
    codebook: Array,
    codes: Array,
    *,
    on_violation: Literal["raise", "repair", "report"],
) -> Assignment | AuditReport: ...
def certify(
    latents: Latents,
    codebook: Codebook,
    codes: Codes,
    *,
    on_violation: Literal["raise", "repair", "report"] = "raise",
) -> Assignment | AuditReport:
    """Certify codes from any other source.

    Args:
        latents: (N, D), as for `certvq.assign`.
        codebook: (K, D) or a `Prepared`.
        codes: (N,) integers, from anywhere.
        on_violation: ``"raise"`` refuses all codes if one is wrong; ``"repair"`` replaces each
            wrong code with the right one; ``"report"`` changes nothing and returns the audit.

    Returns:
        An `Assignment` for ``"raise"`` and ``"repair"``, an `AuditReport` for ``"report"``.

    Raises:
        CertificateError: a code is not the lowest nearest one, with ``"raise"``.
        OptionError: unknown `on_violation`.
        ShapeError, DTypeError, NonFiniteError, CodeRangeError, FloatEnvironmentError: with numbers.

    Guarantee: that of `certvq.assign` for an `Assignment`, whatever the codes were.

    Example:
        >>> import numpy as np, certvq
        >>> z, c = np.array([[0.2], [0.9]]), np.array([[0.0], [1.0]])
        >>> certvq.certify(z, c, [0, 0], on_violation="repair").codes
        array([0, 1])
    """
    if on_violation not in ("raise", "repair", "report"):
        text = f"on_violation must be 'raise', 'repair' or 'report', got {on_violation!r}"
        raise OptionError(text)
    prepared = as_prepared(codebook)
    if on_violation == "report":
        return audit(latents, prepared, codes)
    checked = _read(latents, prepared, codes)
    first = next(check.find_violations(*checked), None) if on_violation == "raise" else None
    if first is not None:
        text = (
            f"codes must be the lowest nearest ones, but the first that is not is {_shown(first)}; "
            "on_violation='report' counts them, 'repair' repairs them"
        )
        raise CertificateError(text)
    return assign(latents, prepared)
