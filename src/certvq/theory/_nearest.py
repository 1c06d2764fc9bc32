"""Theorems of part B on nearest codes: other ways to say nearest, existence, and the argmin.

Out: entries of the ledger. Imports lemmas on distances.
"""

from collections.abc import Callable

from certvq.theory._definitions import (
    argmin,
    dot,
    is_lowest_nearest_code,
    is_nearest_code,
    mse,
    row,
    score,
    squared_l2,
    zero,
)
from certvq.theory._distance import C, K, at, i, j, n, x, y, z
from certvq.theory._instances import instance
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Mutant, Statement, proves
from certvq.theory._operators import REAL
from certvq.theory._proof import Proof
from certvq.theory._terms import (
    exists,
    exists_below,
    forall_below,
    ite,
    nat,
    real,
    recursion,
    to_real,
    variables,
    vector,
)

a, b, c = variables(REAL, "a b c")
v = vector("v")


def distance(code: Term) -> Term:
    """d(z, C_code)."""
    return squared_l2(n, z, row(C, code))


def score_of(code: Term) -> Term:
    """The score of a code."""
    return score(n, C, z, code)


def near(code: Term) -> Term:
    """The code is nearest."""
    return is_nearest_code(n, K, C, z, code)


def lowest(code: Term) -> Term:
    """The code is nearest, and none below it is."""
    return is_lowest_nearest_code(n, K, C, z, code)


held = argmin(K, distance)


def argmin_by(better: Callable[[Term, Term], Term]) -> Term:
    """An argmin with another comparison of a place with the place held; for mutants."""
    return recursion(K, nat(0), lambda k, best: ite(better(k, best), k, best))


IFF_MSE = Statement(
    name="isNearestCode_iff_mse",
    part="B",
    meaning="The sum and the mean of squared differences choose the same codes.",
    latex=r"0 < n \;\Rightarrow\; (\mathrm{Near}(C, z, i) \Leftrightarrow i < K \wedge "
    r"\forall j < K.\; \mathrm{mse}(z, C_i) \le \mathrm{mse}(z, C_j))",
    hypotheses=(("hn", nat(0) < n),),
    conclusion=near(i).eq(
        (i < K) & forall_below(K, lambda k: mse(n, z, row(C, i)) <= mse(n, z, row(C, k)))
    ),
    relied_on_by=("certvq.spec.is_nearest_code", "certvq.assign"),
)
IFF_SCORE = Statement(
    name="isNearestCode_iff_score",
    part="B",
    meaning="A code is nearest just when its score z . C_i - |C_i|^2 / 2 is greatest.",
    latex=r"\mathrm{Near}(C, z, i) \Leftrightarrow i < K \wedge \forall j < K.\; "
    r"z \cdot C_j - \tfrac12 |C_j|^2 \le z \cdot C_i - \tfrac12 |C_i|^2",
    conclusion=near(i).eq((i < K) & forall_below(K, lambda k: score_of(k) <= score_of(i))),
    relied_on_by=("certvq.assign", "certvq.spec.score"),
)
EXISTS = Statement(
    name="exists_isNearestCode",
    part="B",
    meaning="A codebook that is not empty has a nearest code for every latent.",
    latex=r"0 < K \;\Rightarrow\; \exists i.\; \mathrm{Near}(C, z, i)",
    hypotheses=(("hK", nat(0) < K),),
    conclusion=exists(near),
    relied_on_by=("certvq.spec.nearest_code", "certvq.assign"),
)
UNIQUE = Statement(
    name="lowest_isNearestCode_unique",
    part="B",
    meaning="At most one code is nearest with no nearest code of lower index.",
    latex=r"\mathrm{Low}(C, z, i),\; \mathrm{Low}(C, z, j) \;\Rightarrow\; i = j",
    hypotheses=(("hlowi", lowest(i)), ("hlowj", lowest(j))),
    conclusion=i.eq(j),
    relied_on_by=("certvq.assign", "certvq.check.verify"),
)
ARGMIN = Statement(
    name="argmin_isNearestCode",
    part="B",
    meaning="The argmin from left to right, which gives way only to a strictly smaller distance, "
    "returns the lowest of the nearest codes.",
    latex=r"0 < K \;\Rightarrow\; \mathrm{Low}(C, z, \mathrm{argmin}_{j<K}\, d(z, C_j))",
    hypotheses=(("hK", nat(0) < K),),
    conclusion=lowest(held),
    relied_on_by=("certvq.spec.argmin", "certvq.assign"),
)
_two = instance(vectors="z", matrices="C", n=1, K=2, i=0, j=1)
_three = instance(vectors="z", matrices="C", n=1, K=3, i=0, j=1)


def expansion(p: Proof) -> Theorem:
    """d(x, y) = d(x, 0) - 2 x . y + d(y, 0)."""
    whole = squared_l2(n, x, zero) - 2 * dot(n, x, y) + squared_l2(n, y, zero)
    return p.induct(squared_l2(n, x, y).eq(whole), n)


def _quotients_compare(p: Proof) -> Theorem:
    """0 < c implies that a / c <= b / c just when a <= b."""
    return p.smt((real(0) < c) >> (a / c <= b / c).eq(a <= b))


def argmin_least(p: Proof) -> Theorem:
    """The argmin of K > 0 values is one of the places, least, and less than all before it."""
    value = v(argmin(K, v))
    goal = (nat(0) < K) >> (
        (argmin(K, v) < K)
        & forall_below(K, lambda k: value <= v(k))
        & forall_below(argmin(K, v), lambda k: value < v(k))
    )
    then = argmin(K + 1, v)
    (now_least, now_first) = goal.args[1].args[0].args[1], goal.args[1].args[1]
    seen = [p.at(now_least, at), p.at(now_first, at), p.kernel.unfold(argmin(nat(0), v))]
    least = p.smt(goal >> ((at < K + 1) >> (v(then) <= v(at))), *seen)
    first = p.smt(goal >> ((at < then) >> (v(then) < v(at))), *seen)
    return p.induct(goal, K, p.every(least, at), p.every(first, at), seen[-1])


@proves(
    IFF_MSE,
    Mutant(
        "< for <=",
        IFF_MSE.concluding(
            near(i).eq(
                (i < K) & forall_below(K, lambda k: mse(n, z, row(C, i)) < mse(n, z, row(C, k)))
            )
        ),
        _two,
    ),
    Mutant(
        "the least of the means of another latent",
        IFF_MSE.concluding(
            near(i).eq(
                (i < K)
                & forall_below(K, lambda k: mse(n, zero, row(C, i)) <= mse(n, zero, row(C, k)))
            )
        ),
        _two,
    ),
)
def _(p: Proof) -> Theorem:
    positive, (left, right) = IFF_MSE.hypothesis("hn"), IFF_MSE.conclusion.args
    compare = p.use(_quotients_compare, a=distance(i), b=distance(at), c=to_real(n))
    there = p.widen(left.args[1], right.args[1], compare, given_too=positive)
    back = p.widen(right.args[1], left.args[1], compare, given_too=positive)
    return p.smt(IFF_MSE.formula, there, back)


@proves(
    IFF_SCORE,
    Mutant(
        "the norm is not halved",
        IFF_SCORE.concluding(
            near(i).eq(
                (i < K)
                & forall_below(
                    K,
                    lambda k: (
                        dot(n, z, row(C, k)) - squared_l2(n, row(C, k), zero)
                        <= dot(n, z, row(C, i)) - squared_l2(n, row(C, i), zero)
                    ),
                )
            )
        ),
        _two,
    ),
    Mutant(
        "the norm is left out",
        IFF_SCORE.concluding(
            near(i).eq(
                (i < K) & forall_below(K, lambda k: dot(n, z, row(C, k)) <= dot(n, z, row(C, i)))
            )
        ),
        _two,
    ),
    Mutant(
        "the least score",
        IFF_SCORE.concluding(
            near(i).eq((i < K) & forall_below(K, lambda k: score_of(i) <= score_of(k)))
        ),
        _two,
    ),
)
def nearest_iff_score(p: Proof) -> Theorem:
    left, right = IFF_SCORE.conclusion.args
    sums = [p.use(expansion, x=z, y=row(C, code)) for code in (i, at)]
    there = p.widen(left.args[1], right.args[1], *sums)
    back = p.widen(right.args[1], left.args[1], *sums)
    return p.smt(IFF_SCORE.formula, there, back)


@proves(
    UNIQUE,
    Mutant("nearest, without the lowest", UNIQUE.with_hypothesis("hlowj", near(j)), _two),
    Mutant("without hlowi", UNIQUE.without("hlowi"), _two),
    Mutant("without hlowj", UNIQUE.without("hlowj"), _two),
)
def lowest_unique(p: Proof) -> Theorem:
    lower = [p.at(UNIQUE.hypotheses[s][1].args[1], t) for s, t in ((0, j), (1, i))]
    return p.smt(UNIQUE.formula, *lower)


@proves(
    ARGMIN,
    Mutant("without hK", ARGMIN.without("hK"), instance(vectors="z", n=1, K=0, C=lambda *_: 0)),
    Mutant(
        "<= instead of < in the argmin",
        ARGMIN.concluding(lowest(argmin_by(lambda k, best: distance(k) <= distance(best)))),
        _two,
    ),
    Mutant(
        "the greatest distance",
        ARGMIN.concluding(lowest(argmin_by(lambda k, best: distance(best) < distance(k)))),
        _three,
    ),
    Mutant(
        "the first place is skipped",
        ARGMIN.concluding(
            lowest(argmin_by(lambda k, best: (k.eq(1)) | (distance(k) < distance(best))))
        ),
        _three,
    ),
)
def argmin_nearest(p: Proof) -> Theorem:
    least = p.use(argmin_least, v=distance)
    facts = least.formula.args[1]
    below = facts.args[1]
    before = p.at(below, at)
    rival = near(at)
    never = p.smt(facts >> ((at < held) >> ~rival), before, p.at(rival.args[1], held))
    return p.smt(ARGMIN.formula, least, p.every(never, at))


@proves(
    EXISTS,
    Mutant("without hK", EXISTS.without("hK"), instance(vectors="z", n=1, K=0, C=lambda *_: 0)),
    Mutant(
        "more than one",
        EXISTS.concluding(
            exists_below(K, lambda k: near(k) & exists_below(K, lambda q: near(q) & ~k.eq(q)))
        ),
        _two,
    ),
)
def exists_nearest(p: Proof) -> Theorem:
    nowhere = EXISTS.conclusion.args[0]
    return p.smt(EXISTS.formula, p.get(argmin_nearest), p.at(nowhere, held))
