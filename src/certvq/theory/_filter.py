"""Theorems of part C on scores and candidates: what the filter and the refinement may conclude.

Out: entries of the ledger. Imports names and lemmas on nearest codes.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from certvq.theory._definitions import is_nearest_code, score, squared_l2
from certvq.theory._distance import C, K, at, i, n, z
from certvq.theory._instances import entries, instance
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Instance, Mutant, Statement, proves
from certvq.theory._nearest import (
    distance,
    exists_nearest,
    lowest,
    near,
    nearest_iff_score,
)
from certvq.theory._operators import BOOL, NAT, REAL
from certvq.theory._proof import Proof
from certvq.theory._terms import (
    Function,
    Vector,
    abs_le,
    forall,
    forall_below,
    real,
    variables,
    vector,
)

E, threshold, scale = variables(REAL, "E threshold scale")
m, best = variables(NAT, "m best")
computed, lower, upper, exact, centre = (
    vector(name) for name in ("computed", "lower", "upper", "exact", "centre")
)
candidate = Function("candidate", (NAT,), BOOL)


def within(radius: Term, latent: Vector = z, book: Any = C) -> Term:
    """Every computed score is within the radius of the true one."""
    return forall_below(K, lambda k: abs_le(computed(k) - score(n, book, latent, k), radius))


def leads(factor: int) -> Term:
    """The computed score of i leads every other by more than a multiple of E."""
    return forall_below(K, lambda k: (~k.eq(i)) >> (computed(k) + factor * E < computed(i)))


def kept(k: Term, factor: int = 2) -> Term:
    """The computed score of k is at least the greatest one minus 2 E."""
    return computed(m) - factor * E <= computed(k)


HERR = ("herr", within(E))
HI, HM = ("hi", i < K), ("hm", m < K)
GAP = Statement(
    name="nearest_of_score_gap",
    part="C",
    meaning="If every computed score is within E of the true one and the best computed score leads "
    "every other by more than 2 E, then its code is the only nearest one.",
    latex=r"|t_k - s_k| \le E,\; t_j + 2E < t_i \;(j \ne i) \;\Rightarrow\; "
    r"\mathrm{Near}(C, z, i) \wedge \forall j \ne i.\; \neg\mathrm{Near}(C, z, j)",
    hypotheses=(HI, HERR, ("hgap", leads(2))),
    conclusion=near(i) & forall(lambda k: near(k) >> k.eq(i)),
    relied_on_by=("certvq.assign (FILTER)",),
)
CANDIDATES = Statement(
    name="nearest_mem_candidates",
    part="C",
    meaning="Every nearest code has a computed score of at least the greatest one minus 2 E.",
    latex=r"|t_k - s_k| \le E,\; \mathrm{Near}(C, z, i) \;\Rightarrow\; t_m - 2E \le t_i",
    hypotheses=(HM, HERR, ("hnear", near(i))),
    conclusion=kept(i),
    relied_on_by=("certvq.assign (candidates)",),
)
HCAND = ("hcand", forall(lambda k: near(k) >> candidate(k)))
HBEST = ("hbest", forall_below(K, lambda k: candidate(k) >> (distance(i) <= distance(k))))
REFINE = Statement(
    name="refine_sound",
    part="C",
    meaning="The nearest among candidates that hold every nearest code is nearest.",
    latex=r"(\forall k.\, \mathrm{Near}(C, z, k) \Rightarrow k \in S),\; "
    r"(\forall k \in S.\, d(z, C_i) \le d(z, C_k)) \;\Rightarrow\; \mathrm{Near}(C, z, i)",
    hypotheses=(HI, HCAND, HBEST),
    conclusion=near(i),
    relied_on_by=("certvq.assign (REFINED, EXACT)",),
)


def centred(k: Term) -> Term:
    """The latent less any vector."""
    return z(k) - centre(k)


def centred_row(code: Term, k: Term) -> Term:
    """The code vectors less the same vector."""
    return C(code, k) - centre(k)


def survives(k: Term) -> Term:
    """The score of k reaches the threshold, and its interval lies above no other such one."""
    others = forall_below(K, lambda q: (threshold <= computed(q)) >> (lower(k) <= upper(q)))
    return (threshold <= computed(k)) & others


def first_of_least(k: Term) -> Term:
    """The integer of i is the least of the survivors', and i the lowest that has it."""
    return survives(k) >> ((exact(i) <= exact(k)) & (exact(k).eq(exact(i)) >> (i <= k)))


HERR_CENTRED = ("herr", within(E, centred, centred_row))
HBELOW = ("hthreshold", threshold <= computed(best) - 2 * E)
HINTERVAL = (
    "hinterval",
    forall_below(
        K,
        lambda k: (
            (threshold <= computed(k)) >> ((lower(k) <= distance(k)) & (distance(k) <= upper(k)))
        ),
    ),
)
HEXACT = ("hexact", forall_below(K, lambda k: exact(k).eq(scale * distance(k))))
gap = leads(2)
alone_left = forall_below(K, lambda k: survives(k) >> k.eq(i))
integers = forall_below(K, first_of_least)
CERTIFIED = Statement(
    name="certified_assign",
    part="C",
    meaning="What assign returns satisfies the contract. Scores are those of latent and code "
    "vectors less any vector; the code leads by more than 2 E, or it alone survives threshold and "
    "intervals, or it is the lowest with the least exact integer among those that survive: then it "
    "is the lowest nearest code.",
    latex=r"|t_k - s_k| \le E,\; \theta \le t_b - 2E,\; (\text{gap} \vee \text{alone} \vee "
    r"\text{integers}) \;\Rightarrow\; \mathrm{Low}(C, z, i)",
    hypotheses=(
        HI,
        ("hbest", best < K),
        HERR_CENTRED,
        HBELOW,
        HINTERVAL,
        ("hscale", real(0) < scale),
        HEXACT,
        ("hdecided", gap | alone_left | integers),
    ),
    conclusion=lowest(i),
    relied_on_by=("certvq.assign", "certvq.prepare"),
)


def _shape(size: int = 2, **nats: int) -> Instance:
    """Latent and code vectors of dimension 1 with unknown scores, intervals and candidates."""
    chosen: dict[str, Any] = {
        "n": 1,
        "K": size,
        "i": 0,
        "j": 1,
        "m": 0,
        "best": 0,
        "scale": 1,
        **nats,
    }
    build = instance(reals="E threshold", vectors="z centre", matrices="C", **chosen)

    def with_scores(unknowns: Any) -> Mapping[str, Any]:
        held = dict(build(unknowns))
        for name in ("computed", "lower", "upper", "exact"):
            held[name] = entries(unknowns, name, size)
        inside = [unknowns.boolean(f"candidate{k}") for k in range(size)]
        return {**held, "candidate": inside.__getitem__}

    return with_scores


@proves(
    GAP,
    Mutant("gap E for 2 E", GAP.with_hypothesis("hgap", leads(1)), _shape()),
    Mutant("without hi", GAP.without("hi"), _shape(i=2)),
    Mutant("without herr", GAP.without("herr"), _shape()),
    Mutant("without hgap", GAP.without("hgap"), _shape()),
    Mutant("radius 2 E", GAP.with_hypothesis("herr", within(2 * E)), _shape()),
)
def nearest_of_gap(p: Proof) -> Theorem:
    given = GAP.formula.args[0]
    seen = [p.at(HERR[1], at), p.at(HERR[1], i), p.at(GAP.hypothesis("hgap"), at)]
    scores = p.get(nearest_iff_score)
    better = scores.formula.args[1].args[1]
    below = p.smt(given >> _body(p, better, at), *seen)
    found = p.smt(given >> near(i), p.every(below, at), scores)
    of_other = p.use(nearest_iff_score, i=at)
    rival = of_other.formula.args[1].args[1]
    alone = p.smt(given >> (near(at) >> at.eq(i)), *seen, of_other, p.at(rival, i))
    return p.smt(GAP.formula, found, p.every(alone, at))


def _body(p: Proof, universal: Term, *terms: Term) -> Term:
    """The instance of a universal formula."""
    return p.at(universal, *terms).formula.args[1]


@proves(
    CANDIDATES,
    Mutant("threshold E for 2 E", CANDIDATES.concluding(kept(i, 1)), _shape(i=1)),
    Mutant("without hm", CANDIDATES.without("hm"), _shape(m=2)),
    Mutant("without herr", CANDIDATES.without("herr"), _shape()),
    Mutant("without hnear", CANDIDATES.without("hnear"), _shape(i=1)),
    Mutant("< for <=", CANDIDATES.concluding(computed(m) - 2 * E < computed(i)), _shape()),
)
def mem_candidates(p: Proof) -> Theorem:
    scores = p.get(nearest_iff_score)
    better = scores.formula.args[1].args[1]
    seen = [p.at(HERR[1], i), p.at(HERR[1], m), p.at(better, m)]
    return p.smt(CANDIDATES.formula, scores, *seen)


@proves(
    REFINE,
    Mutant("without hcand", REFINE.without("hcand"), _shape()),
    Mutant("without hbest", REFINE.without("hbest"), _shape()),
    Mutant("without hi", REFINE.without("hi"), _shape(i=2)),
    Mutant(
        "< for <=",
        REFINE.concluding(
            (i < K) & forall_below(K, lambda k: (~k.eq(i)) >> (distance(i) < distance(k)))
        ),
        _shape(),
    ),
)
def refine_sound(p: Proof) -> Theorem:
    (w,) = variables(NAT, "w")
    given = REFINE.formula.args[0]
    of_w = near(w)
    seen = [p.at(HCAND[1], w), p.at(HBEST[1], w), p.at(of_w.args[1], at)]
    closer = p.smt((given & of_w) >> ((at < K) >> (distance(i) <= distance(at))), *seen)
    found = p.smt((given & ~near(i)) >> ~of_w, p.every(closer, at))
    nowhere = p.every(found, w)
    return p.smt(REFINE.formula, nowhere, p.get(exists_nearest))


@proves(
    CERTIFIED,
    Mutant("gap E for 2 E", CERTIFIED.with_hypothesis("hdecided", leads(1)), _shape()),
    Mutant("without hi", CERTIFIED.without("hi"), _shape(i=2)),
    Mutant("without hbest", CERTIFIED.without("hbest"), _shape(i=1, best=2)),
    Mutant("without hthreshold", CERTIFIED.without("hthreshold"), _shape()),
    Mutant("without herr", CERTIFIED.without("herr"), _shape()),
    Mutant("without hdecided", CERTIFIED.without("hdecided"), _shape()),
    Mutant("without hinterval", CERTIFIED.without("hinterval"), _shape()),
    Mutant("without hscale", CERTIFIED.without("hscale"), _shape(i=1, scale=-1)),
    Mutant("without hexact", CERTIFIED.without("hexact"), _shape()),
    Mutant(
        "threshold at best - E",
        CERTIFIED.with_hypothesis("hthreshold", threshold <= computed(best) - E),
        _shape(i=0),
    ),
    Mutant(
        "ties broken otherwise",
        CERTIFIED.with_hypothesis(
            "hdecided", forall_below(K, lambda k: survives(k) >> (exact(i) <= exact(k)))
        ),
        _shape(i=1),
    ),
)
def certified(p: Proof) -> Theorem:
    given = CERTIFIED.formula.args[0]
    there = p.use(translated, i=at)
    by_gap = p.use(nearest_of_gap, z=centred, C=centred_row)
    only = by_gap.formula.args[1].args[1]
    one = p.smt((given & gap) >> (near(at) >> at.eq(i)), by_gap, p.at(only, at), there)
    gap_case = p.smt((given & gap) >> near(i), by_gap, p.get(translated))
    survivor = p.get(nearest_survives)
    alone = p.smt((given & alone_left) >> (near(at) >> at.eq(i)), survivor, p.at(alone_left, at))
    scaled = p.use(_scaled_le, a=distance(i), b=distance(at), c=scale)
    exacts = [p.at(HEXACT[1], i), p.at(HEXACT[1], at), p.at(integers, at), scaled]
    no_farther = (distance(i) <= distance(at)) & (distance(at).eq(distance(i)) >> (i <= at))
    least = p.smt((given & integers) >> (near(at) >> no_farther), survivor, *exacts)
    no_lower = [
        p.every(p.smt((given & how) >> ((at < i) >> ~near(at)), *facts), at)
        for how, facts in (
            (gap, [one]),
            (alone_left, [alone]),
            (integers, [least, p.at(near(at).args[1], i)]),
        )
    ]
    found = [
        _some_nearest(p, given & alone_left, alone),
        _some_nearest(p, given & integers, least),
    ]
    return p.smt(CERTIFIED.formula, gap_case, *found, *no_lower)


def nearest_survives(p: Proof) -> Theorem:
    """Every nearest code survives the threshold and the intervals."""
    (q,) = variables(NAT, "q")
    given = CERTIFIED.formula.args[0] & near(at)
    there = p.use(translated, i=at)
    mem = p.use(mem_candidates, z=centred, C=centred_row, m=best, i=at)
    reaches = p.smt(given >> (threshold <= computed(at)), mem, there)
    facts = [reaches, p.at(near(at).args[1], q), *(p.at(HINTERVAL[1], t) for t in (at, q))]
    above = (threshold <= computed(q)) >> (lower(at) <= upper(q))
    others = p.every(p.smt(given >> ((q < K) >> above), *facts), q)
    return p.smt(given >> survives(at), reaches, others)


def _some_nearest(p: Proof, given: Term, no_farther: Theorem) -> Theorem:
    """If i is no farther than each nearest code, or is that code, then i is nearest."""
    (q,) = variables(NAT, "q")
    equal = p.induct(at.eq(i) >> distance(at).eq(distance(i)), n)
    facts = [no_farther, p.at(near(at).args[1], q), equal]
    closer = p.smt((given & near(at)) >> ((q < K) >> (distance(i) <= distance(q))), *facts)
    none = p.every(p.smt((given & ~near(i)) >> ~near(at), p.every(closer, q)), at)
    return p.smt(given >> near(i), none, p.get(exists_nearest))


def translated(p: Proof) -> Theorem:
    """Moving the latent and all code vectors alike changes no nearest code."""

    def moved(code: Term) -> Term:
        return squared_l2(n, centred, partial(centred_row, code))

    still = is_nearest_code(n, K, centred_row, centred, i)
    same = p.induct(moved(at).eq(distance(at)), n)
    facts = [same, p.use(same, at=i)]
    there = p.widen(still.args[1], near(i).args[1], *facts)
    back = p.widen(near(i).args[1], still.args[1], *facts)
    return p.smt(still.eq(near(i)), there, back)


def _scaled_le(p: Proof) -> Theorem:
    """State that 0 < c implies c a <= c b just when a <= b, and the same of equality."""
    a, b, c = variables(REAL, "a b c")
    compare = (c * a <= c * b).eq(a <= b) & (c * a).eq(c * b).eq(a.eq(b))
    return p.smt((real(0) < c) >> compare)
