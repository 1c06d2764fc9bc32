"""The value of a term in a finite instance: exact on fractions, symbolic on unknowns.

In: a term and the values of its variables and functions. Out: a number, truth value, vector or
tree; a term wherever an unknown matters. With numbers alone, what a definition names is computed by
`certvq.spec`. Must not import the solvers.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from certvq import spec
from certvq.theory._kernel import Term
from certvq.theory._operators import NAT, REAL, numeral
from certvq.theory._terms import Function, ite, nat

Values = Mapping[str, Any]


def evaluate(term: Term, values: Values) -> Any:
    """Return the value of a term.

    Args:
        term: the term.
        values: numbers, Python functions, vectors and trees by name. `nats` is the number of
            naturals, and `trees` the trees, over which quantifiers without a bound run.

    Returns:
        int (Nat, Int), Fraction (Real), bool, a tuple (vector, tree), or a term.
    """
    if term.tag is not None and term.tag[0] in _BY_SPEC and not values.get("symbolic"):
        found = _BY_SPEC[term.tag[0]](values, *term.tag[1])
        if found is not None:
            return found
    if term.op in _BY_OPERATOR:
        return _BY_OPERATOR[term.op](term, values)
    args = [evaluate(arg, values) for arg in term.args]
    if term.op == "app":
        return _function(term.name, values)(*args)
    return _PLAIN[term.op](*args)


def _number(term: Term, _: Values) -> int | Fraction:
    return Fraction(term.name) if term.sort == REAL else int(term.name)


def _function(name: str, values: Values) -> Callable[..., Any]:
    constructors: dict[str, Callable[..., Any]] = {
        "leaf": lambda k: ("leaf", k),
        "node": lambda left, right: ("node", left, right),
    }
    return values[name] if name in values else constructors[name]


def _lazy(term: Term, values: Values) -> Any:
    first = evaluate(term.args[0], values)
    if term.op == "ite":
        if isinstance(first, bool):
            return evaluate(term.args[1 if first else 2], values)
        then, otherwise = (_lifted(evaluate(arg, values), term.sort) for arg in term.args[1:])
        return ite(first, then, otherwise)
    if term.op == "=>":
        first = negation(first)
    absorbing = term.op != "and"
    if first is absorbing:
        return absorbing
    second = evaluate(term.args[1], values)
    if isinstance(first, bool) or second is absorbing:
        return second
    if isinstance(second, bool):
        return first
    return Term("or" if absorbing else "and", (first, second))


def negation(value: Any) -> Any:
    """Return the negation of a truth value or formula."""
    return not value if isinstance(value, bool) else ~value


def _forall(term: Term, values: Values) -> Any:
    (variable,) = term.bound
    body = term.args[0]
    domain: Sequence[Any] = range(values.get("nats", 3))
    if variable.sort != NAT:
        domain = values["trees"]
    elif body.op == "=>" and body.args[0].op == "<" and body.args[0].args[0] == variable:
        end = evaluate(body.args[0].args[1], values)
        domain = range(end) if isinstance(end, int) else domain
    found: Any = True
    for value in domain:
        held = evaluate(body, {**values, variable.name: value})
        if held is False:
            return False
        if held is not True:
            found = held if found is True else found & held
    return found


def _recursive(term: Term, values: Values) -> Any:
    at = evaluate(term.args[0], values)
    names = [variable.name for variable in term.bound]
    if term.op == "rec":
        held = evaluate(term.args[1], values)
        inside = dict(values)
        for place in range(at):
            inside[names[0]], inside[names[1]] = place, held
            held = evaluate(term.args[2], inside)
        return held
    return _fold(term, names, at, values)


def _fold(term: Term, names: list[str], tree: Any, values: Values) -> Any:
    if tree[0] == "leaf":
        return evaluate(term.args[1], {**values, names[0]: tree[1]})
    left, right = (_fold(term, names, side, values) for side in tree[1:])
    return evaluate(term.args[2], {**values, names[1]: left, names[2]: right})


def _lifted(value: Any, sort: str) -> Term:
    return value if isinstance(value, Term) else numeral(Term, value, sort)


def _equal(left: Any, right: Any) -> Any:
    if isinstance(left, bool):
        left, right = right, left
    if not isinstance(left, Term) and not isinstance(right, Term):
        return left == right
    if isinstance(right, bool):
        return left if right else ~left
    return left.eq(right) if isinstance(left, Term) else right.eq(left)


def _divide(left: Any, right: Any) -> Any:
    if isinstance(right, Term):
        raise TypeError("give the divisor of an instance as a number")
    return left * (Fraction(0) if right == 0 else 1 / Fraction(right))


def _to_real(value: Any) -> Any:
    return Term("to_real", (value,), REAL) if isinstance(value, Term) else Fraction(value)


_PLAIN: Final[dict[str, Callable[..., Any]]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _divide,
    "<=": lambda a, b: a <= b,
    "<": lambda a, b: a < b,
    "=": _equal,
    "not": negation,
    "to_real": _to_real,
    "to_int": lambda a: a,
}


_BY_OPERATOR: Final[dict[str, Callable[[Term, Values], Any]]] = {
    "var": lambda term, values: values[term.name],
    "num": _number,
    "forall": _forall,
    "rec": _recursive,
    "fold": _recursive,
    **dict.fromkeys(("=>", "and", "or", "ite"), _lazy),
}


# ---- the same definitions in certvq.spec ------------------------------------------------------


def _vector(values: Values, dim: int, entries: Callable[[Term], Any]) -> tuple[Any, ...]:
    if isinstance(entries, Function):
        return tuple(values[entries.name](k) for k in range(dim))
    return tuple(evaluate(entries(nat(k)), values) for k in range(dim))


def _book(values: Values, dim: int, size: int, book: Callable[..., Any]) -> spec.Codebook:
    rows = (_vector(values, dim, lambda k, j=j: book(nat(j), k)) for j in range(size))
    return spec.Codebook(tuple(rows))


def _metric(function: Callable[..., Any]) -> Callable[..., Any]:
    def compute(values: Values, dim: Term, x: Any, y: Any) -> Any:
        n = evaluate(dim, values)
        return function(_vector(values, n, x), _vector(values, n, y)) if n else None

    return compute


def _nearest(values: Values, dim: Term, size: Term, book: Any, z: Any, code: Term) -> Any:
    n, count, i = (evaluate(term, values) for term in (dim, size, code))
    if n == 0 or i >= count:
        return None
    return spec.is_nearest_code(_book(values, n, count, book), _vector(values, n, z), i)


def _within(values: Values, dim: Term, x: Any, bound: int) -> bool:
    held = _vector(values, evaluate(dim, values), x)
    return all(-bound <= entry <= bound for entry in held)


def _chosen_dot(values: Values, dim: Term, *vectors: Any) -> Any:
    chosen, x, y = (_vector(values, evaluate(dim, values), v) for v in vectors)
    kept = [k for k, wanted in enumerate(chosen) if wanted]
    return spec.dot([x[k] for k in kept], [y[k] for k in kept])


def _argmin(values: Values, size: Term, distances: Any) -> Any:
    held = _vector(values, evaluate(size, values), distances)
    return spec.argmin(held) if held else None


def _two_term(values: Values, *terms: Term) -> Any:
    weight, base, regularizer = (evaluate(term, values) for term in terms)
    return spec.weighted_two_term(weight, spec.WeightedTwoTerm(base, regularizer))


def _three_term(values: Values, *terms: Term) -> Any:
    weight, base, middle, regularizer = (evaluate(term, values) for term in terms)
    return spec.weighted_three_term(weight, spec.WeightedThreeTerm(base, middle, regularizer))


_BY_SPEC: Final[dict[str, Callable[..., Any]]] = {
    "dot": _metric(spec.dot),
    "squared_l2": _metric(spec.squared_l2),
    "mse": _metric(spec.mse),
    "is_nearest_code": _nearest,
    "argmin": _argmin,
    "entries_within": _within,
    "chosen_dot": _chosen_dot,
    "weighted_two_term": _two_term,
    "weighted_three_term": _three_term,
}
