"""Theorem of part C on rounding: a dot product summed in any order.

Out: an entry of the ledger, and the axioms of rounding. Imports lemmas on sums.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from certvq.theory._distance import x, y
from certvq.theory._instances import entries
from certvq.theory._kernel import TREE, Term, Theorem
from certvq.theory._ledger import Instance, Mutant, Statement, assumes, proves
from certvq.theory._objective import mul_mono
from certvq.theory._operators import NAT, REAL
from certvq.theory._proof import Proof
from certvq.theory._terms import (
    Function,
    abs_le,
    absolute,
    conj,
    fold,
    forall,
    leaf,
    nat,
    node,
    power,
    real,
    to_real,
    variables,
)

u, w, a, b, c, d = variables(REAL, "u w a b c d")
n, k1 = variables(NAT, "n k")
tree, left, right = variables(TREE, "t l r")
computed = Function("computed", (TREE,), REAL)
delta, eta = Function("delta", (TREE,), REAL), Function("eta", (TREE,), REAL)


def exact(t: Term) -> Term:
    """The sum of the products at the leaves."""
    return fold(t, lambda k: x(k) * y(k), lambda s, r: s + r)


def magnitude(t: Term) -> Term:
    """The sum of the absolute products at the leaves."""
    return fold(t, lambda k: absolute(x(k) * y(k)), lambda s, r: s + r)


def leaves(t: Term) -> Term:
    """The number of leaves."""
    return fold(t, lambda _: nat(1), lambda s, r: s + r)


def product_rounds(k: Term) -> Term:
    """A product is exact (1 + delta) + eta."""
    return computed(leaf(k)).eq(x(k) * y(k) * (1 + delta(leaf(k))) + eta(leaf(k)))


def sum_rounds(s: Term, r: Term) -> Term:
    """A sum is exact (1 + delta); fused with a product, it may also underflow."""
    join, slip = computed(node(s, r)), 1 + delta(node(s, r))
    fused = leaves(r).eq(1) & join.eq((computed(s) + exact(r)) * slip + eta(node(s, r)))
    return join.eq((computed(s) + computed(r)) * slip) | fused


HU, HW = real(0) <= u, real(0) <= w
HDELTA = forall(lambda t: abs_le(delta(t), u), TREE)
HETA = forall(lambda t: abs_le(eta(t), w), TREE)
HLEAF = forall(product_rounds)
HNODE = forall(lambda s: forall(lambda r: sum_rounds(s, r), TREE), TREE)


def computes(*parts: Term) -> tuple[str, Term]:
    """Every value is what some rounded operation gives; mutants leave out parts."""
    return "hcomputed", conj(*parts)


HCOMPUTED = computes(HU, HW, HDELTA, HETA, HLEAF, HNODE)
HMU = ("hmu", to_real(leaves(tree)) * u < 1)
count = to_real(leaves(tree))
gamma = count * u / (1 - count * u)
ROUNDING = Statement(
    name="dot_rounding_error_le",
    part="C",
    meaning="A dot product of m terms, computed in any order with a rounding error of relative "
    "size u in each operation and w where a product underflows, errs by at most gamma_m = "
    "m u / (1 - m u) of the sum of the absolute products, besides m underflows.",
    latex=r"m u < 1 \;\Rightarrow\; |\hat s - \textstyle\sum_k x_k y_k| \le \gamma_m "
    r"\sum_k |x_k y_k| + m w (1 + \gamma_m),\quad \gamma_m = \frac{m u}{1 - m u}",
    hypotheses=(HCOMPUTED, HMU),
    conclusion=abs_le(
        computed(tree) - exact(tree), gamma * magnitude(tree) + count * w * (1 + gamma)
    ),
)


_U64, _W64 = Fraction(1, 2**53), Fraction(1, 2**1075)
_IEEE = "IEEE 754-2019, sections 4.3.1 and 7.5"
assumes(
    "ax_ieee754_product",
    forall(lambda t: abs_le(delta(t), real(_U64)) & abs_le(eta(t), real(_W64)), TREE) & HLEAF,
    f"{_IEEE}: a float64 product is rounded to nearest, with gradual underflow, so that it is "
    "exact (1 + delta) + eta with abs(delta) <= 2^-53 and abs(eta) <= 2^-1075, short of overflow.",
)
assumes(
    "ax_ieee754_sum",
    forall(lambda t: abs_le(delta(t), real(_U64)), TREE) & HNODE,
    f"{_IEEE}: a float64 sum is rounded to nearest, so that it is exact (1 + delta) with "
    "abs(delta) <= 2^-53, short of overflow; sums of subnormal numbers are exact. A fused "
    "multiply-add rounds once, and errs by at most 2^-1075 more where its result is subnormal.",
)
assumes(
    "ax_narrow_product_exact",
    forall(lambda k: computed(leaf(k)).eq(x(k) * y(k))),
    f"{_IEEE}: the product of two bfloat16 or two float16 numbers has at most 22 significant bits, "
    "so that it is exact in float32 (for bfloat16 where it neither overflows nor underflows), and "
    "always in float64.",
)


def power_add(p: Proof) -> Theorem:
    """a^(m + n) = a^m a^n."""
    (m,) = variables(NAT, "m")
    total = power(a, m + n).eq(power(a, m) * power(a, n))
    return p.induct(total, n, *_next(p, m))


def _next(p: Proof, m: Term) -> list[Theorem]:
    """a^(m + n + 1) = a^(m + n) a, the sum bracketed as the induction has it."""
    place = m + n
    return [p.kernel.unfold(power(a, place + 1)), *_same_place(p, m)]


def _same_place(p: Proof, m: Term) -> list[Theorem]:
    return [p.smt((m + (n + 1)).eq((m + n) + 1))]


def power_ge(p: Proof) -> Theorem:
    """0 <= u implies 1 <= (1 + u)^n, and 1 + u <= (1 + u)^n if 0 < n."""
    grown = power(1 + u, n)
    both = (real(1) <= grown) & ((nat(0) < n) >> (1 + u <= grown))
    step = p.use(mul_mono, a=real(1), b=grown, c=1 + u)
    return p.induct((real(0) <= u) >> both, n, step)


def power_times_rest(p: Proof) -> Theorem:
    """0 <= u and n u < 1 imply (1 + u)^n (1 - n u) <= 1."""
    grown, rest = power(1 + u, n), 1 - to_real(n) * u
    goal = ((real(0) <= u) & (to_real(n) * u < 1)) >> (grown * rest <= 1)
    shorter = (1 + u) * (1 - (to_real(n) + 1) * u)
    less = p.smt(shorter <= 1 - to_real(n) * u)
    scaled = p.use(mul_mono, a=shorter, b=rest, c=grown)
    return p.induct(goal, n, p.get(power_ge), less, scaled)


def abs_mul(p: Proof) -> Theorem:
    """Abs a <= c and abs b <= d imply abs (a b) <= c d."""
    given = abs_le(a, c) & abs_le(b, d)
    return p.smt(given >> abs_le(a * b, c * d))


def _grown_bound(p: Proof) -> Theorem:
    """The bound of one side of a node, after one more rounding, is within the node's share."""
    g1, g2, whole, part, m = variables(REAL, "g1 g2 whole part m")
    given = (real(0) <= u) & (real(0) <= w) & (real(0) <= m) & (real(0) <= part)
    given = given & (real(1) <= g1) & (1 + u <= g2) & whole.eq(g1 * g2)
    old = (g1 - 1) * part + m * w * g1
    new = (whole - 1) * part + m * w * whole
    grow = p.use(mul_mono, a=1 + u, b=g2, c=g1)
    first = p.use(mul_mono, a=(1 + u) * g1, b=whole, c=part)
    weight = p.smt(((real(0) <= m) & (real(0) <= w)) >> (real(0) <= m * w))
    second = p.use(mul_mono, a=(1 + u) * g1, b=whole, c=m * w)
    return p.smt(given >> (old * (1 + u) + part * u <= new), grow, first, weight, second)


def _one_error(p: Proof) -> Theorem:
    """Abs (error (1 + delta) + exact delta) <= bound (1 + u) + size u."""
    error, value, bound, size, slip = variables(REAL, "error value bound size slip")
    given = abs_le(error, bound) & abs_le(value, size) & abs_le(slip, u) & (real(0) <= u)
    facts = [
        p.use(abs_mul, a=error, b=1 + slip, c=bound, d=1 + u),
        p.use(abs_mul, a=value, b=slip, c=size, d=u),
    ]
    goal = abs_le(error * (1 + slip) + value * slip, bound * (1 + u) + size * u)
    return p.smt(given >> goal, *facts)


def _one_side(p: Proof) -> Theorem:
    """What one side of a node contributes to the node's error."""
    g1, g2, whole, part, m = variables(REAL, "g1 g2 whole part m")
    error, value, slip, bound = variables(REAL, "error value slip bound")
    signs = (real(0) <= u) & (real(0) <= w) & (real(0) <= m)
    given = signs & (real(1) <= g1) & (1 + u <= g2) & whole.eq(g1 * g2)
    given = given & bound.eq((g1 - 1) * part + m * w * g1)
    given = given & abs_le(error, bound) & abs_le(value, part) & abs_le(slip, u)
    share = (whole - 1) * part + m * w * whole
    goal = abs_le(error * (1 + slip) + value * slip, share)
    return p.smt(given >> goal, p.get(_grown_bound), p.use(_one_error, size=part))


def _fused_side(p: Proof) -> Theorem:
    """What a product that is fused with the sum contributes to the node's error."""
    g1, g2, whole, part, value, slip, lost = variables(REAL, "g1 g2 whole part value slip lost")
    given = HU & HW & (real(1) <= g1) & (1 + u <= g2) & whole.eq(g1 * g2)
    given = given & abs_le(value, part) & abs_le(slip, u) & abs_le(lost, w)
    share = (whole - 1) * part + 1 * w * whole
    facts = [
        p.use(mul_mono, a=real(1), b=g1, c=g2),
        p.use(abs_mul, a=value, b=slip, c=part, d=u),
        p.use(mul_mono, a=u, b=whole - 1, c=part),
        p.use(mul_mono, a=real(1), b=whole, c=w),
    ]
    return p.smt(given >> abs_le(value * slip + lost, share), *facts)


def _both_sides(p: Proof) -> Theorem:
    """The errors of both sides add up to the node's."""
    whole, total, value, size, m, slip, lost = variables(REAL, "whole total value size m slip lost")
    c1, c2, e1, e2, p1, p2, m1, m2 = variables(REAL, "c1 c2 e1 e2 p1 p2 m1 m2")
    given = total.eq((c1 + c2) * (1 + slip) + lost) & value.eq(e1 + e2) & size.eq(p1 + p2)
    given = given & m.eq(m1 + m2)
    for computed_, exact_, part, count_, more in ((c1, e1, p1, m1, 0), (c2, e2, p2, m2, lost)):
        share = (whole - 1) * part + count_ * w * whole
        error = (computed_ - exact_) * (1 + slip) + exact_ * slip + more
        given = given & abs_le(error, share)
    return p.smt(given >> abs_le(total - value, (whole - 1) * size + m * w * whole))


def _invariant(t: Term) -> Term:
    grown, m = power(1 + u, leaves(t)), to_real(leaves(t))
    bound = (grown - 1) * magnitude(t) + m * w * grown
    held = abs_le(computed(t) - exact(t), bound) & abs_le(exact(t), magnitude(t))
    return (nat(0) < leaves(t)) & held


def _at_leaf(p: Proof, given: Term) -> list[Theorem]:
    place = leaf(k1)
    value = x(k1) * y(k1)
    grown = power(1 + u, nat(1))
    one = p.smt(grown.eq(1 + u), *p.unfold([power(1 + u, nat(0) + 1)]))
    facts = [
        p.at(HDELTA, place),
        p.at(HETA, place),
        p.at(HLEAF, k1),
        p.use(abs_mul, a=value, b=delta(place), c=absolute(value), d=u),
        p.use(mul_mono, a=real(1), b=1 + u, c=w),
        one,
    ]
    del given
    return facts


def power_form(p: Proof) -> Theorem:
    """The bound with ((1 + u)^m - 1), by induction over the tree."""
    given = HCOMPUTED[1]
    join = node(left, right)
    rounds = p.at(HNODE, left)
    facts = [p.at(HDELTA, join), p.at(HETA, join), rounds, p.at(rounds.formula.args[1], right)]
    facts.append(p.use(power_add, a=1 + u, m=leaves(left), n=leaves(right)))
    whole = power(1 + u, leaves(join))
    for here, there in ((left, right), (right, left)):
        grown, m = power(1 + u, leaves(here)), to_real(leaves(here))
        facts += [
            p.use(power_ge, n=leaves(here)),
            p.use(
                _one_side,
                g1=grown,
                g2=power(1 + u, leaves(there)),
                whole=whole,
                part=magnitude(here),
                m=m,
                error=computed(here) - exact(here),
                value=exact(here),
                slip=delta(join),
                bound=(grown - 1) * magnitude(here) + m * w * grown,
            ),
        ]
    same = {"whole": whole, "value": exact(right), "part": magnitude(right), "slip": delta(join)}
    grown = {"g1": power(1 + u, leaves(left)), "g2": power(1 + u, leaves(right))}
    facts.append(p.use(_fused_side, **same, **grown, lost=eta(join)))
    for right_value, lost in ((computed(right), real(0)), (exact(right), eta(join))):
        facts.append(
            p.use(
                _both_sides,
                whole=whole,
                total=computed(join),
                value=exact(join),
                size=magnitude(join),
                m=to_real(leaves(join)),
                slip=delta(join),
                lost=lost,
                c1=computed(left),
                c2=right_value,
                e1=exact(left),
                e2=exact(right),
                p1=magnitude(left),
                p2=magnitude(right),
                m1=to_real(leaves(left)),
                m2=to_real(leaves(right)),
            )
        )
    return p.induct_tree(given >> _invariant(tree), tree, _at_leaf(p, given), facts)


def _sum_of_two(relative: Fraction, absolute_error: Fraction, *, anyhow: Any = None) -> Instance:
    """x_0 y_0 + x_1 y_1 with given u and w and unknown errors; `anyhow` is computed at will."""

    def build(unknowns: Any) -> Mapping[str, Any]:
        slip = {t: unknowns.real(f"delta{t[0]}") * Fraction(1, 16) for t in (_FIRST, _BOTH)}
        lost = {_FIRST: unknowns.real("eta") * Fraction(1, 8)}
        left, right = entries(unknowns, "x", 2), entries(unknowns, "y", 2)

        def result(t: Any) -> Any:
            if t == anyhow:
                return unknowns.real("wrong")
            if t[0] == "leaf":
                return left(t[1]) * right(t[1]) * (1 + slip.get(t, 0)) + lost.get(t, 0)
            return (result(t[1]) + result(t[2])) * (1 + slip.get(t, 0))

        return {
            "u": relative,
            "w": absolute_error,
            "x": left,
            "y": right,
            "t": anyhow or _BOTH,
            "nats": 2,
            "trees": (_FIRST, _SECOND, _BOTH),
            "delta": lambda t: slip.get(t, Fraction(0)),
            "eta": lambda t: lost.get(t, Fraction(0)),
            "computed": result,
        }

    return build


_FIRST, _SECOND = ("leaf", 0), ("leaf", 1)
_BOTH = ("node", _FIRST, _SECOND)
_U = (Fraction(1, 16), Fraction(0))
_fine, _lossy = _sum_of_two(*_U), _sum_of_two(Fraction(0), Fraction(1, 8))


@proves(
    ROUNDING,
    Mutant(
        "any relative error", ROUNDING.with_hypothesis(*computes(HU, HW, HETA, HLEAF, HNODE)), _fine
    ),
    Mutant(
        "any underflow", ROUNDING.with_hypothesis(*computes(HU, HW, HDELTA, HLEAF, HNODE)), _fine
    ),
    Mutant(
        "products computed anyhow",
        ROUNDING.with_hypothesis(*computes(HU, HW, HDELTA, HETA, HNODE)),
        _sum_of_two(*_U, anyhow=_FIRST),
    ),
    Mutant(
        "sums computed anyhow",
        ROUNDING.with_hypothesis(*computes(HU, HW, HDELTA, HETA, HLEAF)),
        _sum_of_two(*_U, anyhow=_BOTH),
    ),
    Mutant("without hmu", ROUNDING.without("hmu"), _sum_of_two(Fraction(1), Fraction(0))),
    Mutant(
        "u for gamma_m",
        ROUNDING.concluding(
            abs_le(computed(tree) - exact(tree), u * magnitude(tree) + count * w * (1 + gamma))
        ),
        _fine,
    ),
    Mutant(
        "without underflow",
        ROUNDING.concluding(abs_le(computed(tree) - exact(tree), gamma * magnitude(tree))),
        _lossy,
    ),
    Mutant(
        "gamma_m of the sum itself",
        ROUNDING.concluding(
            abs_le(
                computed(tree) - exact(tree),
                gamma * absolute(exact(tree)) + count * w * (1 + gamma),
            )
        ),
        _fine,
    ),
)
def dot_rounding(p: Proof) -> Theorem:
    grown = power(1 + u, leaves(tree))
    rest = p.use(power_times_rest, n=leaves(tree))
    to_gamma = p.smt(
        (rest.formula.args[0] & (grown * (1 - count * u) <= 1)) >> (grown <= 1 + gamma)
    )
    facts = [
        p.get(power_form),
        rest,
        to_gamma,
        p.use(mul_mono, a=grown - 1, b=gamma, c=magnitude(tree)),
        p.use(mul_mono, a=grown, b=1 + gamma, c=count * w),
        p.smt((real(0) <= w) >> (real(0) <= count * w)),
    ]
    return p.smt(ROUNDING.formula, *facts)
