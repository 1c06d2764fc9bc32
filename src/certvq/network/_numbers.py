"""Two arithmetics without rounding that is not accounted for: rational numbers, and balls.

In: floats. Out: numbers of python-flint, which is imported when one is first made. Must not know
operators.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from threading import Lock
from typing import Any

import numpy as np

from certvq.bounds import SMALLEST
from certvq.errors import BackendUnavailableError

FLINT_LOCK = Lock()
"""python-flint has one precision for all threads of a process."""


def flint() -> Any:
    """Import python-flint.

    Raises:
        BackendUnavailableError: it is not installed.
    """
    try:
        return import_module("flint")
    except ImportError:
        text = (
            "canonical codes need python-flint for the tokens that float64 does not decide, and it "
            "is not installed; pip install 'certvq[canonical]'"
        )
        raise BackendUnavailableError(text) from None


class Numbers(ABC):
    """An arithmetic, whose numbers have ``+ - * /``; comparisons are true only if certain."""

    @abstractmethod
    def number(self, value: float) -> Any:
        """Return a float as the number that it is."""

    @abstractmethod
    def matmul(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Multiply matrices of numbers, (P, K) by (K, N)."""

    @abstractmethod
    def greater(self, left: Any, right: Any) -> Any:
        """Return the greater of two numbers."""

    @abstractmethod
    def choose(self, condition: Any, positive: Callable[[], Any], other: Callable[[], Any]) -> Any:
        """Return the first if a number is positive, else the second, or both if it is uncertain."""

    @abstractmethod
    def nearby(self, value: Any) -> tuple[float, float]:
        """Return a float64 near a number, and a bound on their distance; either may be infinite."""

    @contextmanager
    def working(self) -> Iterator[None]:
        """Set what the arithmetic needs while it works."""
        yield

    def array(self, values: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return floats as numbers where a mask says so."""
        result = np.empty(values.shape, object)
        entries = (self.number(float(each)) for each in values[mask])
        result[mask] = np.fromiter(entries, object, count=int(mask.sum()))
        return result


class Rationals(Numbers):
    """Rational numbers of any size: ties are ties."""

    def number(self, value: float) -> Any:
        """Return a fraction."""
        return flint().fmpq(*float(value).as_integer_ratio())

    def matmul(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Multiply over the rational numbers."""
        return _matmul(flint().fmpq_mat, left, right)

    def greater(self, left: Any, right: Any) -> Any:
        """Compare fractions."""
        return max(left, right)

    def choose(self, condition: Any, positive: Callable[[], Any], other: Callable[[], Any]) -> Any:
        """Never uncertain."""
        return positive() if condition > 0 else other()

    def nearby(self, value: Any) -> tuple[float, float]:
        """Round correctly."""
        try:
            near = int(value.p) / int(value.q)
        except OverflowError:
            return math.inf, math.inf
        return near, abs(near) * 2.0**-53 + SMALLEST


class Balls(Numbers):
    """Balls of Arb: a midpoint and a radius, within which the number certainly is.

    Args:
        precision: bits of a midpoint.

    References:
        Johansson, "Arb: efficient arbitrary-precision midpoint-radius interval arithmetic", 2017.
    """

    def __init__(self, precision: int) -> None:
        self.precision = precision

    @contextmanager
    def working(self) -> Iterator[None]:
        """Compute with the precision."""
        with flint().ctx.workprec(self.precision):
            yield

    def number(self, value: float) -> Any:
        """Return a ball of radius 0."""
        return flint().arb(float(value))

    def matmul(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Multiply with rounding counted."""
        return _matmul(flint().arb_mat, left, right)

    def greater(self, left: Any, right: Any) -> Any:
        """Return a ball that holds the greater number."""
        return left.max(right)

    def choose(self, condition: Any, positive: Callable[[], Any], other: Callable[[], Any]) -> Any:
        """Return a ball that holds both if the condition holds 0 and other numbers."""
        if condition > 0:
            return positive()
        return other() if condition <= 0 else positive().union(other())

    def nearby(self, value: Any) -> tuple[float, float]:
        """Round the midpoint; the bound is rounded outward by far more than a float can err."""
        near = float(value.mid())
        if not math.isfinite(near):
            return math.inf, math.inf
        off = float(abs(value - flint().arb(near)).upper())
        return near, off * (1.0 + 2.0**-40) + SMALLEST


def _matmul(matrix: Any, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    result = np.empty((left.shape[0], right.shape[1]), object)
    product = matrix(*left.shape, list(left.flat)) * matrix(*right.shape, list(right.flat))
    result.reshape(-1)[:] = product.entries()
    return result
