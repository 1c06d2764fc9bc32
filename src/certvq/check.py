"""The independent checker: does an assignment satisfy the specification?

In: codes, latents and a codebook, from anywhere. Out: every row where a code is not the lowest
nearest one, decided by exact arithmetic. It knows nothing of the kernels: it discards a rival only
by a margin that covers every rounding, and decides all others over the integers: in digits of
64-bit ones where these hold the numbers, and otherwise with `certvq.spec.squared_l2`. Of certvq it
may import the specification, the names of errors and `certvq._checker`: a compiled filter of its
own in float32, which leaves the few pairs that float32 cannot decide. Without that it computes
each distance of each pair directly in float64.

The margin of float64: ``t = sum_d fl(fl(z - c)^2)`` has only nonnegative terms, each with at most
D + 2 roundings of relative size ``2**-53``, so ``t`` differs from the true distance by at most the
share ``(D + 2) 2**-53 / (1 - (D + 2) 2**-53)``, and by D times ``2**-1075`` where products
underflow (theorem ``dot_rounding_error_le``). `_margin` is taken four times as large. The radius of
float32 is derived in ``native/checker/rivals.cpp`` from the same theorem.
"""

import heapq
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from typing import Annotated, Any, cast

import numpy as np
from numpy.typing import NDArray

from certvq import _checker
from certvq._checker import Matrix
from certvq._checker._integers import DIGITS, Differences, differences, digit_bits, magnitudes
from certvq._checker._violations import CheckReport, Violation, Violations, columns, joined
from certvq.errors import (
    CertificateError,
    CodeRangeError,
    DTypeError,
    FloatEnvironmentError,
    NonFiniteError,
    ShapeError,
)
from certvq.spec import squared_l2
from certvq.spec._rounded import to_text

_BLOCK = 1 << 17
"""Numbers at a time: 1 MiB of float64, so that memory stays O(N + K D)."""

_FAR_BELOW_INFINITY = 2.0**1022
"""An infinite squared distance is the greater one beside a least one below this: the true one is
above 2**1023, since it overflowed in spite of roundings."""

_Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows and rivals of their codes, in order of rows."""


def verify(
    assignment: Any, latents: Annotated[Any, "N D"], codebook: Annotated[Any, "K D"]
) -> CheckReport:
    """Check each code of an assignment against the specification.

    Args:
        assignment: anything with ``codes`` (N,), ``decided_by`` (N,) and ``sqdist`` (N,); if it has
            ``second`` (N,) and that is not None, these codes are checked, too.
        latents: (N, D) finite floats.
        codebook: (K, D) finite floats.

    Returns:
        A `CheckReport`.

    Raises:
        CertificateError: a code is not the lowest nearest one, a row has no valid evidence, a
            squared distance is not the one to the chosen code vector, or a second code is not the
            lowest nearest one other than the chosen one (-1 if K = 1); names the first row.
        ShapeError, DTypeError, CodeRangeError, NonFiniteError: the arrays do not fit together.
        FloatEnvironmentError: subnormal numbers are flushed to zero in this thread.

    Example:
        >>> import numpy as np, certvq
        >>> z, c = np.array([[0.2], [0.9]]), np.array([[0.0], [1.0]])
        >>> certvq.check.verify(certvq.assign(z, c), z, c)
        CheckReport(rows=2, comparisons=2, exact_comparisons=0)
    """
    counter = _Counter()
    problem = _read(latents, codebook, assignment.codes)
    for violation in _violations(problem, counter):
        text = (
            f"codes must be the lowest nearest ones, but row {violation.row} has code "
            f"{violation.code} where {violation.nearest} is right "
            f"(excess squared distance {to_text(violation.excess)})"
        )
        raise CertificateError(text)
    _verify_evidence(assignment, problem)
    rows, codes = len(problem.codes), len(problem.vectors)
    comparisons = rows * (codes - 1)
    if (second := getattr(assignment, "second", None)) is not None:
        _verify_second(problem, _host(second), counter)
        comparisons += rows * max(codes - 2, 0)
    return CheckReport(rows, comparisons, counter.exact)


class _Counter:
    """Counts exact comparisons; the one mutable thing in this module."""

    def __init__(self) -> None:
        self.exact = 0


@dataclass(frozen=True, eq=False)
class _Problem:
    """Finite latents, a finite codebook, codes in range, and what the compiled filter left.

    If there are codes besides, one a row, the others are to be the nearest ones but for these.
    """

    points: Matrix
    vectors: Annotated[NDArray[np.float64], "K D"]
    codes: Annotated[NDArray[np.int64], " N"]
    found: _checker.Found | None
    besides: NDArray[np.int64] | None = None


def find_violations(
    latents: Annotated[Any, "N D"],
    codebook: Annotated[Any, "K D"],
    codes: Annotated[Any, " N"],
) -> Iterator[Violation]:
    """Yield every row whose code is not the lowest nearest one, in order.

    Args:
        latents: (N, D) finite floats.
        codebook: (K, D) finite floats.
        codes: (N,) integers in ``range(K)``.

    Raises:
        ShapeError, CodeRangeError, NonFiniteError, FloatEnvironmentError: as `verify`.

    Cost: O(N K D) time, in float32 where the filter was compiled, O(N + K D) memory.
    """
    yield from _violations(_read(latents, codebook, codes), _Counter())


def all_violations(
    latents: Annotated[Any, "N D"],
    codebook: Annotated[Any, "K D"],
    codes: Annotated[Any, " N"],
) -> Violations:
    """Return all violations at once, as arrays; see `find_violations`.

    Args:
        latents: (N, D) finite floats.
        codebook: (K, D) finite floats.
        codes: (N,) integers in ``range(K)``.

    Returns:
        A `Violations`.

    Raises:
        ShapeError, CodeRangeError, NonFiniteError, FloatEnvironmentError: as `verify`.

    Example:
        >>> import numpy as np
        >>> len(all_violations(np.array([[0.2]]), np.array([[0.0], [1.0]]), np.array([1])))
        1
    """
    problem = _read(latents, codebook, codes)
    nothing = _no_violations(problem.vectors.shape[1])
    return joined([nothing, *chain.from_iterable(_streams(problem, _Counter()))])


def _violations(problem: _Problem, counter: _Counter) -> Iterator[Violation]:
    streams = map(chain.from_iterable, _streams(problem, counter))
    return heapq.merge(*streams, key=lambda violation: violation.row)


def _streams(problem: _Problem, counter: _Counter) -> tuple[Iterator[Violations], ...]:
    """Return the violations in parts: of rows that the filter decided, and of the others."""
    found = problem.found
    left = np.arange(len(problem.codes)) if found is None else found.given_up
    slow = (_decided(problem, pairs, counter) for pairs in _pairs_of(problem, left))
    if found is None:
        return (slow,)
    step = max(1, _BLOCK // problem.vectors.shape[1])
    parts = _whole_rows(found.rows, found.rivals, step)
    return (_decided(problem, pairs, counter) for pairs in parts), slow


def _whole_rows(rows: NDArray[np.int64], rivals: NDArray[np.int64], step: int) -> Iterator[_Pairs]:
    """Cut pairs into parts of about `step` that split no row."""
    start = 0
    while start < len(rows):
        last = int(rows[min(start + step, len(rows)) - 1])
        end = int(np.searchsorted(rows, last, side="right"))
        yield rows[start:end], rivals[start:end]
        start = end


def _pairs_of(problem: _Problem, rows: NDArray[np.int64]) -> Iterator[_Pairs]:
    """Yield, block by block, the pairs of these rows that may hold a nearest code."""
    transposed = np.ascontiguousarray(np.swapaxes(problem.vectors, 0, 1))
    step = max(1, _BLOCK // max(problem.vectors.shape))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        besides = None if problem.besides is None else problem.besides[part]
        rivals = _undecided(problem.points.float64(part), transposed, problem.codes[part], besides)
        row, rival = np.nonzero(rivals)
        yield part[row], rival


def _undecided(
    block: NDArray[np.float64],
    transposed: NDArray[np.float64],
    own: NDArray[np.int64],
    besides: NDArray[np.int64] | None,
) -> NDArray[np.bool_]:
    """Mark the rivals (B, K) that float64 cannot prove to be farther than the best code.

    The codes besides are no rivals, and not the best code.
    """
    rows = np.arange(len(block))
    dim = len(transposed)
    total = np.zeros((len(block), transposed.shape[1]))
    difference = np.empty_like(total)
    with np.errstate(over="ignore", under="ignore"):
        for d in range(dim):
            np.subtract(block[:, d, None], transposed[d], out=difference)
            np.multiply(difference, difference, out=difference)
            total += difference
        if besides is not None:
            total[rows, besides] = np.inf
        rivals = ~_is_farther(total, total.min(axis=1, keepdims=True), dim)
    rivals[rows, own] = False
    if besides is not None:
        rivals[rows, besides] = False
    return rivals


def _is_farther(
    computed: NDArray[np.float64], least: NDArray[np.float64], dim: int
) -> NDArray[np.bool_]:
    """Say where one computed squared distance proves to be greater than the other.

    A computed distance of infinity is at least almost the greatest float.
    """
    margin, slack = _margin(dim)
    with np.errstate(over="ignore", under="ignore"):
        apart = computed * (1.0 - margin) - slack > least * (1.0 + margin) + slack
    return apart & (np.isfinite(computed) | (least < _FAR_BELOW_INFINITY))


def _decided(problem: _Problem, pairs: _Pairs, counter: _Counter) -> Violations:
    """Decide the rows of some pairs, by float64 where that is enough, and otherwise exactly."""
    kept = _still_open(problem, pairs)
    rows, rivals = pairs[0][kept], pairs[1][kept]
    counter.exact += len(rows)
    compared = _compare(problem, rows, rivals)
    # of each row the last is the nearest rival, of the lowest index
    order = np.lexsort((-rivals, *columns(compared.digits), rows))
    last = order[np.flatnonzero(np.diff(rows, append=-1))]
    unknown = np.unique(rows[~compared.known])
    digits, nearest, own = compared.digits[last], rivals[last], problem.codes[rows[last]]
    less = digits[:, 0] < 0
    wrong = (digits.any(axis=1) & ~less) | (~digits.any(axis=1) & (nearest < own))
    wrong &= ~np.isin(rows[last], unknown)
    last = last[wrong]
    found = Violations(
        rows[last],
        own[wrong],
        nearest[wrong],
        digits[wrong],
        compared.exponent[last],
        compared.bits,
        {},
    )
    if not unknown.size:
        return found
    few = np.isin(rows, unknown)
    return joined([found, _decided_large(problem, rows[few], rivals[few])])


def _decided_large(
    problem: _Problem, rows: NDArray[np.int64], rivals: NDArray[np.int64]
) -> Violations:
    """Decide rows one by one, in integers of any length."""
    found: list[Violation] = []
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    for row, group in zip(rows[starts].tolist(), np.split(rivals, starts[1:]), strict=False):
        own = int(problem.codes[row])
        point = problem.points.float64(np.array([row]))[0]
        nearest, excess = _decide(point, problem.vectors, [own, *group.tolist()])
        if nearest != own:
            found.append(Violation(row, own, nearest, excess))
    columns = [
        np.array([getattr(v, n) for v in found], np.int64) for n in ("row", "code", "nearest")
    ]
    nothing = _no_violations(problem.vectors.shape[1])
    return replace(
        nothing,
        rows=columns[0],
        codes=columns[1],
        nearest=columns[2],
        digits=np.zeros((len(found), DIGITS), dtype=np.int64),
        exponents=np.zeros(len(found), dtype=np.int64),
        large={violation.row: violation.excess for violation in found},
    )


def _no_violations(dim: int) -> Violations:
    none = np.zeros(0, dtype=np.int64)
    return Violations(none, none, none, np.zeros((0, DIGITS), np.int64), none, digit_bits(dim), {})


def _still_open(problem: _Problem, pairs: _Pairs) -> NDArray[np.bool_]:
    """Mark the pairs that float64 and bitwise equality do not prove to be right."""
    rows, rivals = pairs
    marks = np.zeros(len(rows), dtype=np.bool_)
    for part in _parts(problem, rows):
        block, vectors, others = _numbers(problem, rows[part], rivals[part])
        dim = block.shape[1]
        farther = _is_farther(_squared(block, others), _squared(block, vectors), dim)
        later = rivals[part] > problem.codes[rows[part]]
        marks[part] = ~(farther | (vectors == others).all(axis=1) & later)
    return marks


def _compare(problem: _Problem, rows: NDArray[np.int64], rivals: NDArray[np.int64]) -> Differences:
    """Subtract the squared distance to each rival from that to the code of its row, exactly."""
    magnitude = np.zeros(len(rows), dtype=np.int64)
    for part in _parts(problem, rows):
        magnitude[part] = magnitudes(*_numbers(problem, rows[part], rivals[part]))
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    if starts.size:  # differences of one row shall have one unit
        most = np.maximum.reduceat(magnitude, starts)
        magnitude = np.repeat(most, np.diff(starts, append=len(rows)))
    dim = problem.vectors.shape[1]
    known = np.zeros(len(rows), dtype=np.bool_)
    digits = np.zeros((len(rows), DIGITS), dtype=np.int64)
    exponent = np.zeros(len(rows), dtype=np.int64)
    for part in _parts(problem, rows):
        found = differences(*_numbers(problem, rows[part], rivals[part]), magnitude[part])
        known[part], digits[part], exponent[part] = found.known, found.digits, found.exponent
    return Differences(known, digits, exponent, digit_bits(dim))


def _parts(problem: _Problem, rows: NDArray[np.int64]) -> list[slice]:
    step = max(1, _BLOCK // problem.vectors.shape[1])
    return [slice(start, start + step) for start in range(0, len(rows), step)]


def _numbers(
    problem: _Problem, rows: NDArray[np.int64], rivals: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the points of some pairs, the vectors of their codes and those of the rivals."""
    own = problem.vectors[problem.codes[rows]]
    return problem.points.float64(rows), own, problem.vectors[rivals]


def _squared(
    block: Annotated[NDArray[np.float64], "P D"], vectors: Annotated[NDArray[np.float64], "P D"]
) -> Annotated[NDArray[np.float64], " P"]:
    with np.errstate(over="ignore", under="ignore"):
        difference = block - vectors
        return np.einsum("nd,nd->n", difference, difference)


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


def _verify_second(problem: _Problem, second: NDArray[Any], counter: _Counter) -> None:
    """Check the nearest codes besides those of the problem, which are right."""
    rows, codes = problem.codes.shape, len(problem.vectors)
    if second.shape != rows or (second.size and second.dtype.kind not in "iu"):
        text = f"second must be {rows[0]} integers, got {second.dtype} of shape {second.shape}"
        raise ShapeError(text)
    fits = (second >= 0) & (second < codes) if codes > 1 else second == -1
    bad = np.flatnonzero(~fits)
    if bad.size:
        allowed = f"lie in range({codes})" if codes > 1 else "be -1 where there is one code"
        text = f"second must {allowed}, got {second[bad[0]]} at row {bad[0]}"
        raise CodeRangeError(text)
    bad = np.flatnonzero(second == problem.codes)
    if bad.size:
        text = f"second must differ from the code, got {second[bad[0]]} for both at row {bad[0]}"
        raise CertificateError(text)
    if codes < 2:
        return
    own = second.astype(np.int64)
    found = _checker.find_rivals(
        problem.points, Matrix(problem.vectors), own, besides=problem.codes
    )
    if found is not None:
        found = _with_equals(problem, own, found)
    besides = _Problem(problem.points, problem.vectors, own, found, problem.codes)
    for violation in _violations(besides, counter):
        text = (
            f"second must be the lowest nearest code other than the first, but row {violation.row} "
            f"has {violation.code} where {violation.nearest} is right "
            f"(excess squared distance {to_text(violation.excess)})"
        )
        raise CertificateError(text)


def _with_equals(
    problem: _Problem, second: NDArray[np.int64], found: _checker.Found
) -> _checker.Found:
    """Add what the filter left out: the next vector that equals that of the code besides.

    The code besides is the lowest nearest one, and therefore the first of the vectors that equal
    its own.
    """
    first: NDArray[np.int64]
    kinds: NDArray[np.int64]
    _, first, kinds = np.unique(
        problem.vectors + 0.0, axis=0, return_index=True, return_inverse=True
    )
    kinds = np.ravel(kinds)
    later = np.setdiff1d(np.arange(len(problem.vectors)), first)[::-1]
    following = np.full(len(first), -1)
    following[kinds[later]] = later  # the lowest index is written last
    rivals = following[kinds[problem.codes]]
    rows = np.flatnonzero((rivals >= 0) & (rivals != second))
    rows = np.setdiff1d(rows, found.given_up)
    all_rows = np.concatenate([found.rows, rows])
    order = np.argsort(all_rows, kind="stable")
    all_rivals = np.concatenate([found.rivals, rivals[rows]])
    return replace(found, rows=all_rows[order], rivals=all_rivals[order])


def _verify_evidence(assignment: Any, problem: _Problem) -> None:
    decided, claimed = _host(assignment.decided_by), _host(assignment.sqdist)
    for name, array in (("decided_by", decided), ("sqdist", claimed)):
        if array.shape != problem.codes.shape:
            text = (
                f"{name} must have shape {problem.codes.shape}, one for each row, got {array.shape}"
            )
            raise ShapeError(text)
    if decided.size and decided.dtype.kind not in "iu":
        text = f"decided_by must be integers, got {decided.dtype}"
        raise DTypeError(text)
    bad = np.flatnonzero((decided < 1) | (decided > 3))
    if bad.size:
        text = f"decided_by must be 1, 2 or 3, got {decided[bad[0]]} at row {bad[0]}"
        raise CertificateError(text)
    row = _wrong_distance(problem, claimed)
    if row is not None:
        text = f"sqdist must be the squared distance, got {claimed[row]} at row {row}"
        raise CertificateError(text)


def _wrong_distance(problem: _Problem, claimed: NDArray[Any]) -> int | None:
    """Return the first row whose claimed squared distance is not the one to its vector."""
    margin, slack = _margin(problem.vectors.shape[1])
    computed = _distances(problem)
    with np.errstate(all="ignore"):
        close = np.abs(claimed - computed) <= margin * computed + slack
    for row in np.flatnonzero(~(close & np.isfinite(computed))).tolist():
        point = problem.points.float64(np.array([row]))[0]
        vector = problem.vectors[problem.codes[row]]
        integers, denominator = _to_integers([point.tolist(), vector.tolist()])
        exact = Fraction(squared_l2(integers[0], integers[1]), denominator * denominator)
        if not _close(float(claimed[row]), exact, margin):
            return row
    return None


def _distances(problem: _Problem) -> NDArray[np.float64]:
    """Return the squared distance of each row to its code vector, as float64 computes it."""
    if problem.found is not None:
        return problem.found.sqdist
    computed = np.empty(len(problem.codes))
    step = max(1, _BLOCK // problem.vectors.shape[1])
    for start in range(0, len(computed), step):
        part = slice(start, start + step)
        vectors = problem.vectors[problem.codes[part]]
        computed[part] = _squared(problem.points.float64(part), vectors)
    return computed


def _close(claimed: float, exact: Fraction, margin: float) -> bool:
    if not math.isfinite(claimed):
        return claimed == math.inf and exact >= Fraction(2) ** 1024 - Fraction(2) ** 970
    return abs(Fraction(claimed) - exact) <= Fraction(margin) * exact + Fraction(2) ** -1075


def _read(
    latents: Annotated[Any, "N D"],
    codebook: Annotated[Any, "K D"],
    codes: Annotated[Any, " N"],
) -> _Problem:
    if (np.array([5e-324]) * np.array([1.0]))[0] == 0.0:
        text = "subnormal numbers must be kept (IEEE 754), but this thread flushes them to zero"
        raise FloatEnvironmentError(text)
    points, vectors, chosen = _floats(latents), _floats(codebook), _host(codes)
    shape, of_codes = points.host.shape, vectors.host.shape
    if len(shape) != 2 or len(of_codes) != 2 or shape[1] != of_codes[1]:
        text = f"latents (N, D) and codebook (K, D) expected, got {shape}, {of_codes}"
        raise ShapeError(text)
    if 0 in of_codes:
        text = f"codebook must have at least one row and one column, got {of_codes}"
        raise ShapeError(text)
    if chosen.shape != shape[:1] or (chosen.size and chosen.dtype.kind not in "iu"):
        text = f"codes must be {len(points)} integers, got {chosen.dtype} of shape {chosen.shape}"
        raise ShapeError(text)
    exact = vectors.float64()
    _require_finite(exact, "codebook", np.arange(len(exact)))
    bad = np.flatnonzero((chosen < 0) | (chosen >= len(vectors)))
    own = chosen.astype(np.int64)
    found = None if bad.size else _checker.find_rivals(points, vectors, own)
    # rows that are not finite are among those given up
    left = np.arange(len(points)) if found is None else found.given_up
    for start in range(0, len(left), _BLOCK):
        part = left[start : start + _BLOCK]
        _require_finite(points.float64(part), "latents", part)
    if bad.size:
        text = f"codes must lie in range({len(vectors)}), got {chosen[bad[0]]} at row {bad[0]}"
        raise CodeRangeError(text)
    return _Problem(points, exact, own, found)


def _require_finite(array: NDArray[np.float64], name: str, rows: NDArray[np.int64]) -> None:
    finite = np.isfinite(array)
    if not finite.all():
        row, column = np.argwhere(~finite)[0].tolist()
        text = (
            f"{name} must be finite, got {array[row, column]} at row {rows[row]}, column {column}"
        )
        raise NonFiniteError(text)


def _floats(array: Any) -> Matrix:
    """Read floats of the contract's types as they are, in this thread."""
    array = getattr(array, "source", array)  # a prepared codebook
    _require_numbers(array)
    name = str(array.dtype).rpartition(".")[2] if hasattr(array, "dtype") else "float64"
    brain = name == "bfloat16"
    if hasattr(array, "detach"):
        tensor = _plain(array)
        host: NDArray[Any] = _checker.bits(tensor) if brain else tensor.numpy()
    else:
        host = _checker.bits(array) if brain else np.asarray(array)
    wide = host.dtype.kind != "f" or host.dtype.itemsize > 8
    if (wide and not brain) or isinstance(array, np.ma.MaskedArray):
        name = "object" if host.dtype.kind == "O" else name
        text = f"latents and codebook must be float64, float32, bfloat16 or float16, got {name}"
        raise DTypeError(text)
    return Matrix(host, brain)


def _require_numbers(array: Any) -> None:
    if not hasattr(array, "detach"):
        return
    kind = "nested" if array.is_nested else "quantized" if array.is_quantized else str(array.layout)
    if kind != "torch.strided" or array.is_meta:
        text = f"tensors must be dense and have numbers, got a {kind} one on {array.device}"
        raise DTypeError(text)
    own = cast("Any", type(array))
    plain: Any = sys.modules["torch"].Tensor
    if own.__torch_dispatch__ is not plain.__torch_dispatch__:
        text = f"tensors must be dense and have numbers, got a {own.__name__} one"
        raise DTypeError(text)


def _plain(tensor: Any) -> Any:
    """Return a tensor on the host, whose memory holds its numbers.

    Where FSDP is at work it is a copy: FSDP may have to free the memory, which NumPy would hold.
    """
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    shards = "torch.distributed.fsdp" in sys.modules
    shards = shards and sys.modules["torch"].distributed.is_initialized()
    return plain.clone() if shards else plain


def _host(array: Any) -> NDArray[Any]:
    _require_numbers(array)
    if hasattr(array, "detach"):
        array = _plain(array)
        array = array.float() if array.is_floating_point() and array.itemsize < 4 else array
    return np.asarray(array)
