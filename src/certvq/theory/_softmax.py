"""Theorem of part E on softmax: what errors of the logits can do to its weights.

Out: an entry of the ledger. Imports the axioms of the exponential.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from certvq.theory._distance import at, n, sq_nonneg, x
from certvq.theory._errors import NETWORK, e, product_nonneg, signs, xc
from certvq.theory._exponential import (
    FAIR,
    FALLING,
    HADD,
    HALF,
    HTANGENT,
    HTANH,
    STEEP,
    at_pair,
    exp,
    exp_between,
    exp_pos,
    line,
    numbers,
)
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Instance, Mutant, Statement, proves
from certvq.theory._objective import mul_mono
from certvq.theory._operators import REAL
from certvq.theory._proof import Proof
from certvq.theory._terms import (
    Vector,
    abs_le,
    absolute,
    forall_below,
    ite,
    nat,
    real,
    total,
    variables,
    vector,
)

S, Sc, i, ic, q = variables(REAL, "S Sc i ic q")
w, wc = vector("w"), vector("wc")


def weights(logits: Vector) -> Vector:
    """The exponentials of the logits."""
    return lambda k: exp(logits(k))


def share(values: Vector) -> Vector:
    """The values divided by their sum."""
    return lambda k: values(k) / total(n, values)


def apart(left: Vector, right: Vector) -> Term:
    """The sum of the absolute differences."""
    return total(n, lambda k: absolute(left(k) - right(k)))


moved = apart(share(weights(xc)), share(weights(x)))
SOFTMAX = Statement(
    name="softmax_error_le",
    part="E",
    meaning="If no logit errs by more than e, the weights of softmax err by at most e in all: the "
    "sum of their absolute errors, and so their Euclidean error.",
    latex=r"|x'_k - x_k| \le e \;\Rightarrow\; \textstyle\sum_k |\mathrm{softmax}(x')_k - "
    r"\mathrm{softmax}(x)_k| \le e",
    hypotheses=(
        HADD,
        HTANGENT,
        HTANH,
        *signs(he0=e),
        ("hlogits", forall_below(n, lambda k: abs_le(xc(k) - x(k), e))),
    ),
    conclusion=moved <= e,
    relied_on_by=NETWORK,
)


def _two(function: Any, error: Any, start: Any, end: Any, dim: int = 2) -> Instance:
    """The logits of two values before and after, and the error that is said to bound the change."""
    held = numbers(function, e=error)

    def build(unknowns: Any) -> Mapping[str, Any]:
        before, after = (list(map(Fraction, values)) for values in (start, end))
        logits = {"x": before.__getitem__, "xc": after.__getitem__}
        return {**held(unknowns), **logits, "n": dim}

    return build


_EQUAL, _UNLIKE = (0, 0), (HALF, -HALF)


@proves(
    SOFTMAX,
    Mutant("without hadd", SOFTMAX.without("hadd"), _two(line, HALF, (0, -HALF), (HALF, -1))),
    Mutant("without htangent", SOFTMAX.without("htangent"), _two(FALLING, HALF, _EQUAL, _UNLIKE)),
    Mutant("without htanh", SOFTMAX.without("htanh"), _two(STEEP, HALF, _EQUAL, _UNLIKE)),
    Mutant("without he0", SOFTMAX.without("he0"), _two(FAIR, -1, (), (), dim=0)),
    Mutant("without hlogits", SOFTMAX.without("hlogits"), _two(FAIR, 0, _EQUAL, _UNLIKE)),
    Mutant(
        "half the error",
        SOFTMAX.concluding(moved <= HALF * e),
        _two(FAIR, HALF, _EQUAL, _UNLIKE),
    ),
)
def softmax(p: Proof) -> Theorem:
    given = SOFTMAX.formula.args[0]
    grown = exp(e)
    sums = {"S": total(n, weights(x)), "Sc": total(n, weights(xc))}
    logit = p.at(SOFTMAX.hypothesis("hlogits"), at)
    step = xc(at) - x(at)
    one = [
        logit,
        *(p.use(exp_pos, x=value) for value in (x(at), xc(at))),
        p.use(exp_between, x=step, y=e),
        p.use(exp_between, x=-step, y=e),
        *at_pair(p, HADD[1], x(at), step),
        *at_pair(p, HADD[1], xc(at), -step),
        p.use(mul_mono, a=exp(step), b=grown, c=exp(x(at))),
        p.use(mul_mono, a=exp(-step), b=grown, c=exp(xc(at))),
    ]
    of_weights = p.use(weights_apart, w=weights(x), wc=weights(xc), q=grown, **sums)
    near = p.every(p.smt(given >> ((at < n) >> _near_at(weights(x), weights(xc), grown)), *one), at)
    start = [p.at(HTANGENT[1], e), p.at(HTANH[1], HALF * e)]
    cancel = p.smt(((real(0) < S) & (i * S <= e * S)) >> (i <= e))
    found = p.smt(
        (given & (nat(0) < n)) >> (moved * (grown + 1) <= e * (grown + 1)), near, of_weights, *start
    )
    none = p.induct(n.eq(0) >> moved.eq(0), n)
    return p.smt(SOFTMAX.formula, found, none, *start, p.use(cancel, i=moved, S=grown + 1))


def _near_at(exact: Vector, computed: Vector, factor: Term) -> Term:
    """Two weights are positive, and each is at most the factor times the other."""
    near = (computed(at) <= factor * exact(at)) & (exact(at) <= factor * computed(at))
    return (real(0) < exact(at)) & (real(0) < computed(at)) & near


# ---- positive weights, each known up to a factor q --------------------------------------------

a, b, ac, bc, out = variables(REAL, "a b ac bc out")


def near_weights(end: Term) -> Term:
    """The first weights are positive, and each is at most q times its counterpart."""

    def near(k: Term) -> Term:
        factor = (wc(k) <= q * w(k)) & (w(k) <= q * wc(k))
        return (real(0) < w(k)) & (real(0) < wc(k)) & factor

    return forall_below(end, near)


def rising(values: Vector) -> Term:
    """The sum of the values where the share of the weight rises."""
    return total(n, lambda k: ite(w(k) * i < wc(k) * ic, values(k), real(0)))


def falling(values: Vector) -> Term:
    """The sum of the values where the share of the weight does not rise."""
    return total(n, lambda k: ite(w(k) * i < wc(k) * ic, real(0), values(k)))


def weights_apart(p: Proof) -> Theorem:
    """The shares of two sets of weights are apart by at most 2 (q - 1) / (q + 1)."""
    parts = {"a": rising(w), "b": falling(w), "ac": rising(wc), "bc": falling(wc)}
    inverse = (i * S).eq(1) & (ic * Sc).eq(1)
    shares = apart(lambda k: wc(k) / Sc, lambda k: w(k) / S)
    scaled = apart(lambda k: wc(k) * ic, lambda k: w(k) * i)
    as_products = p.induct(inverse >> shares.eq(scaled), n, _last_quotients(p))
    split = rising(wc) * ic - rising(w) * i + (falling(w) * i - falling(wc) * ic)
    signed = p.induct(scaled.eq(split), n, *_last_terms(p))
    whole = [p.induct(total(n, v).eq(rising(v) + falling(v)), n) for v in (w, wc)]
    given = (real(1) <= q) & near_weights(n)
    longer = [p.widen(near_weights(n + 1), near_weights(n)), p.at(near_weights(n + 1), n)]
    spread = [
        p.smt((q * (a + w(n))).eq(q * a + q * w(n))),
        p.smt((q * (a + wc(n))).eq(q * a + q * wc(n))),
    ]
    spread = [p.use(spread[0], a=rising(w)), p.use(spread[1], a=falling(wc))]
    signs_of = (real(0) <= rising(w)) & (real(0) <= falling(w)) & (real(0) <= rising(wc))
    signs_of = signs_of & (real(0) <= falling(wc))
    ratios = (rising(wc) <= q * rising(w)) & (falling(w) <= q * falling(wc))
    bounded = p.induct(near_weights(n) >> (signs_of & ratios), n, *longer, *spread)
    some = (nat(0) < n) >> ((real(0) < total(n, w)) & (real(0) < total(n, wc)))
    positive = p.induct(near_weights(n) >> some, n, *longer, bounded, *whole)
    inverses = {"i": real(1) / S, "ic": real(1) / Sc}
    facts = [as_products, signed, *whole, bounded, p.use(_share_moves, **parts, out=shares)]
    facts = [p.use(fact, **inverses) for fact in facts]
    goal = (given & (nat(0) < n)) >> (shares * (q + 1) <= 2 * (q - 1))
    sums = S.eq(total(n, w)) & Sc.eq(total(n, wc))
    return p.smt(sums >> goal, *facts, positive)


def _last_quotients(p: Proof) -> Theorem:
    """The last shares, with products for the quotients."""
    first, second, one, other = variables(REAL, "first second one other")
    given = (first * Sc).eq(one) & (ic * Sc).eq(1) & (second * S).eq(other) & (i * S).eq(1)
    single = p.smt(((first * Sc).eq(one) & (ic * Sc).eq(1)) >> first.eq(one * ic))
    facts = [single, p.use(single, first=second, Sc=S, one=other, ic=i)]
    both = p.smt(given >> (first.eq(one * ic) & second.eq(other * i)), *facts)
    return p.use(both, first=wc(n) / Sc, second=w(n) / S, one=wc(n), other=w(n))


def _last_terms(p: Proof) -> list[Theorem]:
    """How the products of sums and inverses grow by their last terms."""
    spread = p.smt(((a + b) * q).eq(a * q + b * q))
    sums = [(rising, wc, ic), (rising, w, i), (falling, w, i), (falling, wc, ic)]
    return [p.use(spread, a=half(values), b=values(n), q=inverse) for half, values, inverse in sums]


def _share_moves(p: Proof) -> Theorem:
    """The shares a / (a + b) and ac / (ac + bc), where ac <= q a and b <= q bc."""
    sums = S.eq(a + b) & Sc.eq(ac + bc) & (i * S).eq(1) & (ic * Sc).eq(1)
    signs_of = (real(0) <= a) & (real(0) <= b) & (real(0) <= ac) & (real(0) <= bc)
    ratios = (real(1) <= q) & (ac <= q * a) & (b <= q * bc)
    given = sums & signs_of & ratios & (real(0) < S) & (real(0) < Sc)
    given = given & out.eq(ac * ic - a * i + (b * i - bc * ic))
    swap, inverse = ac * b - a * bc, i * ic
    unit = p.smt(((real(0) < a) & (i * a).eq(1)) >> (real(0) < i))
    positive = p.use(product_positive, a=i, b=ic)
    halves = [
        p.smt((S.eq(a + b) & (i * S).eq(1)) >> (a * i + b * i).eq(1)),
        p.smt((Sc.eq(ac + bc) & (ic * Sc).eq(1)) >> (ac * ic + bc * ic).eq(1)),
    ]
    first = p.smt((i * S).eq(1) >> (ac * ic).eq(inverse * (ac * S)))
    second = p.smt((ic * Sc).eq(1) >> (a * i).eq(inverse * (a * Sc)))
    crossed = p.smt(
        (S.eq(a + b) & Sc.eq(ac + bc))
        >> (inverse * (ac * S) - inverse * (a * Sc)).eq(inverse * swap)
    )
    doubled = p.smt(given >> out.eq(2 * (inverse * swap)), *halves, first, second, crossed)
    room = (q - 1) * ((a + b) * (ac + bc))
    whole = p.smt(sums >> (inverse * ((a + b) * (ac + bc))).eq(1))
    facts = [
        doubled,
        p.get(_core),
        p.use(unit, a=S),
        p.use(unit, a=Sc, i=ic),
        positive,
        p.use(mul_mono, a=swap * (q + 1), b=room, c=inverse),
        p.smt((swap * (q + 1) * inverse).eq(inverse * swap * (q + 1))),
        p.smt((room * inverse).eq((q - 1) * (inverse * ((a + b) * (ac + bc))))),
        p.use(p.smt(S.eq(1) >> ((q - 1) * S).eq(q - 1)), S=inverse * ((a + b) * (ac + bc))),
        whole,
    ]
    return p.smt(given >> (out * (q + 1) <= 2 * (q - 1)), *facts)


def product_positive(p: Proof) -> Theorem:
    """0 < a and 0 < b imply 0 < a b."""
    return p.smt(((real(0) < a) & (real(0) < b)) >> (real(0) < a * b))


def _core(p: Proof) -> Theorem:
    """(ac b - a bc) (q + 1) <= (q - 1) (a + b) (ac + bc), by what is affine in ac and in b."""
    given = (real(0) <= a) & (real(0) <= b) & (real(0) <= ac) & (real(0) <= bc)
    given = given & (real(1) <= q) & (ac <= q * a) & (b <= q * bc)
    start = (q - 1) * q * (a * a) + 2 * q * (a * bc)
    corner = q * (q - 1) * ((a - bc) * (a - bc))
    slope, end = (q - 1) * bc - 2 * q * a, q * bc
    products = [
        p.use(product_nonneg, A=(q - 1) * q, B=a * a),
        p.use(product_nonneg, A=q - 1, B=q),
        p.use(product_nonneg, A=2 * q, B=a * bc),
        p.use(product_nonneg, A=a, B=bc),
        p.use(product_nonneg, A=b, B=bc),
        p.use(product_nonneg, A=q - 1, B=b * bc),
        p.use(product_nonneg, A=q * (q - 1), B=(a - bc) * (a - bc)),
        p.smt((q * (q - 1)).eq((q - 1) * q)),
        p.use(sq_nonneg, a=a),
        p.use(sq_nonneg, a=a - bc),
    ]
    at_corner = p.smt((start + slope * end).eq(corner))
    edge = p.smt(
        given >> (real(0) <= start + slope * b),
        *products,
        at_corner,
        p.use(_affine, a=start, b=slope, ac=b, bc=end),
    )
    begin, rise = (q - 1) * (b * bc) + 2 * q * (a * bc), (q - 1) * a - 2 * b
    far = p.smt((begin + rise * (q * a)).eq(start + slope * b))
    inside = p.smt(
        given >> (real(0) <= begin + rise * ac),
        *products,
        edge,
        far,
        p.use(_affine, a=begin, b=rise, ac=ac, bc=q * a),
    )
    room = (q - 1) * ((a + b) * (ac + bc)) - (ac * b - a * bc) * (q + 1)
    same = p.smt(room.eq(begin + rise * ac))
    goal = (ac * b - a * bc) * (q + 1) <= (q - 1) * ((a + b) * (ac + bc))
    return p.smt(given >> goal, inside, same)


def _affine(p: Proof) -> Theorem:
    """Where a + b ac is not negative for ac = 0 and ac = bc, it is not negative between them."""
    given = (real(0) <= a) & (real(0) <= a + b * bc) & (real(0) <= ac) & (ac <= bc)
    facts = [
        p.use(product_nonneg, A=b, B=ac),
        p.use(product_nonneg, A=-b, B=bc - ac),
        p.smt(((-b) * (bc - ac)).eq(b * ac - b * bc)),
    ]
    return p.smt(given >> (real(0) <= a + b * ac), *facts)
