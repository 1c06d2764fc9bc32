"""Theorem of part C on quantized latents and codes: how far below the best a score may lie.

Out: an entry of the ledger. Imports lemmas on nearest codes and dot products.
"""

from collections.abc import Mapping
from typing import Any

from certvq.theory._definitions import dot, row, squared_l2
from certvq.theory._distance import C, K, i, j, n, x, y, z
from certvq.theory._filter import HI, computed, within
from certvq.theory._instances import entries, instance
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Mutant, Statement, proves
from certvq.theory._nearest import expansion, near
from certvq.theory._operators import NAT, REAL
from certvq.theory._products import dot_le_of_norms
from certvq.theory._proof import Proof
from certvq.theory._terms import Function, Vector, forall_below, real, variables, vector

a, b, rho, w, A, B = variables(REAL, "a b rho w A B")
zq, v = vector("zq"), vector("v")
Cq = Function("Cq", (NAT, NAT), REAL)


def apart(left: Vector, right: Vector) -> Term:
    """The squared distance."""
    return squared_l2(n, left, right)


def bound(moved: Term, far: int = 2, square: int = 2, errors: int = 2) -> Term:
    """How much the score of i may exceed that of j, when quantizing moves both sides so far."""
    return far * rho * moved + square * (moved * moved) + errors * w


def at_most(most: Term) -> Term:
    """The computed score of i exceeds that of j by no more."""
    return computed(i) - computed(j) <= most


GAP = Statement(
    name="quantized_score_gap_le",
    part="C",
    meaning="Quantizing moves the latent by at most a and every code vector by at most b. Where "
    "the quantized latent is at most rho from some quantized code vector, the score of a code "
    "that was nearest before is at most 2 rho (a + b) + 2 (a + b)^2 below the score of that one, "
    "and 2 w more where the computed scores err by at most w.",
    latex=r"|z - z'| \le a,\; |C_k - C'_k| \le b,\; |z' - C'_i| \le \rho,\; "
    r"\mathrm{Near}(C, z, j),\; |t_k - (z' \cdot C'_k - \tfrac12 |C'_k|^2)| \le w "
    r"\;\Rightarrow\; t_i - t_j \le 2 \rho (a + b) + 2 (a + b)^2 + 2 w",
    hypotheses=(
        ("ha0", real(0) <= a),
        ("hb0", real(0) <= b),
        ("hrho0", real(0) <= rho),
        HI,
        ("ha", apart(z, zq) <= a * a),
        ("hb", forall_below(K, lambda k: apart(row(C, k), row(Cq, k)) <= b * b)),
        ("hrho", apart(zq, row(Cq, i)) <= rho * rho),
        ("hnear", near(j)),
        ("hw", within(w, zq, Cq)),
    ),
    conclusion=at_most(bound(a + b)),
)


def far(p: Proof) -> Theorem:
    """State that |x - y| <= A and |y - v| <= B imply d(x, v) <= d(x, y) + 2 A B + B B."""

    def first(k: Term) -> Term:
        return x(k) - y(k)

    def second(k: Term) -> Term:
        return y(k) - v(k)

    whole = apart(x, y) + 2 * dot(n, first, second) + apart(y, v)
    through = p.induct(apart(x, v).eq(whole), n)
    given = (real(0) <= A) & (real(0) <= B) & (apart(x, y) <= A * A) & (apart(y, v) <= B * B)
    cross = p.use(dot_le_of_norms, x=first, y=second)
    return p.smt(given >> (apart(x, v) <= apart(x, y) + 2 * (A * B) + B * B), through, cross)


def same_back(p: Proof) -> Theorem:
    """d(x, y) = d(y, x)."""
    return p.induct(apart(x, y).eq(apart(y, x)), n)


_two = instance(reals="a b rho w", vectors="z zq", matrices="C Cq", n=1, K=2, i=0, j=1)


def _shape(unknowns: Any) -> Mapping[str, Any]:
    return {**_two(unknowns), "computed": entries(unknowns, "computed", 2)}


def _beyond(unknowns: Any) -> Mapping[str, Any]:
    return {**_shape(unknowns), "i": 2}


@proves(
    GAP,
    *(
        Mutant(f"without {label}", GAP.without(label), _shape)
        for label in GAP.labels
        if label != "hi"
    ),
    Mutant("without hi", GAP.without("hi"), _beyond),
    Mutant("the latent alone moves", GAP.concluding(at_most(bound(a))), _shape),
    Mutant("the codes alone move", GAP.concluding(at_most(bound(b))), _shape),
    Mutant(
        "hb of i alone", GAP.with_hypothesis("hb", apart(row(C, i), row(Cq, i)) <= b * b), _shape
    ),
    Mutant("rho for 2 rho", GAP.concluding(at_most(bound(a + b, far=1))), _shape),
    Mutant("e^2 for 2 e^2", GAP.concluding(at_most(bound(a + b, square=1))), _shape),
    Mutant("w for 2 w", GAP.concluding(at_most(bound(a + b, errors=1))), _shape),
    Mutant("< for <=", GAP.concluding(computed(i) - computed(j) < bound(a + b)), _shape),
)
def quantized_gap(p: Proof) -> Theorem:
    given = GAP.formula.args[0]
    e = a + b
    start, end = apart(zq, row(Cq, i)), apart(zq, row(Cq, j))
    seen = [
        *(p.at(GAP.hypothesis("hb"), code) for code in (i, j)),
        p.at(near(j).args[1], i),
        p.use(same_back, x=row(C, i), y=row(Cq, i)),
        p.use(same_back, x=z, y=zq),
        p.use(same_back, x=z, y=row(C, i)),
        p.use(same_back, x=zq, y=row(C, i)),
        p.use(same_back, x=z, y=row(C, j)),
        p.use(same_back, x=zq, y=row(C, j)),
    ]
    # |z' - C'_i|, |z' - C_i|, |z - C_i| >= |z - C_j|, |z' - C_j|, |z' - C'_j|: four small steps
    legs = [
        p.use(far, x=zq, y=row(Cq, i), v=row(C, i), A=rho, B=b),
        p.use(far, x=row(C, i), y=zq, v=z, A=rho + b, B=a),
        p.use(far, x=row(C, j), y=z, v=zq, A=rho + e, B=a),
        p.use(far, x=zq, y=row(C, j), v=row(Cq, j), A=rho + e + a, B=b),
    ]
    near_i = apart(z, row(C, i)) <= start + 2 * (rho * e) + e * e
    before = p.smt(given >> near_i, *seen, *legs[:2])
    after = p.smt(given >> (end <= start + 4 * (rho * e) + 4 * (e * e)), before, *seen, *legs[2:])
    scores = [p.at(GAP.hypothesis("hw"), code) for code in (i, j)]
    sums = [p.use(expansion, x=zq, y=row(Cq, code)) for code in (i, j)]
    return p.smt(GAP.formula, after, *scores, *sums, p.at(near(j).args[1], j))
