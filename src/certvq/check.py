"""The independent checker: does an assignment satisfy the specification?

In: codes, latents and a codebook, from anywhere. Out: every row where a code is not the lowest
nearest one, decided by exact arithmetic. It knows nothing of the kernels: it computes each distance
of each pair directly in float64, discards a rival only by a margin that covers every rounding, and
decides all others over the integers with `certvq.spec.squared_l2`. Of certvq it may import the
specification and the names of errors, nothing else.

The margin: ``t = sum_d fl(fl(z - c)^2)`` has only nonnegative terms, each with at most D + 2
roundings of relative size ``2**-53``, so ``t`` differs from the true distance by at most the share
``(D + 2) 2**-53 / (1 - (D + 2) 2**-53)``, and by D times ``2**-1075`` where products underflow
(theorem ``dot_rounding_error_le``). `_MARGIN` is taken four times as large.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certvq.errors import (
    CertificateError,
    CodeRangeError,
    DTypeError,
    FloatEnvironmentError,
    NonFiniteError,
    ShapeError,
)
from certvq.spec import squared_l2

_BLOCK = 1 << 17


@dataclass(frozen=True)
class Violation:
    """A row whose code is not the lowest nearest one.

    Attributes:
        row: n.
        code: the code that was given.
        nearest: the code that the specification demands.
        excess: by how much the given code vector is farther, in squared distance, exactly; 0 where
            the two are exactly as far and the given index is not the lowest.
    """

    row: int
    code: int
    nearest: int
    excess: Fraction

    @property
    def is_tie(self) -> bool:
        """Whether the distance is right and only the tie was broken otherwise."""
        return self.excess == 0


@dataclass(frozen=True)
class CheckReport:
    """What `verify` saw.

    Attributes:
        rows: rows checked, all of them right.
        comparisons: pairs of row and rival that were compared.
        exact_comparisons: how many of these took integer arithmetic.
    """

    rows: int
    comparisons: int
    exact_comparisons: int


def verify(assignment: Any, latents: Any, codebook: Any) -> CheckReport:
    """Check each code of an assignment against the specification.

    Args:
        assignment: anything with ``codes`` (N,), ``decided_by`` (N,) and ``sqdist`` (N,).
        latents: (N, D) finite floats.
        codebook: (K, D) finite floats.

    Returns:
        A `CheckReport`.

    Raises:
        CertificateError: a code is not the lowest nearest one, a row has no valid evidence, or a
            squared distance is not the one to the chosen code vector; the first row is named.
        ShapeError, DTypeError, CodeRangeError, NonFiniteError: the arrays do not fit together.
        FloatEnvironmentError: subnormal numbers are flushed to zero in this thread.

    Example:
        >>> import numpy as np, certvq
        >>> z, c = np.array([[0.2], [0.9]]), np.array([[0.0], [1.0]])
        >>> certvq.check.verify(certvq.assign(z, c), z, c)
        CheckReport(rows=2, comparisons=2, exact_comparisons=0)
    """
    counter = _Counter()
    codes = _host(assignment.codes)
    for violation in find_violations(latents, codebook, codes, counter=counter):
        text = (
            f"codes must be the lowest nearest ones, but row {violation.row} has code "
            f"{violation.code} where {violation.nearest} is right "
            f"(excess squared distance {float(violation.excess):.6g})"
        )
        raise CertificateError(text)
    _verify_evidence(assignment, latents, codebook, codes)
    return CheckReport(len(codes), counter.comparisons, counter.exact)


class _Counter:
    """Counts comparisons; the one mutable thing in this module."""

    def __init__(self) -> None:
        self.comparisons = 0
        self.exact = 0


def find_violations(
    latents: Any, codebook: Any, codes: Any, *, counter: _Counter | None = None
) -> Iterator[Violation]:
    """Yield every row whose code is not the lowest nearest one, in order.

    Args:
        latents: (N, D) finite floats.
        codebook: (K, D) finite floats.
        codes: (N,) integers in ``range(K)``.
        counter: counts the comparisons, for `verify`.

    Raises:
        ShapeError, CodeRangeError, NonFiniteError, FloatEnvironmentError: as `verify`.

    Cost: O(N K D) time in float64, O(K D) memory and a small block.
    """
    points, vectors, chosen = _read(latents, codebook, codes)
    counter = counter or _Counter()
    transposed = np.ascontiguousarray(np.swapaxes(vectors, 0, 1))
    step = max(1, _BLOCK // max(len(vectors), vectors.shape[1]))
    for start in range(0, len(points), step):
        own = chosen[start : start + step]
        block = points[start : start + step].astype(np.float64)
        rivals = _undecided(block, transposed, own)
        counter.comparisons += len(block) * (len(vectors) - 1)
        for row in np.flatnonzero(rivals.any(axis=1)):
            candidates = [int(own[row]), *np.flatnonzero(rivals[row]).tolist()]
            counter.exact += len(candidates) - 1
            nearest, excess = _decide(block[row], vectors, candidates)
            if nearest != own[row]:
                yield Violation(start + int(row), int(own[row]), nearest, excess)


def _undecided(
    block: NDArray[np.float64], transposed: NDArray[np.float64], own: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Mark the rivals (B, K) that float64 cannot prove to be farther than the chosen code."""
    dim = len(transposed)
    total = np.zeros((len(block), transposed.shape[1]))
    difference = np.empty_like(total)
    with np.errstate(over="ignore", under="ignore"):
        for d in range(dim):
            np.subtract(block[:, d, None], transposed[d], out=difference)
            np.multiply(difference, difference, out=difference)
            total += difference
    rows = np.arange(len(block))
    margin, slack = _margin(dim)
    limit = total[rows, own] * (1.0 + margin) + slack
    rivals = ~(total * (1.0 - margin) - slack > limit[:, None])
    rivals[rows, own] = False
    return rivals


def _decide(
    point: NDArray[np.float64], vectors: NDArray[np.float64], candidates: list[int]
) -> tuple[int, Fraction]:
    """Return the lowest nearest candidate and the exact excess of the first one."""
    rows = [point.tolist(), *(vectors[code].tolist() for code in candidates)]
    integers, denominator = _to_integers(rows)
    distances = [squared_l2(integers[0], vector) for vector in integers[1:]]
    least = min(distances)
    nearest = min(c for c, d in zip(candidates, distances, strict=True) if d == least)
    return nearest, Fraction(distances[0] - least, denominator * denominator)


def _to_integers(rows: list[list[float]]) -> tuple[list[tuple[int, ...]], int]:
    ratios = [[value.as_integer_ratio() for value in row] for row in rows]
    denominator = max(bottom for row in ratios for _, bottom in row)
    scaled = [tuple(top * (denominator // bottom) for top, bottom in row) for row in ratios]
    return scaled, denominator


def _margin(dim: int) -> tuple[float, float]:
    return 4.0 * (dim + 2) * 2.0**-53, 4.0 * (dim + 2) * 2.0**-1074


def _verify_evidence(assignment: Any, latents: Any, codebook: Any, codes: Any) -> None:
    points, vectors, chosen = _read(latents, codebook, codes)
    decided, claimed = _host(assignment.decided_by), _host(assignment.sqdist)
    for name, array in (("decided_by", decided), ("sqdist", claimed)):
        if array.shape != chosen.shape:
            text = f"{name} must have shape {chosen.shape}, one for each row, got {array.shape}"
            raise ShapeError(text)
    if decided.size and decided.dtype.kind not in "iu":
        text = f"decided_by must be integers, got {decided.dtype}"
        raise DTypeError(text)
    bad = np.flatnonzero((decided < 1) | (decided > 3))
    if bad.size:
        text = f"decided_by must be 1, 2 or 3, got {decided[bad[0]]} at row {bad[0]}"
        raise CertificateError(text)
    step = max(1, _BLOCK // points.shape[1])
    for start in range(0, len(points), step):
        part = slice(start, start + step)
        block = points[part].astype(np.float64)
        row = _wrong_distance(block, vectors[chosen[part]], claimed[part])
        if row is not None:
            text = (
                f"sqdist must be the squared distance, got {claimed[start + row]} "
                f"at row {start + row}"
            )
            raise CertificateError(text)


def _wrong_distance(
    block: NDArray[np.float64], vectors: NDArray[np.float64], claimed: NDArray[Any]
) -> int | None:
    """Return the first row whose claimed squared distance is not the one to its vector."""
    margin, slack = _margin(block.shape[1])
    with np.errstate(all="ignore"):
        computed = ((block - vectors) ** 2).sum(axis=1)
        close = np.abs(claimed - computed) <= margin * computed + slack
    for row in np.flatnonzero(~(close & np.isfinite(computed))).tolist():
        integers, denominator = _to_integers([block[row].tolist(), vectors[row].tolist()])
        exact = Fraction(squared_l2(integers[0], integers[1]), denominator * denominator)
        if not _close(float(claimed[row]), exact, margin):
            return row
    return None


def _close(claimed: float, exact: Fraction, margin: float) -> bool:
    if not math.isfinite(claimed):
        return claimed == math.inf and exact >= Fraction(2) ** 1024 - Fraction(2) ** 970
    return abs(Fraction(claimed) - exact) <= Fraction(margin) * exact + Fraction(2) ** -1075


def _read(
    latents: Any, codebook: Any, codes: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    if (np.array([5e-324]) * np.array([1.0]))[0] == 0.0:
        text = "subnormal numbers must be kept (IEEE 754), but this thread flushes them to zero"
        raise FloatEnvironmentError(text)
    points, vectors, chosen = _floats(latents), _floats(codebook), _host(codes)
    if points.ndim != 2 or vectors.ndim != 2 or points.shape[1] != vectors.shape[1]:
        text = f"latents (N, D) and codebook (K, D) expected, got {points.shape}, {vectors.shape}"
        raise ShapeError(text)
    if 0 in vectors.shape:
        text = f"codebook must have at least one row and one column, got {vectors.shape}"
        raise ShapeError(text)
    if chosen.shape != points.shape[:1] or (chosen.size and chosen.dtype.kind not in "iu"):
        text = f"codes must be {len(points)} integers, got {chosen.dtype} of shape {chosen.shape}"
        raise ShapeError(text)
    for name, array in (("latents", points), ("codebook", vectors)):
        if not np.isfinite(array).all():
            row, column = np.argwhere(~np.isfinite(array))[0].tolist()
            text = f"{name} must be finite, got {array[row, column]} at row {row}, column {column}"
            raise NonFiniteError(text)
    bad = np.flatnonzero((chosen < 0) | (chosen >= len(vectors)))
    if bad.size:
        text = f"codes must lie in range({len(vectors)}), got {chosen[bad[0]]} at row {bad[0]}"
        raise CodeRangeError(text)
    return points, vectors.astype(np.float64), chosen.astype(np.int64)


def _floats(array: Any) -> NDArray[Any]:
    """Read floats of the contract's types as they are, in this thread; bfloat16 as float32."""
    array = getattr(array, "source", array)  # a prepared codebook
    name = str(array.dtype).rpartition(".")[2] if hasattr(array, "dtype") else "float64"
    if hasattr(array, "detach"):
        tensor = array.detach().cpu()
        tensor = tensor.float() if name == "bfloat16" else tensor
        host = tensor.resolve_conj().resolve_neg().numpy()
    else:
        host = np.asarray(array)
        host = host.astype(np.float32) if name == "bfloat16" else host
    if host.dtype.kind != "f" or host.dtype.itemsize > 8 or isinstance(array, np.ma.MaskedArray):
        text = f"latents and codebook must be float64, float32, bfloat16 or float16, got {name}"
        raise DTypeError(text)
    return host


def _host(array: Any) -> NDArray[Any]:
    return np.asarray(array.detach().cpu() if hasattr(array, "detach") else array)
