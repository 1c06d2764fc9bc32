"""Theorems of part F on exact sums and rounded means: why k-means has one answer.

Out: entries of the ledger. Imports lemmas on sums.
"""

from fractions import Fraction
from typing import Any

from certvq.theory._kernel import TREE, Term, Theorem
from certvq.theory._ledger import Instance, Mutant, Statement, proves
from certvq.theory._operators import BOOL, INT, NAT, REAL
from certvq.theory._proof import Proof
from certvq.theory._terms import (
    Function,
    absolute,
    exists,
    fold,
    forall,
    forall_below,
    integer,
    ite,
    leaf,
    nat,
    node,
    real,
    to_int,
    total,
    variables,
    vector,
)

N, p1 = variables(NAT, "N p")
left, right, tree = variables(TREE, "l r t")
v = Function("v", (NAT,), INT)


def occurrences(place: Term, t: Term) -> Term:
    """How often a row occurs among the leaves of a tree."""
    return fold(t, lambda k: ite(k.eq(place), nat(1), nat(0)), lambda s, r: s + r)


def merged(t: Term) -> Term:
    """The sum of the rows' integers, in the order and the brackets of the tree."""
    return fold(t, v, lambda s, r: s + r)


def cut(t: Term) -> Term:
    """The same sum without the rows from N on."""
    return fold(t, lambda k: ite(k < N, v(k), integer(0)), lambda s, r: s + r)


def counted(t: Term) -> Term:
    """The sum over the rows, each as often as it occurs in the tree."""
    return total(N, lambda p: to_int(occurrences(p, t)) * v(p), INT)


def occurs(often: Term, p: Term) -> Term:
    """Row p occurs so often if it is one of the N, and never if it is not."""
    return occurrences(p, tree).eq(ite(p < N, often, nat(0)))


HORDER = ("horder", forall(lambda p: occurs(nat(1), p)))
MERGE = Statement(
    name="exact_sum_merge",
    part="F",
    meaning="Integers have one sum: however the rows are ordered, split into shards and merged, "
    "the result is the sum from the first row to the last, as long as each row occurs once. A "
    "shard's partial sum is a branch of the tree, and a row of another cell counts as 0.",
    latex=r"\text{each } p < N \text{ once in } t \;\Rightarrow\; "
    r"\mathrm{sum}_t(v) = \textstyle\sum_{p<N} v_p,\quad v_p \in \mathbb{Z}",
    hypotheses=(HORDER,),
    conclusion=merged(tree).eq(total(N, v, INT)),
    relied_on_by=("certvq.cluster._sums.CellSums.merge",),
)


def _at_most_once(p: Term) -> Term:
    return occurrences(p, tree) <= ite(p < N, nat(1), nat(0))


def _added(t: Any) -> Instance:
    """Two rows, with the values 1 and 2, and a further one that is none of them."""
    values = {"N": 2, "t": t, "v": lambda p: p + 1, "nats": 3}
    return lambda _: values


_ROWS = tuple(("leaf", p) for p in range(3))


@proves(
    MERGE,
    Mutant("without horder", MERGE.without("horder"), _added(_ROWS[0])),
    Mutant(
        "a row may be missing",
        MERGE.with_hypothesis("horder", forall(_at_most_once)),
        _added(_ROWS[1]),
    ),
    Mutant(
        "a row may occur twice",
        MERGE.with_hypothesis("horder", forall_below(N, lambda p: nat(1) <= occurrences(p, tree))),
        _added(("node", ("node", _ROWS[0], _ROWS[1]), _ROWS[1])),
    ),
    Mutant(
        "a row beyond the last may occur",
        MERGE.with_hypothesis("horder", forall_below(N, lambda p: occurs(nat(1), p))),
        _added(("node", _ROWS[2], ("node", _ROWS[1], _ROWS[0]))),
    ),
)
def sum_merge(p: Proof) -> Theorem:
    once = forall_below(N, lambda q: occurrences(q, tree).eq(1))
    rows = p.widen(HORDER[1], once)
    beyond = p.widen(HORDER[1], _nothing_beyond(tree))
    facts = [p.get(_counts), p.get(_cut_is_whole), p.get(_once_is_plain), rows, beyond]
    return p.smt(MERGE.formula, *facts)


def _counts(p: Proof) -> Theorem:
    """The sum in the order of the tree counts each of the N rows as often as it occurs."""
    (k,) = variables(NAT, "k")
    of_leaf = p.induct(counted(leaf(k)).eq(ite(k < N, v(k), integer(0))), N)
    of_node = p.induct(counted(node(left, right)).eq(counted(left) + counted(right)), N)
    return p.induct_tree(cut(tree).eq(counted(tree)), tree, [of_leaf], [of_node])


def _nothing_beyond(t: Term) -> Term:
    return forall(lambda q: (~(q < N)) >> occurrences(q, t).eq(0))


def _cut_is_whole(p: Proof) -> Theorem:
    """Where no row beyond the last occurs, cutting them off changes nothing."""
    (k,) = variables(NAT, "k")
    whole, join = _nothing_beyond(tree), node(left, right)
    at_leaf = p.at(_nothing_beyond(leaf(k)), k)
    sides = [p.widen(_nothing_beyond(join), _nothing_beyond(side)) for side in (left, right)]
    return p.induct_tree(whole >> merged(tree).eq(cut(tree)), tree, [at_leaf], sides)


def _once_is_plain(p: Proof) -> Theorem:
    """Where each row occurs once, counting it as often changes nothing."""

    def once(end: Term) -> Term:
        return forall_below(end, lambda q: occurrences(q, tree).eq(1))

    shorter, last = p.widen(once(N + 1), once(N)), p.at(once(N + 1), N)
    return p.induct(once(N) >> counted(tree).eq(total(N, v, INT)), N, shorter, last)


# ---- the rounded mean -------------------------------------------------------------------------

count, m1, m2, r, s, f1 = variables(REAL, "count m m2 r s f")
is_float, is_even = Function("float", (REAL,), BOOL), Function("even", (REAL,), BOOL)


def no_farther(mean: Term, value: Term, other: Term) -> Term:
    """The value is no farther from the mean than the other number."""
    return absolute(mean - value) <= absolute(mean - other)


def rounded(mean: Term, value: Term) -> Term:
    """The value is the mean rounded to nearest; where two are nearest, its significand is even."""

    def against(f: Term) -> Term:
        tie = no_farther(mean, f, value) & ~f.eq(value)
        return is_float(f) >> (no_farther(mean, value, f) & (tie >> is_even(value)))

    return is_float(value) & forall(against, REAL)


def between(a: Term, b: Term, c: Term) -> Term:
    """The number c is a float between a and b."""
    return is_float(c) & (a < c) & (c < b)


def apart(a: Term, b: Term) -> Term:
    """Between two floats with even significands lies another float."""
    even = is_float(a) & is_even(a) & is_float(b) & is_even(b)
    return (even & (a < b)) >> exists(lambda c: between(a, b, c), REAL)


total_of_cell = total(N, vector("value"))
HEVEN = ("heven", forall(lambda a: forall(lambda b: apart(a, b), REAL), REAL))
UNIQUE = Statement(
    name="rounded_mean_unique",
    part="F",
    meaning="Whoever divides the exact sum of a cell by its count or weight, and rounds the "
    "quotient correctly, to nearest and even, gets the same float; for any format in which no two "
    "neighbours have even significands.",
    latex=r"0 < w,\; w\,m = w\,m' = \textstyle\sum_p v_p,\; r = \mathrm{rn}(m),\; "
    r"s = \mathrm{rn}(m') \;\Rightarrow\; r = s",
    hypotheses=(
        ("hcount", real(0) < count),
        ("hmean", (count * m1).eq(total_of_cell)),
        ("hagain", (count * m2).eq(total_of_cell)),
        HEVEN,
        ("hr", rounded(m1, r)),
        ("hs", rounded(m2, s)),
    ),
    conclusion=r.eq(s),
    relied_on_by=("certvq.cluster._means.rounded_means",),
)


def nearest_float(mean: Term, value: Term) -> Term:
    """The value is a nearest float, and nothing is said of ties; for mutants."""
    others = forall(lambda f: is_float(f) >> no_farther(mean, value, f), REAL)
    return is_float(value) & others


def _integers(held: str, *, odd_too: bool = False) -> Instance:
    """Floats 0, 1 and 2 with given values of count, m, m2, r, s and of the sum of one row."""
    names = ("count", "m", "m2", "r", "s")
    *numbers, row = (Fraction(word) for word in held.split())
    values: dict[str, Any] = dict(zip(names, numbers, strict=True))
    values |= {"N": 1, "value": lambda _: row, "trees": tuple(map(Fraction, range(3)))}
    values["float"] = lambda x: x in values["trees"]
    values["even"] = lambda x: odd_too or x % 2 == 0
    return lambda _: values


_tie = "2 1/2 1/2"
_wrong_r, _wrong_s = _integers(f"{_tie} 1 0 1"), _integers(f"{_tie} 0 1 1")


@proves(
    UNIQUE,
    Mutant("without hcount", UNIQUE.without("hcount"), _integers("0 0 1 0 1 0")),
    Mutant("without hmean", UNIQUE.without("hmean"), _integers("1 0 1 0 1 1")),
    Mutant("without hagain", UNIQUE.without("hagain"), _integers("1 1 0 1 0 1")),
    Mutant("without heven", UNIQUE.without("heven"), _integers(f"{_tie} 0 1 1", odd_too=True)),
    Mutant("without hr", UNIQUE.without("hr"), _wrong_r),
    Mutant("without hs", UNIQUE.without("hs"), _wrong_s),
    Mutant("ties of r anyhow", UNIQUE.with_hypothesis("hr", nearest_float(m1, r)), _wrong_r),
    Mutant("ties of s anyhow", UNIQUE.with_hypothesis("hs", nearest_float(m2, s)), _wrong_s),
)
def mean_unique(p: Proof) -> Theorem:
    facts = [_split(p, r, s), _split(p, s, r), p.smt((~r.eq(s)) >> ((r < s) | (s < r)))]
    return p.smt(UNIQUE.formula, *facts)


def _split(p: Proof, low: Term, high: Term) -> Theorem:
    """Two values that both round one mean, and differ, leave no float between them."""
    given = UNIQUE.formula.args[0] & (low < high)
    seen = [p.at(rounded(m, value).args[1], other) for m, value, other in _pairs(low, high)]
    middle = [p.at(rounded(m, value).args[1], f1) for m, value, _ in _pairs(low, high)]
    none = p.smt(given >> ~between(low, high, f1), *seen, *middle, p.get(_same_mean))
    first = p.at(HEVEN[1], low)
    second = p.at(first.formula.args[1], high)
    facts = [*seen, p.get(_same_mean), p.every(none, f1), first, second]
    return p.smt(UNIQUE.formula.args[0] >> ~(low < high), *facts)


def _pairs(low: Term, high: Term) -> tuple[tuple[Term, Term, Term], ...]:
    mean_of = {r: m1, s: m2}
    return (mean_of[low], low, high), (mean_of[high], high, low)


def _same_mean(p: Proof) -> Theorem:
    """A sum has one quotient by a positive number."""
    (whole,) = variables(REAL, "whole")
    given = (real(0) < count) & (count * m1).eq(whole) & (count * m2).eq(whole)
    return p.use(p.smt(given >> m1.eq(m2)), whole=total_of_cell)
