"""Theorems of part D on residual codes, means and the moving average of a codebook.

Out: entries of the ledger. Imports lemmas on sums and distances.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from certvq.theory._definitions import squared_l2
from certvq.theory._distance import C, K, at, n, squared_l2_nonneg, sum_congr
from certvq.theory._instances import entries, instance, rows
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Instance, Mutant, Statement, proves
from certvq.theory._objective import mul_mono
from certvq.theory._operators import NAT, REAL
from certvq.theory._proof import Proof
from certvq.theory._terms import (
    Function,
    forall_below,
    ite,
    nat,
    real,
    recursion,
    total,
    variables,
    vector,
)

S, N, k = variables(NAT, "S N k")
(eta,) = variables(REAL, "eta")
z, a, m, c, w = (vector(name) for name in ("z", "a", "m", "c", "w"))
stage_book = Function("C", (NAT, NAT, NAT), REAL)
codes = Function("codes", (NAT,), NAT)
x, M = Function("x", (NAT, NAT), REAL), Function("M", (NAT, NAT), REAL)
Book = Callable[[Any, Any], Any]


def selected(stage: Term, place: Term) -> Term:
    """The entry of the code vector that was selected at a stage."""
    return stage_book(stage, codes(stage), place)


def residual(stages: Term, place: Term) -> Term:
    """r_S at a place: r_0 = z, and r_{s+1} = r_s minus the code vector selected at stage s."""
    return recursion(stages, z(place), lambda s, value: value - selected(s, place))


TELESCOPES = Statement(
    name="residual_telescopes",
    part="D",
    meaning="The latent minus the sum of the selected code vectors of all stages is the last "
    "residual, whatever was selected.",
    latex=r"r_0 = z,\; r_{s+1} = r_s - q_s \;\Rightarrow\; z - \textstyle\sum_{s<S} q_s = r_S",
    conclusion=(z(k) - total(S, lambda s: selected(s, k))).eq(residual(S, k)),
    relied_on_by=("certvq.nn.Residual",),
)


def distortion(book: Book) -> Term:
    """The sum of the squared distances of all points to the code vectors of their codes."""
    return total(N, lambda p: squared_l2(n, partial(x, p), partial(book, codes(p))))


def member_count(j: Term) -> Term:
    """How many points have code j."""
    return total(N, lambda p: ite(codes(p).eq(j), real(1), real(0)))


def member_sum(j: Term, value: Callable[[Term], Term]) -> Term:
    """The sum of a value over the points that have code j."""
    return total(N, lambda p: ite(codes(p).eq(j), value(p), real(0)))


def mean_in(dims: Term) -> Term:
    """Row j of M is the mean of the points of code j, in the first dimensions."""

    def at_place(j: Term, place: Term) -> Term:
        members = member_sum(j, lambda p: x(p, place))
        return (member_count(j) * M(j, place)).eq(members)

    return forall_below(K, lambda j: forall_below(dims, partial(at_place, j)))


def stepped(j: Term, place: Term) -> Term:
    """The code vectors after a step of eta towards the means."""
    return C(j, place) + eta * (M(j, place) - C(j, place))


HCODES = ("hcodes", forall_below(N, lambda p: codes(p) < K))
HMEAN = ("hmean", mean_in(n))
MEAN = Statement(
    name="mean_minimises_distortion",
    part="D",
    meaning="For fixed codes no code vectors have less distortion than the means of the points "
    "that have their codes: a Lloyd step never raises the distortion.",
    latex=r"N_j \mu_j = \textstyle\sum_{p: i_p = j} x_p \;\Rightarrow\; "
    r"\sum_p d(x_p, \mu_{i_p}) \le \sum_p d(x_p, C_{i_p})",
    hypotheses=(HCODES, HMEAN),
    conclusion=distortion(M) <= distortion(C),
    relied_on_by=("certvq.nn.KMeans",),
)
EMA = Statement(
    name="ema_step_distortion_le",
    part="D",
    meaning="For fixed codes a step of eta, between 0 and 1, from the code vectors towards the "
    "means never raises the distortion.",
    latex=r"0 \le \eta \le 1,\; N_j \mu_j = \textstyle\sum_{p: i_p = j} x_p \;\Rightarrow\; "
    r"\sum_p d(x_p, C_{i_p} + \eta(\mu_{i_p} - C_{i_p})) \le \sum_p d(x_p, C_{i_p})",
    hypotheses=(("heta0", real(0) <= eta), ("heta1", eta <= 1), HCODES, HMEAN),
    conclusion=distortion(stepped) <= distortion(C),
    relied_on_by=("certvq.nn.EMA",),
)


def _clusters(dim: int) -> Instance:
    """Two points of code 0 in some dimension; code 1 has none."""

    def build(unknowns: Any) -> Mapping[str, Any]:
        held = instance(reals="eta", matrices="M C", n=dim, N=2, K=2)(unknowns)
        return {**held, "codes": lambda _: 0, "x": rows(unknowns, "x", 2, dim)}

    return build


def _beyond(unknowns: Any) -> Mapping[str, Any]:
    """The points have a code beyond the codebook, of which the means say nothing."""
    return {**_clusters(1)(unknowns), "K": 1, "codes": lambda _: 1}


def _stages(unknowns: Any) -> Mapping[str, Any]:
    held = {"S": 2, "k": 0, "z": entries(unknowns, "z", 1), "codes": lambda s: s}
    return {**held, "C": lambda s, j, q: unknowns.real(f"C{s}_{j}_{q}")}


_line, _plane = _clusters(1), _clusters(2)


@proves(
    TELESCOPES,
    Mutant(
        "plus the sum",
        TELESCOPES.concluding((z(k) + total(S, lambda s: selected(s, k))).eq(residual(S, k))),
        _stages,
    ),
    Mutant(
        "one stage more",
        TELESCOPES.concluding((z(k) - total(S + 1, lambda s: selected(s, k))).eq(residual(S, k))),
        _stages,
    ),
)
def telescopes(p: Proof) -> Theorem:
    return p.induct(TELESCOPES.formula, S)


# ---- one dimension: points a_p, means m_j, code vectors c_j -----------------------------------


def _deviation(p: Term) -> Term:
    return (a(p) - m(codes(p))) * w(codes(p))


def _of_codes_below(j: Term) -> Term:
    return total(N, lambda p: ite(codes(p) < j, _deviation(p), real(0)))


def _means(size: Term) -> Term:
    return forall_below(size, lambda j: (member_count(j) * m(j)).eq(member_sum(j, a)))


def _deviations_below(p: Proof) -> Theorem:
    """Given the means of the codes below K, the weighted deviations of their points cancel."""
    of_one = total(N, lambda t: ite(codes(t).eq(K), (a(t) - m(K)) * w(K), real(0)))
    split = p.induct(_of_codes_below(K + 1).eq(_of_codes_below(K) + of_one), N)
    factor = (member_sum(K, a) - member_count(K) * m(K)) * w(K)
    of_mean = p.induct(of_one.eq(factor), N)
    none = p.induct(_of_codes_below(nat(0)).eq(0), N)
    longer = p.shift(_means(K), K)
    facts = [split, of_mean, none, p.at(longer, K), p.widen(longer, _means(K))]
    return p.induct(_means(K) >> _of_codes_below(K).eq(0), K, *facts)


def deviations_cancel(p: Proof) -> Theorem:
    """All codes being below K, the weighted deviations of all points cancel."""
    whole = total(N, _deviation)
    same = p.use(
        sum_congr, n=N, f=_deviation, g=lambda t: ite(codes(t) < K, _deviation(t), real(0))
    )
    inside = p.widen(HCODES[1], same.formula.args[0])
    given = HCODES[1] & _means(K)
    return p.smt(given >> whole.eq(0), same, inside, p.get(_deviations_below))


def one_dimension(p: Proof) -> Theorem:
    """The distortion of c is that of the means m, and what separates the two."""

    def square(left: Callable[[Term], Term], right: Callable[[Term], Term]) -> Term:
        return total(N, lambda t: (left(t) - right(t)) * (left(t) - right(t)))

    def mean_at(t: Term) -> Term:
        return m(codes(t))

    def code_at(t: Term) -> Term:
        return c(codes(t))

    cross = total(N, lambda t: (a(t) - mean_at(t)) * (mean_at(t) - code_at(t)))
    parts = square(a, mean_at) + square(mean_at, code_at)
    whole = p.induct(square(a, code_at).eq(parts + 2 * cross), N)
    none = p.use(deviations_cancel, w=lambda j: m(j) - c(j))
    return p.smt((HCODES[1] & _means(K)) >> square(a, code_at).eq(parts), whole, none)


# ---- all dimensions ---------------------------------------------------------------------------


def separation(left: Book, right: Book) -> Term:
    """The sum over the points of the squared distances of two code vectors of their codes."""

    def at_point(p: Term) -> Term:
        return squared_l2(n, partial(left, codes(p)), partial(right, codes(p)))

    return total(N, at_point)


def _split_last(p: Proof, whole: Term, part: Callable[[Term], Term]) -> list[Theorem]:
    """A sum over points of distances in n + 1 dimensions is that in n and the last part."""
    longer = p.shift(whole, n)
    split = p.induct(longer.eq(whole + total(N, part)), N)
    return [split, p.induct(p.replaced(whole, n, nat(0)).eq(0), N)]


def pythagoras(p: Proof) -> Theorem:
    """The distortion of C is that of the means, and what separates the two."""
    given = HCODES[1] & HMEAN[1]
    apart = separation(M, C)
    goal = distortion(C).eq(distortion(M) + apart)
    longer = p.shift(HMEAN[1], n)
    one = p.use(
        one_dimension,
        a=lambda t: x(t, n),
        m=lambda j: M(j, n),
        c=lambda j: C(j, n),
    )
    of_code = p.at(longer, at)
    inner = of_code.formula.args[1].args[1]
    (place,) = variables(NAT, "place")
    shorter = p.every(
        p.smt(
            (longer & (at < K)) >> ((place < n) >> p.at(inner, place).formula.args[1].args[1]),
            of_code,
            p.at(inner, place),
        ),
        place,
    )
    kept = p.every(p.smt(longer >> ((at < K) >> shorter.formula.args[1]), shorter), at)
    means = one.formula.args[0].args[1]
    last = p.every(p.smt(longer >> p.at(means, at).formula.args[1], of_code, p.at(inner, n)), at)
    facts = [one, kept, last]
    facts += _split_last(p, distortion(C), lambda t: _squared(x(t, n) - C(codes(t), n)))
    facts += _split_last(p, distortion(M), lambda t: _squared(x(t, n) - M(codes(t), n)))
    facts += _split_last(p, apart, lambda t: _squared(M(codes(t), n) - C(codes(t), n)))
    return p.induct(given >> goal, n, *facts)


def _squared(value: Term) -> Term:
    return value * value


def _sum_nonneg(p: Proof) -> Theorem:
    """What separates two codebooks is not negative."""
    one = p.use(
        squared_l2_nonneg,
        x=lambda q: M(codes(N), q),
        y=lambda q: C(codes(N), q),
    )
    return p.induct(real(0) <= separation(M, C), N, one)


@proves(
    MEAN,
    Mutant("without hmean", MEAN.without("hmean"), _line),
    Mutant("without hcodes", MEAN.without("hcodes"), _beyond),
    Mutant("< for <=", MEAN.concluding(distortion(M) < distortion(C)), _line),
    Mutant(
        "means of the first entry alone", MEAN.with_hypothesis("hmean", mean_in(nat(1))), _plane
    ),
)
def mean(p: Proof) -> Theorem:
    return p.smt(MEAN.formula, p.get(pythagoras), p.get(_sum_nonneg))


def _shrinks(p: Proof) -> Theorem:
    """After the step the codebooks are apart by (1 - eta)^2 of what they were."""
    rest = (1 - eta) * (1 - eta)

    def apart(book: Book) -> Term:
        return squared_l2(n, partial(M, codes(N)), partial(book, codes(N)))

    one = p.induct(apart(stepped).eq(rest * apart(C)), n)
    return p.induct(separation(M, stepped).eq(rest * separation(M, C)), N, one)


@proves(
    EMA,
    Mutant("without heta0", EMA.without("heta0"), _line),
    Mutant("without heta1", EMA.without("heta1"), _line),
    Mutant("without hcodes", EMA.without("hcodes"), _beyond),
    Mutant("without hmean", EMA.without("hmean"), _line),
    Mutant("< for <=", EMA.concluding(distortion(stepped) < distortion(C)), _line),
    Mutant("eta up to 3", EMA.with_hypothesis("heta1", eta <= 3), _line),
)
def ema(p: Proof) -> Theorem:
    rest = (1 - eta) * (1 - eta)
    bounded = p.smt(((real(0) <= eta) & (eta <= 1)) >> (rest <= 1))
    facts = [
        p.get(pythagoras),
        p.use(pythagoras, C=stepped),
        p.get(_shrinks),
        p.get(_sum_nonneg),
        bounded,
        p.use(mul_mono, a=rest, b=real(1), c=separation(M, C)),
    ]
    return p.smt(EMA.formula, *facts)
