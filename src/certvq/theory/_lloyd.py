"""Theorem of part F on an iteration of k-means, and what weighted means do to the distortion.

Out: an entry of the ledger, and the split of a distortion at the means. Imports lemmas on sums and
distances.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from certvq.theory._definitions import is_nearest_code, squared_l2
from certvq.theory._distance import C, K, at, n, squared_l2_nonneg, sum_le
from certvq.theory._instances import entries, instance, rows
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Instance, Mutant, Statement, proves
from certvq.theory._objective import mul_mono
from certvq.theory._operators import NAT, REAL
from certvq.theory._proof import Proof
from certvq.theory._terms import (
    Function,
    Vector,
    forall_below,
    ite,
    nat,
    real,
    total,
    variables,
    vector,
)

(N,) = variables(NAT, "N")
codes, next_codes = Function("codes", (NAT,), NAT), Function("next", (NAT,), NAT)
x, M, R = (Function(name, (NAT, NAT), REAL) for name in ("x", "M", "R"))
weight, slack = vector("weight"), vector("slack")
a, m, c, w = (vector(name) for name in ("a", "m", "c", "w"))
Book = Callable[[Any, Any], Any]


def separation(cells: Function, left: Book, right: Book) -> Term:
    """The weighted sum over the points of the squared distances of two vectors of their cells."""

    def at_point(p: Term) -> Term:
        return weight(p) * squared_l2(n, partial(left, cells(p)), partial(right, cells(p)))

    return total(N, at_point)


def distortion(cells: Function, book: Book) -> Term:
    """The weighted sum of the squared distances of all points to the vectors of their cells."""
    return total(N, lambda p: weight(p) * squared_l2(n, partial(x, p), partial(book, cells(p))))


def in_cell(cells: Function, j: Term, value: Vector) -> Term:
    """The sum of a value over the points of cell j."""
    return total(N, lambda p: ite(cells(p).eq(j), value(p), real(0)))


def mean_in(cells: Function, dims: Term) -> Term:
    """Row j of M is the weighted mean of the points of cell j, in the first dimensions."""

    def at_place(j: Term, place: Term) -> Term:
        points = in_cell(cells, j, lambda p: weight(p) * x(p, place))
        return (in_cell(cells, j, weight) * M(j, place)).eq(points)

    return forall_below(K, lambda j: forall_below(dims, partial(at_place, j)))


def below(cells: Function) -> Term:
    """Every point lies in one of the K cells."""
    return forall_below(N, lambda p: cells(p) < K)


# ---- one dimension: points a_p, means m_j, vectors c_j ----------------------------------------


def _deviation(p: Term) -> Term:
    return weight(p) * ((a(p) - m(codes(p))) * w(codes(p)))


def _of_cells_below(j: Term) -> Term:
    return total(N, lambda p: ite(codes(p) < j, _deviation(p), real(0)))


def _means(size: Term) -> Term:
    def is_mean(j: Term) -> Term:
        points = in_cell(codes, j, lambda p: weight(p) * a(p))
        return (in_cell(codes, j, weight) * m(j)).eq(points)

    return forall_below(size, is_mean)


def _deviations_below(p: Proof) -> Theorem:
    """Given the means of the cells below K, the weighted deviations of their points cancel."""
    of_one = in_cell(codes, K, lambda t: weight(t) * ((a(t) - m(K)) * w(K)))
    split = p.induct(_of_cells_below(K + 1).eq(_of_cells_below(K) + of_one), N)
    points = in_cell(codes, K, lambda t: weight(t) * a(t))
    factor = (points - in_cell(codes, K, weight) * m(K)) * w(K)
    of_mean = p.induct(of_one.eq(factor), N)
    none = p.induct(_of_cells_below(nat(0)).eq(0), N)
    longer = p.shift(_means(K), K)
    facts = [split, of_mean, none, p.at(longer, K), p.widen(longer, _means(K))]
    return p.induct(_means(K) >> _of_cells_below(K).eq(0), K, *facts)


def deviations_cancel(p: Proof) -> Theorem:
    """All points lying in cells below K, the weighted deviations of all of them cancel."""
    whole = total(N, _deviation)
    longer = p.shift(below(codes), N)
    facts = [p.widen(longer, below(codes)), p.at(longer, N)]
    same = p.induct(below(codes) >> whole.eq(_of_cells_below(K)), N, *facts)
    return p.smt((below(codes) & _means(K)) >> whole.eq(0), same, p.get(_deviations_below))


def one_dimension(p: Proof) -> Theorem:
    """The distortion of c is that of the means m, and what separates the two."""

    def square(left: Vector, right: Vector) -> Term:
        return total(N, lambda t: weight(t) * ((left(t) - right(t)) * (left(t) - right(t))))

    def mean_at(t: Term) -> Term:
        return m(codes(t))

    def code_at(t: Term) -> Term:
        return c(codes(t))

    cross = total(N, lambda t: weight(t) * ((a(t) - mean_at(t)) * (mean_at(t) - code_at(t))))
    parts = square(a, mean_at) + square(mean_at, code_at)
    whole = p.induct(square(a, code_at).eq(parts + 2 * cross), N)
    none = p.use(deviations_cancel, w=lambda j: m(j) - c(j))
    return p.smt((below(codes) & _means(K)) >> square(a, code_at).eq(parts), whole, none)


# ---- all dimensions ---------------------------------------------------------------------------


def _split_last(p: Proof, whole: Term, part: Vector) -> list[Theorem]:
    """A sum over points of distances in n + 1 dimensions is that in n and the last part."""
    longer = p.shift(whole, n)
    last = total(N, lambda t: weight(t) * (part(t) * part(t)))
    return [
        p.induct(longer.eq(whole + last), N),
        p.induct(p.replaced(whole, n, nat(0)).eq(0), N),
    ]


def pythagoras(p: Proof) -> Theorem:
    """The distortion of C is that of the means, and what separates the two."""
    given, means = below(codes) & mean_in(codes, n), mean_in(codes, n)
    apart = separation(codes, M, C)
    goal = distortion(codes, C).eq(distortion(codes, M) + apart)
    longer = p.shift(means, n)
    one = p.use(
        one_dimension,
        a=lambda t: x(t, n),
        m=lambda j: M(j, n),
        c=lambda j: C(j, n),
    )
    of_cell = p.at(longer, at)
    inner = of_cell.formula.args[1].args[1]
    (place,) = variables(NAT, "place")
    at_place = p.at(inner, place)
    shorter = p.every(
        p.smt(
            (longer & (at < K)) >> ((place < n) >> at_place.formula.args[1].args[1]),
            of_cell,
            at_place,
        ),
        place,
    )
    kept = p.every(p.smt(longer >> ((at < K) >> shorter.formula.args[1]), shorter), at)
    last_means = one.formula.args[0].args[1]
    last = p.every(
        p.smt(longer >> p.at(last_means, at).formula.args[1], of_cell, p.at(inner, n)), at
    )
    facts = [one, kept, last]
    facts += _split_last(p, distortion(codes, C), lambda t: x(t, n) - C(codes(t), n))
    facts += _split_last(p, distortion(codes, M), lambda t: x(t, n) - M(codes(t), n))
    facts += _split_last(p, apart, lambda t: M(codes(t), n) - C(codes(t), n))
    return p.induct(given >> goal, n, *facts)


# ---- the iteration ----------------------------------------------------------------------------

HNEAR = (
    "hnear",
    forall_below(N, lambda p: is_nearest_code(n, K, C, partial(x, p), next_codes(p))),
)
HROUND = (
    "hround",
    forall_below(K, lambda j: squared_l2(n, partial(M, j), partial(R, j)) <= slack(j)),
)
lost = total(N, lambda p: weight(p) * slack(next_codes(p)))
LLOYD = Statement(
    name="lloyd_iteration_distortion_le",
    part="F",
    meaning="An iteration of k-means, nearest codes and then weighted means, never raises the "
    "distortion, but for what rounding the means costs: the weight of each cell times the squared "
    "distance by which its mean was rounded.",
    latex=r"\mathrm{Near}(C, x_p, i'_p),\; W_j \mu_j = \textstyle\sum_{p: i'_p = j} w_p x_p,\; "
    r"d(\mu_j, R_j) \le \rho_j \;\Rightarrow\; \sum_p w_p\, d(x_p, R_{i'_p}) \le "
    r"\sum_p w_p\, d(x_p, C_{i_p}) + \sum_p w_p\, \rho_{i'_p}",
    hypotheses=(
        ("hcodes", below(codes)),
        ("hweight", forall_below(N, lambda p: real(0) <= weight(p))),
        HNEAR,
        ("hmean", mean_in(next_codes, n)),
        HROUND,
    ),
    conclusion=distortion(next_codes, R) <= distortion(codes, C) + lost,
    relied_on_by=("certvq.kmeans",),
)


def _cells(old: Callable[[int], int], size: int = 2, weights: Vector | None = None) -> Instance:
    """Two points on a line; both lie in cell 0 now."""

    def build(unknowns: Any) -> Mapping[str, Any]:
        values = instance(matrices="M R", n=1, N=2, K=size)(unknowns)
        held = {name: entries(unknowns, name, 2) for name in ("weight", "slack")}
        held |= {"x": rows(unknowns, "x", 2, 1), "C": rows(unknowns, "C", 3, 1)}
        cells = {"codes": old, "next": lambda _: 0}
        return {**values, **held, **cells, **({"weight": weights} if weights else {})}

    return build


_both = _cells(lambda _: 1)
_apart, _beyond = _cells(lambda p: p, 2, lambda _: 1), _cells(lambda p: p + 1, 1, lambda _: 1)


@proves(
    LLOYD,
    Mutant("without hcodes", LLOYD.without("hcodes"), _beyond),
    Mutant("without hnear", LLOYD.without("hnear"), _apart),
    *(Mutant(f"without {h}", LLOYD.without(h), _both) for h in ("hweight", "hmean", "hround")),
    Mutant(
        "rounding costs nothing",
        LLOYD.concluding(distortion(next_codes, R) <= distortion(codes, C)),
        _both,
    ),
    Mutant(
        "the means of the old cells",
        LLOYD.with_hypothesis("hmean", mean_in(codes, n)),
        _both,
    ),
    Mutant(
        "the distortion falls",
        LLOYD.concluding(distortion(next_codes, R) < distortion(codes, C) + lost),
        _both,
    ),
)
def lloyd(p: Proof) -> Theorem:
    given = LLOYD.formula.args[0]
    inside = p.widen(HNEAR[1], below(next_codes))

    def to(book: Book) -> Vector:
        return lambda t: squared_l2(n, partial(x, t), partial(book, next_codes(t)))

    def rounding(t: Term) -> Term:
        return squared_l2(n, partial(M, next_codes(t)), partial(R, next_codes(t)))

    def before(t: Term) -> Term:
        return squared_l2(n, partial(x, t), partial(C, codes(t)))

    def moving(t: Term) -> Term:
        return squared_l2(n, partial(M, next_codes(t)), partial(C, next_codes(t)))

    near = p.at(HNEAR[1], at)
    chosen = near.formula.args[1].args[1]
    nearer = [near, p.at(chosen.args[1], codes(at)), p.at(below(codes), at)]
    rounds = [near, p.at(HROUND[1], next_codes(at))]
    positive = p.use(squared_l2_nonneg, x=partial(M, next_codes(at)), y=partial(C, next_codes(at)))
    none = p.induct(total(N, lambda t: weight(t) * real(0)).eq(0), N)
    facts = [
        _weighed(p, given, to(C), before, *nearer),
        _weighed(p, given, rounding, lambda t: slack(next_codes(t)), *rounds),
        _weighed(p, given, lambda _: real(0), moving, positive),
        p.use(pythagoras, codes=next_codes),
        p.use(pythagoras, codes=next_codes, C=R),
    ]
    return p.smt(LLOYD.formula, inside, none, *facts)


def _weighed(p: Proof, given: Term, left: Vector, right: Vector, *facts: Theorem) -> Theorem:
    """The weighted sum of the left values is at most that of the right ones."""
    whole = p.use(sum_le, n=N, f=lambda t: weight(t) * left(t), g=lambda t: weight(t) * right(t))
    body = weight(at) * left(at) <= weight(at) * right(at)
    mono = p.use(mul_mono, a=left(at), b=right(at), c=weight(at))
    heavy = p.at(LLOYD.hypothesis("hweight"), at)
    less = p.smt((given & (at < N)) >> (left(at) <= right(at)), *facts)
    one = p.every(p.smt(given >> ((at < N) >> body), less, mono, heavy), at)
    return p.smt(given >> whole.formula.args[1], whole, one)
