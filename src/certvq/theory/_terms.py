"""Words to write statements with: variables, functions, quantifiers, sums and recursions.

In: names, and Python functions that stand for bodies. Out: terms. Not trusted. Must not import
anything of certvq but the kernel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from certvq.theory._kernel import LEAF, NODE, TREE, Term, fresh
from certvq.theory._operators import INT, NAT, REAL, numeral

Vector = Callable[[Any], Any]
"""A function from Nat to Real: a `Function` or a Python function of terms."""


@dataclass(frozen=True)
class Function:
    """A function symbol; calling it makes a term."""

    name: str
    sorts: tuple[str, ...]
    sort: str

    def __call__(self, *args: Any) -> Term:
        given = tuple(
            arg if isinstance(arg, Term) else numeral(Term, arg, sort)
            for arg, sort in zip(args, self.sorts, strict=True)
        )
        if tuple(arg.sort for arg in given) != self.sorts:
            raise TypeError(f"{self.name} takes {self.sorts}, came {[a.sort for a in given]}")
        return Term("app", given, self.sort, self.name)


def variables(sort: str, names: str) -> list[Term]:
    """Return variables of one sort, named in a string with spaces."""
    return [Term("var", (), sort, name) for name in names.split()]


def vector(name: str) -> Function:
    """Return a function symbol Nat -> Real."""
    return Function(name, (NAT,), REAL)


def real(value: int | Fraction) -> Term:
    """Return a real numeral."""
    return numeral(Term, value, REAL)


def nat(value: int) -> Term:
    """Return a numeral of sort Nat."""
    return numeral(Term, value, NAT)


def integer(value: int) -> Term:
    """Return a numeral of sort Int."""
    return numeral(Term, value, INT)


def to_real(term: Term) -> Term:
    """Return a Nat or Int as a real number."""
    return Term("to_real", (term,), REAL)


def to_int(term: Term) -> Term:
    """Return a Nat as an Int."""
    return Term("to_int", (term,), INT)


def ite(condition: Term, then: Term, otherwise: Term) -> Term:
    """Return `then` where the condition holds, else `otherwise`."""
    return Term("ite", (condition, then, otherwise), then.sort)


def conj(first: Term, *others: Term) -> Term:
    """Return the conjunction."""
    for other in others:
        first = first & other
    return first


def forall(body: Callable[[Term], Term], sort: str = NAT) -> Term:
    """Return: for all values of a sort, the body."""
    variable = fresh(sort)
    return Term("forall", (body(variable),), bound=(variable,))


def forall_below(bound: Term, body: Callable[[Term], Term]) -> Term:
    """Return: for all k < bound, the body."""
    return forall(lambda k: (k < bound) >> body(k))


def exists(body: Callable[[Term], Term], sort: str = NAT) -> Term:
    """Return: for some value of a sort, the body."""
    return ~forall(lambda k: ~body(k), sort)


def exists_below(bound: Term, body: Callable[[Term], Term]) -> Term:
    """Return: for some k < bound, the body."""
    return ~forall_below(bound, lambda k: ~body(k))


def recursion(n: Term, start: Term, step: Callable[[Term, Term], Term]) -> Term:
    """Return the value at n of the function with value `start` at 0 and `step(k, it)` at k + 1."""
    place, value = fresh(NAT), fresh(start.sort)
    return Term("rec", (n, start, step(place, value)), start.sort, bound=(place, value))


def total(n: Term, body: Vector, sort: str = REAL) -> Term:
    """Return the sum over k < n of the body."""
    return recursion(n, numeral(Term, 0, sort), lambda k, value: value + body(k))


def power(base: Term, n: Term) -> Term:
    """Return the n-th power."""
    return recursion(n, real(1), lambda _, value: value * base)


def fold(
    tree: Term, at_leaf: Callable[[Term], Term], at_node: Callable[[Term, Term], Term]
) -> Term:
    """Return the value of a recursion over a tree."""
    k = fresh(NAT)
    first = at_leaf(k)
    left, right = fresh(first.sort), fresh(first.sort)
    args = (tree, first, at_node(left, right))
    return Term("fold", args, first.sort, bound=(k, left, right))


def abs_le(value: Term, bound: Term) -> Term:
    """Return: the absolute value is at most the bound."""
    return (-bound <= value) & (value <= bound)


def absolute(value: Term) -> Term:
    """Return the absolute value."""
    return ite(0 * value <= value, value, -value)


def as_lambda(function: Callable[..., Any], sorts: tuple[str, ...]) -> Term:
    """Return a Python function of terms as a term that `substitute` takes for a function."""
    bound = tuple(fresh(sort) for sort in sorts)
    body = function(*bound)
    return Term("lambda", (body,), f"to {body.sort}", bound=bound)


leaf = Function(LEAF, (NAT,), TREE)
node = Function(NODE, (TREE, TREE), TREE)
