"""Theorem of part B: the cotangents of the straight-through estimator.

Out: an entry of the ledger. Imports names and lemmas on distances.
"""

from certvq.theory._definitions import dot, mse, row, squared_l2, zero
from certvq.theory._distance import C, i, j, n, x, y, z
from certvq.theory._instances import instance
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Mutant, Statement, proves
from certvq.theory._losses import symmetric
from certvq.theory._operators import REAL
from certvq.theory._proof import Proof
from certvq.theory._terms import Vector, ite, real, to_real, total, variables, vector

g, e = vector("g"), vector("e")
t, beta, q, r = variables(REAL, "t beta q r")
code = row(C, i)


def moved(k: Term) -> Term:
    """The latent after a step t e."""
    return z(k) + t * e(k)


def moved_code(k: Term) -> Term:
    """The selected code vector after a step t e."""
    return C(i, k) + t * e(k)


def moved_other(k: Term) -> Term:
    """Row i of the codebook after a step t e of row j."""
    return ite(i.eq(j), C(i, k) + t * e(k), C(i, k))


def objective(latent: Vector) -> Term:
    """What the encoder sees: g . z + beta mse(z, c), with c held fixed."""
    return dot(n, g, latent) + beta * mse(n, latent, code)


def expansions(factor: Term, weight: Term = beta) -> tuple[Term, Term]:
    """Return the exact expansions of both objectives about a step of t e, given 2 / n."""
    at_encoder = total(n, lambda k: (g(k) + weight * factor * (z(k) - C(i, k))) * e(k))
    at_code = total(n, lambda k: factor * (C(i, k) - z(k)) * e(k))
    rest = t * t * mse(n, e, zero)
    return (
        (objective(moved) - objective(z)).eq(t * at_encoder + beta * rest),
        (mse(n, z, moved_code) - mse(n, z, code)).eq(t * at_code + rest),
    )


two_over_n = real(2) / to_real(n)
unmoved = (~i.eq(j)) >> mse(n, z, moved_other).eq(mse(n, z, code))
both = expansions(two_over_n)
GRADIENTS = Statement(
    name="straightThrough_gradients",
    part="B",
    meaning="The estimator's cotangents: g + beta (2/n)(z - c) at the encoder, (2/n)(c - z) at the "
    "selected code vector, 0 at the others. The objectives are quadratic, so the expansion is "
    "exact: what is linear in the step is the cotangent.",
    latex=r"J(z + te) - J(z) = t \sum_k \bigl(g_k + \beta \tfrac2n (z_k - c_k)\bigr) e_k "
    r"+ t^2 \beta\,\mathrm{mse}(e, 0)\quad\text{and likewise at } c",
    conclusion=both[0] & both[1] & unmoved,
    relied_on_by=("certvq.spec.training_gradients", "certvq.nn.VectorQuantize"),
)
_one = instance(reals="t beta", vectors="z g e", matrices="C", n=1, K=2, i=0, j=1)
_pair = instance(reals="t beta", vectors="z g e", matrices="C", n=2, K=2, i=0, j=1)


def square_step(p: Proof) -> Theorem:
    """d(x + t e, y) - d(x, y) = 2 t (x - y) . e + t^2 d(e, 0)."""
    step = squared_l2(n, lambda k: x(k) + t * e(k), y) - squared_l2(n, x, y)
    linear = total(n, lambda k: (x(k) - y(k)) * e(k))
    return p.induct(step.eq(2 * t * linear + t * t * squared_l2(n, e, zero)), n)


def _encoder_side(p: Proof) -> Theorem:
    """The expansion at the encoder, with any r in place of 1/n and q = 2 r."""
    slope, pull = total(n, lambda k: g(k) * e(k)), total(n, lambda k: (z(k) - C(i, k)) * e(k))
    linear = total(n, lambda k: (g(k) + beta * q * (z(k) - C(i, k))) * e(k))
    change = dot(n, g, moved) - dot(n, g, z)
    split = p.induct(linear.eq(slope + beta * q * pull), n)
    first = p.induct(change.eq(t * slope), n)
    squares = (squared_l2(n, moved, code) - squared_l2(n, z, code)) * r
    rest = t * t * (squared_l2(n, e, zero) * r)
    goal = q.eq(2 * r) >> (change + beta * squares).eq(t * linear + beta * rest)
    return p.smt(goal, split, first, p.use(square_step, x=z, y=code))


def _code_side(p: Proof) -> Theorem:
    """The expansion at the code vector, likewise."""
    change = squared_l2(n, z, moved_code) * r - squared_l2(n, z, code) * r
    pull = total(n, lambda k: (C(i, k) - z(k)) * e(k))
    linear = total(n, lambda k: q * (C(i, k) - z(k)) * e(k))
    split = p.induct(linear.eq(q * pull), n)
    turned = [p.use(symmetric, x=z, y=y) for y in (moved_code, code)]
    rest = t * t * (squared_l2(n, e, zero) * r)
    goal = q.eq(2 * r) >> change.eq(t * linear + rest)
    return p.smt(goal, split, p.use(square_step, x=code, y=z), *turned)


def over_count(p: Proof) -> Theorem:
    """State that a / b = a (1 / b), also at b = 0."""
    a, b, c = variables(REAL, "a b c")
    scaled = p.smt(a.eq(b) >> (a * c).eq(b * c))
    one, whole = real(1) / b, a / b
    hints = [p.use(scaled, a=whole * b, b=a, c=one), p.use(scaled, a=one * b, b=real(1), c=whole)]
    return p.smt(whole.eq(a * one), *hints)


def _other_side(p: Proof) -> Theorem:
    """A step of another row leaves the distance alone."""
    return p.induct((~i.eq(j)) >> squared_l2(n, z, moved_other).eq(squared_l2(n, z, code)), n)


@proves(
    GRADIENTS,
    Mutant("1/n for 2/n", GRADIENTS.concluding(expansions(real(1) / to_real(n))[0]), _pair),
    Mutant("2 for 2/n", GRADIENTS.concluding(expansions(real(2))[1]), _pair),
    Mutant("beta is lost", GRADIENTS.concluding(expansions(two_over_n, real(1))[0]), _one),
    Mutant("z - c at the code", GRADIENTS.concluding(expansions(-two_over_n)[1]), _one),
    Mutant(
        "the row itself moves",
        GRADIENTS.concluding(unmoved.args[1]),
        instance(reals="t beta", vectors="z g e", matrices="C", n=1, K=2, i=0, j=0),
    ),
)
def _(p: Proof) -> Theorem:
    count = to_real(n)
    sums = [
        squared_l2(n, *pair)
        for pair in ((z, code), (moved, code), (z, moved_code), (e, zero), (z, moved_other))
    ]
    quotients = [p.use(over_count, a=term, b=count) for term in (real(2), *sums)]
    sides = [p.use(side, q=two_over_n, r=real(1) / count) for side in (_encoder_side, _code_side)]
    parts = [p.smt(formula, *quotients, sides[s]) for s, formula in enumerate(both)]
    return p.smt(GRADIENTS.formula, *parts, p.smt(unmoved, p.get(_other_side), *quotients))
