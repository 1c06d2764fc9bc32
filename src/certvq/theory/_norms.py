"""Theorem of part E on matrices: an upper bound of the spectral norm that is quick to compute.

Out: an entry of the ledger. Imports lemmas on sums and the rules of errors.
"""

from collections.abc import Mapping
from typing import Any

from certvq.theory._definitions import dot, row
from certvq.theory._distance import n, sq_nonneg
from certvq.theory._errors import NETWORK, m, product_nonneg
from certvq.theory._instances import instance, rows
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Mutant, Statement, proves
from certvq.theory._objective import mul_mono
from certvq.theory._operators import NAT, REAL
from certvq.theory._products import abs_le_of_sq_le
from certvq.theory._proof import Proof
from certvq.theory._rounding import abs_mul
from certvq.theory._terms import (
    Function,
    absolute,
    forall_below,
    nat,
    real,
    total,
    variables,
    vector,
)

(q,) = variables(NAT, "q")
a, b, more = variables(REAL, "a b more")
v = vector("v")
W = Function("W", (NAT, NAT), REAL)


def row_sum(out: Term) -> Term:
    """The sum of the absolute entries of a row."""
    return total(n, lambda place: absolute(W(out, place)))


def column_sum(place: Term) -> Term:
    """The sum of the absolute entries of a column."""
    return total(m, lambda out: absolute(W(out, place)))


def made(out: Term) -> Term:
    """An entry of the matrix times the vector."""
    return dot(n, row(W, out), v)


length = total(m, lambda out: made(out) * made(out))
NORM = Statement(
    name="operator_norm_le",
    part="E",
    meaning="A matrix makes no vector longer than the root of a b times, where a bounds the sums "
    "of the absolute entries of its rows, and b those of its columns.",
    latex=r"\textstyle\sum_k |W_{qk}| \le a,\; \sum_q |W_{qk}| \le b \;\Rightarrow\; "
    r"|W v|^2 \le a\,b\,|v|^2",
    hypotheses=(
        ("ha0", real(0) <= a),
        ("hrow", forall_below(m, lambda out: row_sum(out) <= a)),
        ("hcolumn", forall_below(n, lambda place: column_sum(place) <= b)),
    ),
    conclusion=length <= a * b * dot(n, v, v),
    relied_on_by=NETWORK,
)


def _matrix(unknowns: Any) -> Mapping[str, Any]:
    held = instance(reals="a b", vectors="v", n=2, m=2)(unknowns)
    return {**held, "W": rows(unknowns, "W", 2, 2)}


def _no_rows(unknowns: Any) -> Mapping[str, Any]:
    return {**_matrix(unknowns), "m": 0}


@proves(
    NORM,
    Mutant("without ha0", NORM.without("ha0"), _no_rows),
    Mutant("without hrow", NORM.without("hrow"), _matrix),
    Mutant("without hcolumn", NORM.without("hcolumn"), _matrix),
    Mutant("a for a b", NORM.concluding(length <= a * dot(n, v, v)), _matrix),
    Mutant(
        "sums with their signs",
        NORM.with_hypothesis(
            "hrow", forall_below(m, lambda out: total(n, lambda place: W(out, place)) <= a)
        ),
        _matrix,
    ),
)
def operator_norm(p: Proof) -> Theorem:
    mono = p.use(mul_mono, a=spread, b=b * dot(n, v, v), c=a)
    return p.smt(NORM.formula, p.get(_by_rows), p.get(_by_columns), mono)


def weighted(out: Term) -> Term:
    """The sum of the squares of the vector, weighted by a row."""
    return total(n, lambda place: absolute(W(out, place)) * (v(place) * v(place)))


spread = total(m, weighted)


def _one_row(p: Proof) -> Theorem:
    """Cauchy and Schwarz, weighted by a row."""
    last = W(q, n)
    step = p.use(
        _one_more, s=made(q), pp=row_sum(q), qq=weighted(q), w=last, u=absolute(last), y=v(n)
    )
    size = p.use(product_nonneg, A=absolute(last), B=v(n) * v(n))
    positive = (real(0) <= row_sum(q)) & (real(0) <= weighted(q))
    goal = positive & (made(q) * made(q) <= row_sum(q) * weighted(q))
    return p.induct(goal, n, step, size, p.use(sq_nonneg, a=v(n)))


def _one_more(p: Proof) -> Theorem:
    """One more term: (s + w y)^2 <= (pp + u) (qq + u y y), where u is the absolute value of w."""
    s, pp, qq, w, u, y = variables(REAL, "s pp qq w u y")
    square = y * y
    given = (real(0) <= pp) & (real(0) <= qq) & (s * s <= pp * qq)
    longer = pp * square + qq
    twice = p.smt(
        given >> (2 * s * y * (2 * s * y) <= longer * longer),
        p.use(mul_mono, a=s * s, b=pp * qq, c=square),
        p.use(sq_nonneg, a=pp * square - qq),
        p.use(sq_nonneg, a=y),
    )
    facts = [
        twice,
        p.use(abs_le_of_sq_le, a=2 * s * y, b=longer),
        p.use(product_nonneg, A=pp, B=square),
        p.use(sq_nonneg, a=y),
        p.use(abs_mul, a=w, b=2 * s * y, c=u, d=longer),
        p.smt(absolute(w).eq(u) >> (w * w).eq(u * u)),
        p.use(p.smt(qq.eq(pp) >> (qq * s).eq(pp * s)), qq=w * w, pp=u * u, s=square),
    ]
    left, right = (s + w * y) * (s + w * y), (pp + u) * (qq + u * square)
    ways = [
        p.smt(left.eq(s * s + w * (2 * s * y) + w * w * square)),
        p.smt(right.eq(pp * qq + u * longer + u * u * square)),
    ]
    return p.smt((given & u.eq(absolute(w))) >> (left <= right), *facts, *ways)


def _by_rows(p: Proof) -> Theorem:
    """The squared length is at most a times the weighted sums of all rows."""

    def bounded(end: Term) -> Term:
        return forall_below(end, lambda out: row_sum(out) <= a)

    facts = [
        p.widen(bounded(m + 1), bounded(m)),
        p.at(bounded(m + 1), m),
        p.use(_one_row, q=m),
        p.use(mul_mono, a=row_sum(m), b=a, c=weighted(m)),
        p.use(p.smt((a * (b + more)).eq(a * b + a * more)), b=spread, more=weighted(m)),
    ]
    return p.induct(bounded(m) >> (length <= a * spread), m, *facts)


def _by_columns(p: Proof) -> Theorem:
    """The weighted sums of all rows are at most b times the squared length of the vector."""

    def bounded(end: Term) -> Term:
        return forall_below(end, lambda place: column_sum(place) <= b)

    square = v(n) * v(n)
    grown = p.induct(p.shift(spread, n).eq(spread + column_sum(n) * square), m)
    facts = [
        p.widen(bounded(n + 1), bounded(n)),
        p.at(bounded(n + 1), n),
        grown,
        p.use(mul_mono, a=column_sum(n), b=b, c=square),
        p.use(sq_nonneg, a=v(n)),
        p.use(p.smt((b * (a + more)).eq(b * a + b * more)), a=dot(n, v, v), more=square),
        p.induct(p.replaced(spread, n, nat(0)).eq(0), m),
    ]
    return p.induct(bounded(n) >> (spread <= b * dot(n, v, v)), n, *facts)
