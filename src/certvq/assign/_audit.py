"""Codes from elsewhere: find every violation, and repair or refuse.

In: latents, a codebook and codes of any origin. Out: `AuditReport`, or an `Assignment`. The audit
is the independent checker's, not the kernels'.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from certvq import check
from certvq._types import Array
from certvq.assign._arrays import as_array, is_torch, to_host
from certvq.assign._assign import assign
from certvq.assign._assignment import Assignment
from certvq.assign._prepare import as_prepared
from certvq.assign._validate import require_codes, require_ieee754, require_width
from certvq.check import Violation
from certvq.errors import CertificateError, OptionError


@dataclass(frozen=True)
class AuditReport:
    """Every row of some codes that breaks the contract.

    Attributes:
        rows: how many codes were audited.
        violations: the bad ones, in order of rows, with the exact excess of each.
    """

    rows: int
    violations: tuple[Violation, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no violation."""
        return not self.violations

    @property
    def wrong(self) -> int:
        """How many codes name a code vector that is not nearest."""
        return sum(not violation.is_tie for violation in self.violations)

    @property
    def ties_broken_otherwise(self) -> int:
        """How many codes name a nearest code vector that has a lower twin."""
        return sum(violation.is_tie for violation in self.violations)

    def __str__(self) -> str:
        if self.ok:
            return f"{self.rows} codes audited: no violation"
        first = self.violations[0]
        return (
            f"{self.rows} codes audited: {self.wrong} wrong, {self.ties_broken_otherwise} ties "
            f"broken otherwise; the first at row {first.row}: code {first.code}, nearest "
            f"{first.nearest}, excess squared distance {float(first.excess):.6g}"
        )


def audit(latents: Array, codebook: Array, codes: Array) -> AuditReport:
    """Find every code that is not the lowest nearest one, by exact arithmetic.

    Args:
        latents: (N, D), as for `certvq.assign`.
        codebook: (K, D) or a `Prepared`.
        codes: (N,) integers, from anywhere.

    Returns:
        An `AuditReport`; for each violation the right code and the exact excess distance.

    Raises:
        ShapeError, DTypeError, NonFiniteError, CodeRangeError, FloatEnvironmentError: with numbers.

    Cost: O(N K D) time, O(N + K D) memory.

    Example:
        >>> import numpy as np, certvq
        >>> report = certvq.audit(np.array([[0.2], [0.9]]), np.array([[0.0], [1.0]]), [0, 0])
        >>> print(report)
        2 codes audited: 1 wrong, 0 ties broken otherwise; the first at row 1: code 0, nearest 1,
        excess squared distance 0.8
        >>> float(report.violations[0].excess)
        0.8
    """
    array, prepared = as_array(latents), as_prepared(codebook)
    require_width(array, prepared.dim)
    require_ieee754()
    given = require_codes(as_array(codes), int(array.shape[0]), prepared.codebook_size)
    found = check.find_violations(_readable(array), _readable(prepared.source), given)
    return AuditReport(len(given), tuple(found))


def _readable(array: Array) -> Array:
    """Leave to the checker what it reads by itself, which is bfloat16 without a copy."""
    return array if is_torch(array) or isinstance(array, np.ndarray) else to_host(array)


def certify(
    latents: Array,
    codebook: Array,
    codes: Array,
    *,
    on_violation: Literal["raise", "repair", "report"] = "raise",
) -> Assignment | AuditReport:
    """Certify codes that somebody else proposed.

    Args:
        latents: (N, D), as for `certvq.assign`.
        codebook: (K, D) or a `Prepared`.
        codes: (N,) integers, from anywhere.
        on_violation: ``"raise"`` refuses them all if one is wrong; ``"repair"`` puts the right code
            in the place of each wrong one; ``"report"`` changes nothing and returns the audit.

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
    report = audit(latents, prepared, codes)
    if on_violation == "report":
        return report
    if on_violation == "raise" and not report.ok:
        text = f"codes must be the lowest nearest ones; {report}; use on_violation='repair'"
        raise CertificateError(text)
    return assign(latents, prepared)
