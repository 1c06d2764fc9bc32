"""Theorems of part D on perturbed latents: when a code stays nearest.

Out: entries of the ledger. Imports lemmas on nearest codes and dot products.
"""

from collections.abc import Mapping
from typing import Any

from certvq.theory._definitions import dot, is_nearest_code, row, squared_l2, zero
from certvq.theory._distance import C, K, at, i, j, n, sq_nonneg, z
from certvq.theory._instances import entries, instance
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Mutant, Statement, proves
from certvq.theory._nearest import distance, near
from certvq.theory._objective import mul_mono
from certvq.theory._operators import REAL
from certvq.theory._products import abs_le_of_sq_le, cauchy_schwarz, norm_as_dot
from certvq.theory._proof import Proof
from certvq.theory._terms import Vector, forall_below, real, variables, vector

delta, r = vector("delta"), vector("r")


def moved(k: Term) -> Term:
    """The perturbed latent."""
    return z(k) + delta(k)


def step(code: Term) -> Vector:
    """Return C_code - C_i as a vector."""
    return lambda k: C(code, k) - C(i, k)


def between(code: Term) -> Term:
    """d(C_i, C_code)."""
    return squared_l2(n, row(C, i), row(C, code))


def gap(code: Term) -> Term:
    """d(z, C_code) - d(z, C_i)."""
    return distance(code) - distance(i)


def moves_little(factor: int) -> Term:
    """A multiple of delta . (C_j - C_i) is at most the gap, for all j."""
    return forall_below(K, lambda k: factor * dot(n, delta, step(k)) <= gap(k))


still = is_nearest_code(n, K, C, moved, i)
PERTURBATION = Statement(
    name="isNearestCode_of_perturbation",
    part="D",
    meaning="A code is nearest to a perturbed latent just when the perturbation moves no further "
    "towards any other code vector than the gap of the squared distances allows.",
    latex=r"\mathrm{Near}(C, z + \delta, i) \Leftrightarrow \forall j < K.\; "
    r"2\,\delta \cdot (C_j - C_i) \le d(z, C_j) - d(z, C_i)",
    hypotheses=(("hi", i < K),),
    conclusion=still.eq(moves_little(2)),
    relied_on_by=("certvq.stability_radius",),
)
SMALL = Statement(
    name="isNearestCode_of_small_perturbation",
    part="D",
    meaning="A nearest code stays nearest while the latent moves by at most the distance to every "
    "border of its cell: the stability radius.",
    latex=r"\mathrm{Near}(C, z, i),\; |\delta|^2 \le r_j^2,\; 4 r_j^2\, d(C_i, C_j) \le "
    r"(d(z, C_j) - d(z, C_i))^2\; (j \ne i) \;\Rightarrow\; \mathrm{Near}(C, z + \delta, i)",
    hypotheses=(
        ("hnear", near(i)),
        (
            "hradius",
            forall_below(
                K,
                lambda k: (~k.eq(i)) >> (4 * (r(k) * r(k)) * between(k) <= gap(k) * gap(k)),
            ),
        ),
        (
            "hdelta",
            forall_below(K, lambda k: (~k.eq(i)) >> (squared_l2(n, delta, zero) <= r(k) * r(k))),
        ),
    ),
    conclusion=still,
    relied_on_by=("certvq.stability_radius",),
)


def shift(p: Proof) -> Theorem:
    """d(z + delta, C_j) - d(z + delta, C_i) = d(z, C_j) - d(z, C_i) - 2 delta . (C_j - C_i)."""
    change = squared_l2(n, moved, row(C, j)) - squared_l2(n, moved, row(C, i))
    return p.induct(change.eq(gap(j) - 2 * dot(n, delta, step(j))), n)


def norm_of_step(p: Proof) -> Theorem:
    """(C_j - C_i) . (C_j - C_i) = d(C_i, C_j)."""
    return p.induct(dot(n, step(j), step(j)).eq(between(j)), n)


def _bounded(p: Proof) -> Theorem:
    """What Cauchy and Schwarz give for one other code."""
    size, radius2, apart, g, s = variables(REAL, "size radius2 apart g s")
    given = (real(0) <= apart) & (real(0) <= g) & (s * s <= size * apart)
    given = given & (size <= radius2) & (4 * radius2 * apart <= g * g)
    facts = [
        p.use(mul_mono, a=size, b=radius2, c=apart),
        p.use(abs_le_of_sq_le, a=2 * s, b=g),
    ]
    return p.smt(given >> (2 * s <= g), *facts)


_two = instance(vectors="z delta", matrices="C", n=1, K=2, i=0, j=1)


def _with_radii(unknowns: Any) -> Mapping[str, Any]:
    return {**_two(unknowns), "r": entries(unknowns, "r", 2)}


@proves(
    PERTURBATION,
    Mutant("delta for 2 delta", PERTURBATION.concluding(still.eq(moves_little(1))), _two),
    Mutant("away from the other", PERTURBATION.concluding(still.eq(moves_little(-2))), _two),
    Mutant(
        "without hi",
        PERTURBATION.without("hi"),
        lambda u: {**instance(vectors="z delta", matrices="C", n=1, K=1)(u), "i": 1},
    ),
)
def perturbation(p: Proof) -> Theorem:
    left, right = PERTURBATION.conclusion.args
    moves = p.use(shift, j=at)
    there = p.widen(left.args[1], right, moves)
    back = p.widen(right, left.args[1], moves)
    return p.smt(PERTURBATION.formula, there, back)


@proves(
    SMALL,
    Mutant("without hnear", SMALL.without("hnear"), _with_radii),
    Mutant("without hradius", SMALL.without("hradius"), _with_radii),
    Mutant("without hdelta", SMALL.without("hdelta"), _with_radii),
    Mutant(
        "r^2 for 4 r^2",
        SMALL.with_hypothesis(
            "hradius",
            forall_below(
                K, lambda k: (~k.eq(i)) >> ((r(k) * r(k)) * between(k) <= gap(k) * gap(k))
            ),
        ),
        _with_radii,
    ),
    Mutant(
        "half the movement",
        SMALL.with_hypothesis(
            "hdelta",
            forall_below(
                K, lambda k: (~k.eq(i)) >> (squared_l2(n, delta, zero) <= 4 * (r(k) * r(k)))
            ),
        ),
        _with_radii,
    ),
)
def small_perturbation(p: Proof) -> Theorem:
    given = SMALL.formula.args[0]
    moves = p.get(perturbation)
    s = dot(n, delta, step(at))
    apart = between(at)
    nonneg = p.induct(real(0) <= between(j), n, p.use(sq_nonneg, a=C(i, n) - C(j, n)))
    bound = p.use(
        _bounded,
        size=squared_l2(n, delta, zero),
        radius2=r(at) * r(at),
        apart=apart,
        g=gap(at),
        s=s,
    )
    facts = [
        bound,
        p.use(cauchy_schwarz, x=delta, y=step(at)),
        p.use(norm_as_dot, x=delta),
        p.use(norm_of_step, j=at),
        p.use(nonneg, j=at),
        *(p.at(SMALL.hypothesis(label), at) for label in ("hradius", "hdelta")),
        p.at(near(i).args[1], at),
    ]
    apart_case = p.smt((given & (at < K) & ~at.eq(i)) >> (2 * s <= gap(at)), *facts)
    same = p.induct(at.eq(i) >> (s.eq(0) & gap(at).eq(0)), n)
    below = p.smt(given >> ((at < K) >> (2 * s <= gap(at))), apart_case, same)
    return p.smt(SMALL.formula, moves, p.every(below, at))
