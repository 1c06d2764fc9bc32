"""What the checker found: rows whose code is not the lowest nearest one.

In: arrays. Out: `Violation`, and many of them as `Violations`. Must not import anything of certvq.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray

_ARRAYS: Final = ("rows", "codes", "nearest", "digits", "exponents")


@dataclass(frozen=True)
class CheckReport:
    """What `verify` checked.

    Attributes:
        rows: rows checked, all of them right.
        comparisons: pairs of row and rival that were compared.
        exact_comparisons: how many of these needed integer arithmetic.
    """

    __module__ = "certvq.check"  # where it is to be had

    rows: int
    comparisons: int
    exact_comparisons: int


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

    __module__ = "certvq.check"  # where it is to be had

    row: int
    code: int
    nearest: int
    excess: Fraction

    @property
    def is_tie(self) -> bool:
        """Whether the distance is right and only the tie was broken otherwise."""
        return self.excess == 0


@dataclass(frozen=True, eq=False, repr=False)
class Violations(Sequence[Violation]):
    """Violations in row order, stored as arrays; a `Violation` is made on access.

    Attributes:
        rows: int64 (V,).
        codes: int64 (V,), as given.
        nearest: int64 (V,).
        digits: int64 (V, 7): of the excess, the most significant first.
        exponents: int64 (V,): of the unit of the last digit, a power of two.
        bits: of a digit.
        large: the excess of rows where it has more digits; those here are 0 then.

    Cost: 88 bytes each.

    Example:
        >>> import numpy as np, certvq
        >>> report = certvq.audit(np.array([[0.2], [0.9]]), np.array([[0.0], [1.0]]), [1, 0])
        >>> found = report.violations
        >>> found.rows.tolist(), len(found), found[1].nearest
        ([0, 1], 2, 1)
    """

    __module__ = "certvq.check"

    rows: NDArray[np.int64]
    codes: NDArray[np.int64]
    nearest: NDArray[np.int64]
    digits: NDArray[np.int64]
    exponents: NDArray[np.int64]
    bits: int
    large: dict[int, Fraction]

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int, /) -> Violation: ...
    @overload
    def __getitem__(self, index: slice, /) -> "Violations": ...
    def __getitem__(self, index: int | slice, /) -> "Violation | Violations":
        """Return one of them, or those of a slice."""
        if isinstance(index, slice):
            return self._take(index)
        row, code, nearest = (int(a[index]) for a in (self.rows, self.codes, self.nearest))
        return Violation(row, code, nearest, self._excess(row, index))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # pyright: ignore[reportAssignmentType] (as a list has it)

    def __repr__(self) -> str:
        return f"Violations({len(self)} of them)"

    @property
    def ties(self) -> NDArray[np.bool_]:
        """Where the distance is right and only the tie was broken otherwise, (V,)."""
        large = np.isin(self.rows, [row for row, excess in self.large.items() if excess])
        return ~(self.digits.any(axis=1) | large)

    def largest(self) -> Fraction:
        """Return the greatest excess, exactly; 0 where there is no violation."""
        some: list[Fraction] = [Fraction(0), *self.large.values()]
        for exponent in np.unique(self.exponents).tolist():
            alike = self.digits[self.exponents == exponent]
            order = np.lexsort(columns(alike))
            some.append(self._value(alike[order[-1]], exponent))
        return max(some)

    def shifted(self, rows: int, later: "Violations") -> "Violations":
        """Return these and later ones, whose rows come after `rows` others."""
        moved = {row + rows: excess for row, excess in later.large.items()}
        return joined([self, replace(later, rows=later.rows + rows, large=moved)])

    def _take(self, index: Any) -> "Violations":
        return replace(self, **{name: getattr(self, name)[index] for name in _ARRAYS})

    def _excess(self, row: int, index: int) -> Fraction:
        large = self.large.get(row)
        if large is not None:
            return large
        return self._value(self.digits[index], int(self.exponents[index]))

    def _value(self, digits: NDArray[np.int64], exponent: int) -> Fraction:
        value = 0
        for digit in digits.tolist():
            value = (value << self.bits) + digit
        return value * Fraction(2) ** exponent


def joined(parts: list[Violations]) -> Violations:
    """Return all violations of some parts, in order of rows."""
    arrays: dict[str, NDArray[np.int64]] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS
    }
    large = dict(chain.from_iterable(part.large.items() for part in parts))
    if (np.diff(arrays["rows"]) < 0).any():
        order = np.argsort(arrays["rows"], kind="stable")
        arrays = {name: array[order] for name, array in arrays.items()}
    return replace(parts[0], **arrays, large=large)


def columns(digits: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the digits of many numbers as keys of `numpy.lexsort`, the least significant first."""
    return [digits[:, place] for place in reversed(range(digits.shape[1]))]
