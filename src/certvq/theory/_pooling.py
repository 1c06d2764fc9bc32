"""Theorem of part E on max pooling.

Out: an entry of the ledger. Imports lemmas on sums and the rules of errors.
"""

from collections.abc import Mapping
from typing import Any

from certvq.theory._definitions import row, squared_l2
from certvq.theory._distance import at, n, sq_nonneg, sum_le, y
from certvq.theory._errors import NETWORK, within
from certvq.theory._instances import entries, instance
from certvq.theory._kernel import Term, Theorem
from certvq.theory._layers import T, error, x, xc
from certvq.theory._ledger import Mutant, Statement, proves
from certvq.theory._operators import NAT, REAL
from certvq.theory._proof import Proof
from certvq.theory._terms import (
    Function,
    exists_below,
    forall_below,
    nat,
    real,
    total,
    variables,
    vector,
)

yc, f = vector("yc"), vector("f")
(place,) = variables(NAT, "place")


def is_max(values: Function, greatest: Function, k: Term) -> Term:
    """The entry is the greatest of those at all places."""
    above = forall_below(T, lambda t: values(t, k) <= greatest(k))
    return above & exists_below(T, lambda t: greatest(k).eq(values(t, k)))


def greatest_of(values: Function, greatest: Function) -> Term:
    """Every entry is the greatest."""
    return forall_below(n, lambda k: is_max(values, greatest, k))


squares = total(T, lambda t: error(t) * error(t))
MAXIMUM = Statement(
    name="maximum_error_le",
    part="E",
    meaning="Max pooling: the squared error of the greatest entries is at most the sum of the "
    "squared errors at all places.",
    latex=r"y_k = \max_t x_{t,k},\; |x'_t - x_t| \le e_t \;\Rightarrow\; "
    r"|y' - y|^2 \le \textstyle\sum_t e_t^2",
    hypotheses=(
        ("hmax", greatest_of(x, y)),
        ("hmaxc", greatest_of(xc, yc)),
        ("herr", forall_below(T, lambda t: within(n, row(xc, t), row(x, t), error(t)))),
    ),
    conclusion=squared_l2(n, yc, y) <= squares,
    relied_on_by=NETWORK,
)


def _two_places(unknowns: Any) -> Mapping[str, Any]:
    """Two places of two entries; the first entry counts on the first, the second on the second."""
    held = instance(vectors="y yc", n=2, T=2)(unknowns)
    more: dict[str, Any] = {"error": entries(unknowns, "error", 2)}
    for name in ("x", "xc"):
        first, second = entries(unknowns, f"{name}0", 2), entries(unknowns, f"{name}1", 2)
        more[name] = lambda t, k, first=first, second=second: (first, second)[t](k)
    return {**held, **more}


@proves(
    MAXIMUM,
    *(Mutant(f"without {label}", MAXIMUM.without(label), _two_places) for label in MAXIMUM.labels),
    Mutant(
        "the error of the first place",
        MAXIMUM.concluding(squared_l2(n, yc, y) <= error(nat(0)) * error(nat(0))),
        _two_places,
    ),
    Mutant(
        "half the sum",
        MAXIMUM.concluding(2 * squared_l2(n, yc, y) <= squares),
        _two_places,
    ),
)
def maximum(p: Proof) -> Theorem:
    given = greatest_of(x, y) & greatest_of(xc, yc)
    longer = p.shift(given, n)
    whole = total(T, lambda t: squared_l2(n, row(xc, t), row(x, t)))
    last = total(T, moved(n))
    shrink = [p.widen(p.shift(one, n), one) for one in given.args]
    step = p.smt(longer >> ((yc(n) - y(n)) * (yc(n) - y(n)) <= last), *_last_entry(p))
    grown = p.induct(p.shift(whole, n).eq(whole + last), T)
    none = p.induct(p.replaced(whole, n, nat(0)).eq(0), T)
    by_places = p.induct(given >> (squared_l2(n, yc, y) <= whole), n, *shrink, step, grown, none)
    sums = p.use(
        sum_le,
        n=T,
        f=lambda t: squared_l2(n, row(xc, t), row(x, t)),
        g=lambda t: error(t) * error(t),
    )
    return p.smt(MAXIMUM.formula, by_places, sums)


def moved(k: Term) -> Any:
    """The squared error of an entry at each place."""
    return lambda t: (xc(t, k) - x(t, k)) * (xc(t, k) - x(t, k))


def _last_entry(p: Proof) -> list[Theorem]:
    """The squared error of the last greatest entry is at most the sum over the places."""
    held, held_c = (p.at(p.shift(g, n), n) for g in (greatest_of(x, y), greatest_of(xc, yc)))
    here = is_max(x, y, n) & is_max(xc, yc, n)
    last = total(T, moved(n))
    square = (yc(n) - y(n)) * (yc(n) - y(n))
    one = p.use(_term_le_sum, f=moved(n))
    positive = p.smt(
        here >> ((at < T) >> (real(0) <= moved(n)(at))),
        p.use(sq_nonneg, a=xc(at, n) - x(at, n)),
    )
    terms = [one, p.every(positive, at)]
    order = [p.at(is_max(x, y, n).args[0], place), p.at(is_max(xc, yc, n).args[0], place)]
    a, b = variables(REAL, "a b")
    mono = p.smt(((real(0) <= a) & (a <= b)) >> (a * a <= b * b))
    monos = [
        p.use(mono, a=yc(n) - y(n), b=xc(place, n) - x(place, n)),
        p.use(mono, a=y(n) - yc(n), b=x(place, n) - xc(place, n)),
        p.smt(((a - b) * (a - b)).eq((b - a) * (b - a))),
    ]
    monos += [p.use(monos[2], a=yc(n), b=y(n)), p.use(monos[2], a=xc(place, n), b=x(place, n))]
    found = []
    for values, greatest, which in ((xc, yc, y(n) <= yc(n)), (x, y, yc(n) <= y(n))):
        missing = p.smt(
            (here & which & ~(square <= last))
            >> ((place < T) >> ~greatest(n).eq(values(place, n))),
            *terms,
            *order,
            *monos,
        )
        found.append(p.every(missing, place))
    return [held, held_c, *found]


def _term_le_sum(p: Proof) -> Theorem:
    """A term of a sum of terms that are not negative is at most the sum."""

    def positive(end: Term) -> Term:
        return forall_below(end, lambda t: real(0) <= f(t))

    facts = [p.widen(positive(T + 1), positive(T)), p.at(positive(T + 1), T)]
    nonneg = p.induct(positive(T) >> (real(0) <= total(T, f)), T, *facts)
    equal = p.smt(place.eq(T) >> f(place).eq(f(T)))
    goal = positive(T) >> ((place < T) >> (f(place) <= total(T, f)))
    return p.induct(goal, T, *facts, nonneg, equal)
