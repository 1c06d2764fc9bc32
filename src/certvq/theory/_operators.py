"""Not trusted: Python's operators on terms, so that statements read as they are said.

In: operands. Out: terms; ints and fractions become numerals of the other operand's sort. A formula
is judged by what it says, not by how it was written. Must not import anything of certvq.
"""

from fractions import Fraction
from typing import Any

NAT, INT, REAL, BOOL = "Nat", "Int", "Real", "Bool"


class Operators:
    """What `Term` inherits: `+ - * / <= <`, `eq`, and `& | ~ >>` for and, or, not, implies."""

    sort: str
    args: tuple[Any, ...]

    def _binary(self, op: str, other: Any, sort: str = "") -> Any:
        build: Any = type(self)
        right = numeral_or_term(self, other)
        if right.sort != self.sort or (op in ("-", "/") and self.sort == NAT):
            raise TypeError(f"{op} of {self.sort} and {right.sort}")
        return build(op, (self, right), sort or self.sort)

    def __add__(self, other: Any) -> Any:
        return self._binary("+", other)

    def __sub__(self, other: Any) -> Any:
        return self._binary("-", other)

    def __mul__(self, other: Any) -> Any:
        return self._binary("*", other)

    def __truediv__(self, other: Any) -> Any:
        return self._binary("/", other)

    def __radd__(self, other: Any) -> Any:
        return numeral(type(self), other, self.sort) + self

    def __rsub__(self, other: Any) -> Any:
        return numeral(type(self), other, self.sort) - self

    def __rmul__(self, other: Any) -> Any:
        return numeral(type(self), other, self.sort) * self

    def __neg__(self) -> Any:
        return 0 - self

    def __le__(self, other: Any) -> Any:
        return self._binary("<=", other, BOOL)

    def __lt__(self, other: Any) -> Any:
        return self._binary("<", other, BOOL)

    def __ge__(self, other: Any) -> Any:
        return numeral_or_term(self, other) <= self

    def __gt__(self, other: Any) -> Any:
        return numeral_or_term(self, other) < self

    def eq(self, other: Any) -> Any:
        """Return the formula that the two are equal."""
        return self._binary("=", other, BOOL)

    def __and__(self, other: Any) -> Any:
        return self._binary("and", other)

    def __or__(self, other: Any) -> Any:
        return self._binary("or", other)

    def __rshift__(self, other: Any) -> Any:
        return self._binary("=>", other)

    def __invert__(self) -> Any:
        build: Any = type(self)
        return build("not", (self,))


def numeral_or_term(term: Operators, other: Any) -> Any:
    """Return a term as it is, and a number as a numeral of the other term's sort."""
    return other if isinstance(other, Operators) else numeral(type(term), other, term.sort)


def numeral(build: Any, value: int | Fraction, sort: str) -> Any:
    """Return a numeral as a term; a Nat is at least 0, and only a Real may be a fraction."""
    exact = Fraction(value)
    if (sort == NAT and exact < 0) or (sort != REAL and exact.denominator != 1):
        raise TypeError(f"{value} is no {sort}")
    return build("num", (), sort, str(exact))
