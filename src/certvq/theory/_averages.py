"""Theorems of part D on residual codes, means and the moving average of a codebook.

Out: entries of the ledger. Imports lemmas on sums and distances.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from certvq.theory import _lloyd
from certvq.theory._definitions import squared_l2
from certvq.theory._distance import C, K, at, n, squared_l2_nonneg
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
z = vector("z")
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


# ---- points of weight 1 -----------------------------------------------------------------------


def separation(left: Book, right: Book) -> Term:
    """The sum over the points of the squared distances of two code vectors of their codes."""

    def at_point(p: Term) -> Term:
        return squared_l2(n, partial(left, codes(p)), partial(right, codes(p)))

    return total(N, at_point)


def pythagoras(p: Proof) -> Theorem:
    """The distortion of C is that of the means, and what separates the two."""
    weighted = p.use(_lloyd.pythagoras, weight=lambda _: real(1))
    given, goal = HCODES[1] & HMEAN[1], distortion(C).eq(distortion(M) + separation(M, C))
    heavy = (weighted.formula.args[1].args[0], *weighted.formula.args[1].args[1].args)
    light = (distortion(C), distortion(M), separation(M, C))
    same = [p.induct(one.eq(other), N) for one, other in zip(heavy, light, strict=True)]
    return p.smt(given >> goal, weighted, *same, _means_of_weight_one(p, weighted.formula.args[0]))


def _means_of_weight_one(p: Proof, given: Term) -> Theorem:
    """What are means are means with weight 1."""
    (place,) = variables(NAT, "place")
    plain, wanted = (p.at(means, at) for means in (HMEAN[1], given.args[1]))
    inner, wanted_inner = (fact.formula.args[1].args[1] for fact in (plain, wanted))
    body = p.at(wanted_inner, place).formula.args[1]
    points = body.args[1].args[1]
    same = p.induct(points.eq(member_sum(at, lambda t: x(t, place))), N)
    one = p.every(p.smt(inner >> body, p.at(inner, place), same), place)
    return p.every(p.smt(HMEAN[1] >> ((at < K) >> wanted_inner), plain, one), at)


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
