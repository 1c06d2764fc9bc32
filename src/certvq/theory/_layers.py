"""Theorems of part E on linear layers, levels of residual codes, and canonical codes.

Out: entries of the ledger. Imports the rules of errors and lemmas on nearest codes.
"""

from collections.abc import Mapping
from typing import Any

from certvq.theory._definitions import (
    dot,
    is_lowest_nearest_code,
    is_nearest_code,
    row,
    squared_l2,
)
from certvq.theory._distance import C, K, at, i, n, sq_nonneg, squared_l2_nonneg, y, z
from certvq.theory._errors import NETWORK, e, m, plus, r, signs, sum_error, triangle, within
from certvq.theory._instances import entries, instance
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Mutant, Statement, proves
from certvq.theory._objective import mul_mono
from certvq.theory._operators import NAT, REAL
from certvq.theory._products import abs_le_of_sq_le, cauchy_schwarz
from certvq.theory._proof import Proof
from certvq.theory._stability import between, norm_of_step, step
from certvq.theory._stability import shift as gap_of_moved
from certvq.theory._terms import (
    Function,
    Vector,
    conj,
    forall_below,
    nat,
    real,
    total,
    variables,
    vector,
)

T, q, t = variables(NAT, "T q t")
zc, b, spread, error = (vector(name) for name in ("zc", "b", "spread", "error"))
W = Function("W", (NAT, NAT, NAT), REAL)
x, xc = Function("x", (NAT, NAT), REAL), Function("xc", (NAT, NAT), REAL)


def tap(index: Term, values: Vector) -> Vector:
    """What a tap makes of a vector: its matrix times the vector."""
    return lambda out: dot(n, lambda k: W(index, out, k), values)


def change(index: Term) -> Vector:
    """The error of the vector at a tap."""
    return lambda k: xc(index, k) - x(index, k)


def taps(values: Function, end: Term = T) -> Vector:
    """The sum over the first taps."""
    return lambda out: total(end, lambda s: tap(s, row(values, s))(out))


def layer(values: Function) -> Vector:
    """The sum over all taps, and the bias."""
    return lambda out: taps(values)(out) + b(out)


def norm_of_tap(index: Term) -> Term:
    """The tap makes the error at most `spread` times as long."""
    made = dot(m, tap(index, change(index)), tap(index, change(index)))
    return made <= spread(index) * spread(index) * squared_l2(n, row(xc, index), row(x, index))


amplified = total(T, lambda s: spread(s) * error(s))
TAPS = Statement(
    name="taps_error_le",
    part="E",
    meaning="A linear layer: the output at a place is a sum over taps t of W_t times the input at "
    "the tap's place, and a bias; a dense layer has one tap, a convolution those of its kernel. "
    "Its error is at most the sum of s_t e_t, besides the rounding r, if W_t makes no error longer "
    "than s_t times what it was (an upper bound of the spectral norm of W_t will do) and e_t "
    "bounds the error at the tap's place.",
    latex=r"|W_t (x'_t - x_t)| \le s_t |x'_t - x_t|,\; |x'_t - x_t| \le e_t,\; "
    r"\Bigl|y' - \bigl(\textstyle\sum_t W_t x'_t + b\bigr)\Bigr| \le r \;\Rightarrow\; "
    r"\Bigl|y' - \bigl(\textstyle\sum_t W_t x_t + b\bigr)\Bigr| \le \textstyle\sum_t s_t e_t + r",
    hypotheses=(
        ("hs0", forall_below(T, lambda s: real(0) <= spread(s))),
        ("he0", forall_below(T, lambda s: real(0) <= error(s))),
        *signs(hr0=r),
        ("hnorm", forall_below(T, norm_of_tap)),
        ("herr", forall_below(T, lambda s: within(n, row(xc, s), row(x, s), error(s)))),
        ("hround", within(m, y, layer(xc), r)),
    ),
    conclusion=within(m, y, layer(x), amplified + r),
    relied_on_by=NETWORK,
)


def _two_taps(unknowns: Any) -> Mapping[str, Any]:
    """Two taps of one channel, with the weights 1 and 2."""
    held = instance(reals="r", vectors="y b", n=1, m=1, T=2)(unknowns)
    more = {name: entries(unknowns, name, 2) for name in ("spread", "error")}
    for name in ("x", "xc"):
        values = entries(unknowns, name, 2)
        more[name] = lambda s, k, values=values: values(s) if k == 0 else 0
    return {**held, **more, "W": lambda s, _out, _k: s + 1}


@proves(
    TAPS,
    *(Mutant(f"without {h}", TAPS.without(h), _two_taps) for h in TAPS.labels),
    Mutant("the rounding is lost", TAPS.concluding(within(m, y, layer(x), amplified)), _two_taps),
    Mutant(
        "the taps spread nothing",
        TAPS.concluding(within(m, y, layer(x), total(T, error) + r)),
        _two_taps,
    ),
    Mutant("the rounding alone", TAPS.concluding(within(m, y, layer(x), r)), _two_taps),
)
def taps_error(p: Proof) -> Theorem:
    given = conj(*(TAPS.hypothesis(label) for label in ("hs0", "he0", "hnorm", "herr")))
    longer = p.shift(given, T)
    share, value, exact = spread(T) * error(T), tap(T, row(xc, T)), tap(T, row(x, T))
    facts = [
        fact
        for label in ("hs0", "he0", "hnorm", "herr")
        for fact in _last_and_rest(p, TAPS.hypothesis(label))
    ]
    facts += [p.use(_linear, t=T), p.use(sq_nonneg, a=spread(T)), _share_grows(p)]
    one = p.smt(longer >> ((real(0) <= share) & within(m, value, exact, share)), *facts)
    sums = {"xc": taps(xc), "x": taps(x), "yc": value, "y": exact}
    joined = p.use(sum_error, n=m, **sums, e=amplified, g=share)
    next_taps = squared_l2(m, taps(xc, T + 1), taps(x, T + 1))
    grown = p.induct(next_taps.eq(squared_l2(m, plus(taps(xc), value), plus(taps(x), exact))), m)
    none = p.induct(squared_l2(m, taps(xc, nat(0)), taps(x, nat(0))).eq(0), m)
    bound = (real(0) <= amplified) & within(m, taps(xc), taps(x), amplified)
    every_tap = p.induct(given >> bound, T, *facts, one, joined, grown, none)
    same = p.induct(squared_l2(m, layer(xc), layer(x)).eq(squared_l2(m, taps(xc), taps(x))), m)
    legs = p.use(triangle, n=m, x=y, y=layer(xc), v=layer(x), A=r, B=amplified)
    return p.smt(TAPS.formula, every_tap, same, legs)


def _last_and_rest(p: Proof, universal: Term) -> list[Theorem]:
    longer = p.shift(universal, T)
    return [p.widen(longer, universal), p.at(longer, T)]


def _share_grows(p: Proof) -> Theorem:
    """The square of an error, times that of the norm of its tap, is at most that of its share."""
    size = squared_l2(n, row(xc, T), row(x, T))
    return p.use(mul_mono, a=size, b=error(T) * error(T), c=spread(T) * spread(T))


def _linear(p: Proof) -> Theorem:
    """What a tap makes of two vectors differs by what it makes of their difference."""
    made, wanted = (tap(t, row(v, t)) for v in (xc, x)), tap(t, change(t))
    computed, exact = made
    one = p.induct((computed(q) - exact(q)).eq(wanted(q)), n)
    return p.induct(squared_l2(m, computed, exact).eq(dot(m, wanted, wanted)), m, p.use(one, q=m))


# ---- levels of residual codes -----------------------------------------------------------------


def less_code(values: Vector) -> Vector:
    """The vector less the code vector that was selected."""
    return lambda k: values(k) - C(i, k)


LEVEL = Statement(
    name="residual_level_error_le",
    part="E",
    meaning="Where the exact and the computed residual select the same code at a level, the error "
    "of the next residual is that of this one, besides the rounding r of the subtraction.",
    latex=r"|z' - z| \le e,\; |y' - (z' - C_i)| \le r \;\Rightarrow\; |y' - (z - C_i)| \le e + r",
    hypotheses=(
        *signs(he0=e, hr0=r),
        ("hz", within(n, zc, z, e)),
        ("hround", within(n, y, less_code(zc), r)),
    ),
    conclusion=within(n, y, less_code(z), e + r),
    relied_on_by=NETWORK,
)
_level = instance(reals="e r", vectors="y z zc", matrices="C", n=1, K=1, i=0)


@proves(
    LEVEL,
    *(Mutant(f"without {h}", LEVEL.without(h), _level) for h in LEVEL.labels),
    Mutant("without the rounding", LEVEL.concluding(within(n, y, less_code(z), e)), _level),
    Mutant("the rounding alone", LEVEL.concluding(within(n, y, less_code(z), r)), _level),
    Mutant("the code is added", LEVEL.concluding(within(n, y, plus(z, row(C, i)), e + r)), _level),
)
def level(p: Proof) -> Theorem:
    same = p.induct(squared_l2(n, less_code(zc), less_code(z)).eq(squared_l2(n, zc, z)), n)
    legs = p.use(triangle, x=y, y=less_code(zc), v=less_code(z), A=r, B=e)
    return p.smt(LEVEL.formula, same, legs)


# ---- canonical codes --------------------------------------------------------------------------

(radius,) = variables(REAL, "radius")


def gap_at(values: Vector, code: Term) -> Term:
    """How much farther a code vector is than C_i, in squared distances."""
    return squared_l2(n, values, row(C, code)) - squared_l2(n, values, row(C, i))


def stable(factor: int) -> Term:
    """The radius is at most the distance to each border of the cell."""

    def border(k: Term) -> Term:
        gap = gap_at(zc, k)
        return (~k.eq(i)) >> (factor * (radius * radius) * between(k) <= gap * gap)

    return forall_below(K, border)


def lowest_at(values: Vector) -> Term:
    """Code i is the lowest nearest code of a latent."""
    return is_lowest_nearest_code(n, K, C, values, i)


CANONICAL = Statement(
    name="canonical_of_bound_lt_radius",
    part="E",
    meaning="If the computed latent is within e of the latent over the real numbers, and e is less "
    "than the computed one's stability radius, both have the same lowest nearest code: the "
    "canonical one.",
    latex=r"\mathrm{Low}(C, z', i),\; |z' - z| \le e < \rho,\; 4 \rho^2\, d(C_i, C_j) \le "
    r"(d(z', C_j) - d(z', C_i))^2\; (j \ne i) \;\Rightarrow\; \mathrm{Low}(C, z, i)",
    hypotheses=(
        ("hlow", lowest_at(zc)),
        *signs(he0=e),
        ("hz", within(n, zc, z, e)),
        ("hless", e < radius),
        ("hradius", stable(4)),
    ),
    conclusion=lowest_at(z),
    relied_on_by=NETWORK,
)
_last = instance(reals="e radius", vectors="z zc", matrices="C", n=1, K=2, i=1)
_first = instance(reals="e radius", vectors="z zc", matrices="C", n=1, K=2, i=0)


@proves(
    CANONICAL,
    *(Mutant(f"without {h}", CANONICAL.without(h), _last) for h in CANONICAL.labels),
    Mutant("at the border", CANONICAL.with_hypothesis("hless", e <= radius), _last),
    Mutant("twice the radius", CANONICAL.with_hypothesis("hradius", stable(1)), _first),
    Mutant("half the error", CANONICAL.with_hypothesis("hz", within(n, zc, z, 2 * e)), _first),
    Mutant(
        "nearest, and not the lowest",
        CANONICAL.with_hypothesis("hlow", is_nearest_code(n, K, C, zc, i)),
        _last,
    ),
)
def canonical(p: Proof) -> Theorem:
    given = CANONICAL.formula.args[0]
    now, first = is_nearest_code(n, K, C, z, at), is_nearest_code(n, K, C, zc, i)
    lower = p.at(lowest_at(zc).args[1], at)
    gap, gap_now = gap_at(zc, at), gap_at(z, at)
    (other,) = variables(NAT, "other")
    farther = _to(zc, at) <= _to(zc, other)
    seen = [p.at(first.args[1], place) for place in (at, other)]
    beats = p.smt((given & (at < K) & (gap <= 0)) >> ((other < K) >> farther), *seen)
    ahead = p.smt(
        given >> ((at < K) >> ((real(0) <= gap) & ((at < i) >> (real(0) < gap)))),
        p.every(beats, other),
        lower,
        *seen,
    )
    leads = (real(0) <= gap_now) & ((at < i) >> (real(0) < gap_now))
    apart = p.smt(
        (given & (at < K) & ~at.eq(i)) >> leads, ahead, p.at(stable(4), at), *_at_distance(p)
    )
    itself = p.induct(at.eq(i) >> gap_now.eq(0), n)
    facts = [
        p.smt(given >> ((at < K) >> (_to(z, i) <= _to(z, at))), apart, itself),
        p.smt(given >> ((at < i) >> ~now), apart, p.at(now.args[1], i)),
    ]
    return p.smt(CANONICAL.formula, *(p.every(fact, at) for fact in facts))


def _to(values: Vector, code: Term) -> Term:
    return squared_l2(n, values, row(C, code))


def _at_distance(p: Proof) -> list[Theorem]:
    """What Cauchy and Schwarz say of the way from z' to z and the code vector `at`."""

    def way(k: Term) -> Term:
        return z(k) - zc(k)

    def there(k: Term) -> Term:
        return zc(k) + way(k)

    towards, size = dot(n, way, step(at)), squared_l2(n, zc, z)
    bounded = p.use(
        _bounded, size=size, e=e, radius=radius, apart=between(at), g=gap_at(zc, at), s=towards
    )
    arrived = [p.induct(_to(there, code).eq(_to(z, code)), n) for code in (at, i)]
    return [
        bounded,
        *arrived,
        p.use(gap_of_moved, z=zc, delta=way, j=at),
        p.use(cauchy_schwarz, x=way, y=step(at)),
        p.use(norm_of_step, j=at),
        p.induct(dot(n, way, way).eq(size), n),
        p.use(squared_l2_nonneg, x=row(C, i), y=row(C, at)),
    ]


def _bounded(p: Proof) -> Theorem:
    """A step shorter than the radius covers less than the gap, or nothing of one that is 0."""
    size, apart, g, s = variables(REAL, "size apart g s")
    given = (real(0) <= apart) & (real(0) <= g) & (s * s <= size * apart)
    given = given & (size <= e * e) & (real(0) <= e) & (e < radius)
    given = given & (4 * (radius * radius) * apart <= g * g)
    shorter = p.smt(((real(0) <= e) & (e < radius)) >> (e * e < radius * radius))
    facts = [
        shorter,
        p.use(mul_mono, a=size, b=e * e, c=apart),
        p.use(mul_mono, a=e * e, b=radius * radius, c=apart),
        p.use(abs_le_of_sq_le, a=2 * s, b=g),
        p.use(_positive, a=radius * radius - e * e, b=apart),
        p.use(_square_eq, a=2 * s, b=g),
    ]
    return p.smt(given >> ((2 * s <= g) & ((real(0) < g) >> (2 * s < g))), *facts)


def _positive(p: Proof) -> Theorem:
    """State that 0 < a and 0 < b imply 0 < a b."""
    a, b = variables(REAL, "a b")
    return p.smt(((real(0) < a) & (real(0) < b)) >> (real(0) < a * b))


def _square_eq(p: Proof) -> Theorem:
    """State that a = b implies a a = b b, and that 0 < b implies 0 < b b."""
    a, b = variables(REAL, "a b")
    return p.smt((a.eq(b) >> (a * a).eq(b * b)) & ((real(0) < b) >> (real(0) < b * b)))
