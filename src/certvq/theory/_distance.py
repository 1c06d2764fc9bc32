"""Theorems of parts A and B: squared distances, exact matches.

Out: entries of the ledger, and lemmas on sums. Must not import other modules of theorems.
"""

from collections.abc import Callable

from certvq.theory._definitions import is_nearest_code, row, same_entries, squared_l2, zero
from certvq.theory._instances import instance
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Mutant, Statement, proves
from certvq.theory._operators import NAT, REAL
from certvq.theory._proof import Proof
from certvq.theory._terms import Function, forall_below, nat, real, total, variables, vector

n, m, K, i, j, at = variables(NAT, "n m K i j at")
a, b = variables(REAL, "a b")
x, y, z, f, g = (vector(name) for name in ("x", "y", "z", "f", "g"))
C = Function("C", (NAT, NAT), REAL)
distance = squared_l2(n, x, y)


# ---- lemmas on sums ---------------------------------------------------------------------------


def sq_nonneg(p: Proof) -> Theorem:
    """0 <= a a."""
    return p.smt(real(0) <= a * a)


def quotient_nonneg(p: Proof) -> Theorem:
    """0 <= a and 0 <= b imply 0 <= a / b."""
    q = a / b
    return p.smt(((real(0) <= a) & (real(0) <= b)) >> (real(0) <= q))


def sum_congr(p: Proof) -> Theorem:
    """f_k = g_k for all k < n implies that the sums are equal."""
    return _guarded(p, lambda k: f(k).eq(g(k)), total(n, f).eq(total(n, g)))


def sum_le(p: Proof) -> Theorem:
    """f_k <= g_k for all k < n implies the same of the sums."""
    return _guarded(p, lambda k: f(k) <= g(k), total(n, f) <= total(n, g))


def _guarded(p: Proof, condition: Callable[[Term], Term], conclusion: Term) -> Theorem:
    """Prove by induction: the condition for all k < n implies the conclusion on n."""
    now, then = (forall_below(end, condition) for end in (n, n + 1))
    shrink = p.widen(then, now)
    return p.induct(now >> conclusion, n, shrink, p.at(then, n))


# ---- the seed ---------------------------------------------------------------------------------

SQ_NONNEG = Statement(
    name="squaredL2_nonneg",
    part="A",
    meaning="A squared distance is never negative.",
    latex=r"0 \le d(x, y)",
    conclusion=real(0) <= distance,
    seed_name="squaredL2_nonneg",
    relied_on_by=("certvq.spec.squared_l2",),
)
SQ_SELF = Statement(
    name="squaredL2_self",
    part="A",
    meaning="A vector has distance 0 from itself.",
    latex=r"d(x, x) = 0",
    conclusion=squared_l2(n, x, x).eq(0),
    seed_name="squaredL2_self",
    relied_on_by=("certvq.spec.squared_l2",),
)
_HI = ("hi", i < K)
_HMATCH = ("hmatch", same_entries(n, z, row(C, i)))
MATCH_NEAREST = Statement(
    name="exactCodeMatch_isNearestCode",
    part="A",
    meaning="A latent that is a code vector has that code as a nearest one.",
    latex=r"z = C_i \;\Rightarrow\; \mathrm{Near}(C, z, i)",
    hypotheses=(_HI, _HMATCH),
    conclusion=is_nearest_code(n, K, C, z, i),
    seed_name="exactCodeMatch_isNearestCode",
    relied_on_by=("certvq.spec.is_nearest_code",),
)
MATCH_ZERO = Statement(
    name="exactCodeMatch_selected_distance_zero",
    part="A",
    meaning="A latent that is a code vector has distance 0 from it.",
    latex=r"z = C_i \;\Rightarrow\; d(z, C_i) = 0",
    hypotheses=(_HMATCH,),
    conclusion=squared_l2(n, z, row(C, i)).eq(0),
    seed_name="exactCodeMatch_selected_distance_zero",
    relied_on_by=("certvq.spec.is_nearest_code",),
)
MINIMIZES = Statement(
    name="nearestCode_minimizes_quantization_loss",
    part="A",
    meaning="No code is closer than a nearest one.",
    latex=r"\mathrm{Near}(C, z, i) \;\Rightarrow\; d(z, C_i) \le d(z, C_j)",
    hypotheses=(("hnear", is_nearest_code(n, K, C, z, i)), ("hj", j < K)),
    conclusion=squared_l2(n, z, row(C, i)) <= squared_l2(n, z, row(C, j)),
    seed_name="nearestCode_minimizes_quantization_loss",
    relied_on_by=("certvq.check.verify",),
)
_xy = instance(vectors="x y", n=2)
_match = instance(vectors="z", matrices="C", n=1, K=2, i=0, j=1)


@proves(
    SQ_NONNEG,
    Mutant("< for <=", SQ_NONNEG.concluding(real(0) < distance), _xy),
    Mutant("at least 1", SQ_NONNEG.concluding(real(1) <= distance), _xy),
)
def squared_l2_nonneg(p: Proof) -> Theorem:
    return p.induct(SQ_NONNEG.formula, n, p.use(sq_nonneg, a=x(n) - y(n)))


@proves(SQ_SELF, Mutant("another vector", SQ_SELF.concluding(distance.eq(0)), _xy))
def squared_l2_self(p: Proof) -> Theorem:
    return p.induct(SQ_SELF.formula, n)


@proves(
    MATCH_ZERO,
    Mutant("without hmatch", MATCH_ZERO.without("hmatch"), _match),
    Mutant(
        "a match of the first entry alone",
        MATCH_ZERO.with_hypothesis("hmatch", same_entries(nat(1), z, row(C, i))),
        instance(vectors="z", matrices="C", n=2, K=2, i=0, j=1),
    ),
)
def match_zero(p: Proof) -> Theorem:
    same, selected = _HMATCH[1], squared_l2(n, z, row(C, i))
    terms = p.use(sum_congr, f=lambda k: (z(k) - C(i, k)) * (z(k) - C(i, k)), g=zero)
    needed = terms.formula.args[0]
    none = p.induct(total(n, zero).eq(0), n)
    return p.smt(same >> selected.eq(0), terms, none, p.widen(same, needed))


@proves(
    MATCH_NEAREST,
    Mutant(
        "without hi",
        MATCH_NEAREST.without("hi"),
        instance(vectors="z", matrices="C", n=1, K=2, i=2, j=1),
    ),
    Mutant("without hmatch", MATCH_NEAREST.without("hmatch"), _match),
    Mutant("another code", MATCH_NEAREST.concluding(is_nearest_code(n, K, C, z, j)), _match),
)
def match_nearest(p: Proof) -> Theorem:
    given = MATCH_NEAREST.formula.args[0]
    nonneg = p.use(squared_l2_nonneg, x=z, y=lambda k: C(at, k))
    wanted = MATCH_NEAREST.conclusion.args[1]
    bound = squared_l2(n, z, row(C, i)) <= squared_l2(n, z, row(C, at))
    below = p.every(p.smt(given >> ((at < K) >> bound), p.use(match_zero), nonneg), at)
    assert wanted.op == "forall"
    return p.smt(MATCH_NEAREST.formula, below)


@proves(
    MINIMIZES,
    Mutant("without hnear", MINIMIZES.without("hnear"), _match),
    Mutant(
        "< for <=",
        MINIMIZES.concluding(squared_l2(n, z, row(C, i)) < squared_l2(n, z, row(C, j))),
        _match,
    ),
    Mutant(
        "without hj",
        MINIMIZES.without("hj"),
        lambda u: {**instance(vectors="z", matrices="C", n=1, K=2)(u), "K": 1, "i": 0, "j": 1},
    ),
)
def minimizes(p: Proof) -> Theorem:
    return p.smt(MINIMIZES.formula, p.at(MINIMIZES.hypothesis("hnear").args[1], j))
