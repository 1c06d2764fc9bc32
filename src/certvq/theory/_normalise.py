"""Theorems of part E on normalisations: group, layer and RMS norm of a group of values.

Out: entries of the ledger. Imports the inequality of Cauchy and Schwarz and the rules of errors.
"""

from fractions import Fraction
from typing import Any

from certvq.theory._definitions import dot, squared_l2
from certvq.theory._distance import n, sq_nonneg, squared_l2_nonneg, x, y
from certvq.theory._errors import NETWORK, e, g, product_nonneg, signs, within, xc
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Instance, Mutant, Statement, proves
from certvq.theory._objective import mul_mono
from certvq.theory._operators import REAL
from certvq.theory._products import abs_le_of_sq_le, cauchy_schwarz
from certvq.theory._proof import Proof
from certvq.theory._terms import Vector, abs_le, real, to_real, total, variables, vector

a, eps, t, mu, muc, s, sc, i, ic = variables(REAL, "a eps t mu muc s sc i ic")
size = to_real(n)


def less_mean(values: Vector, mean: Term) -> Vector:
    """The values less a times their mean: all of it (group, layer norm) or nothing (RMS)."""
    return lambda k: values(k) - a * mean


centred, centred_c = less_mean(x, mu), less_mean(xc, muc)


def over(values: Vector, root: Term) -> Vector:
    """The values divided by a number."""
    return lambda k: values(k) / root


def is_mean(mean: Term, values: Vector) -> Term:
    """The mean of the values."""
    return (size * mean).eq(total(n, values))


def is_root(root: Term, values: Vector) -> Term:
    """The root of their mean square plus epsilon, by its square."""
    return (size * (root * root)).eq(dot(n, values, values) + size * eps)


def enough(factor: int, rest: Term) -> Term:
    """The bound of the result is at least a multiple of e, divided by the rest."""
    return factor * e <= g * rest


GROUP = (
    *signs(ha0=a),
    ("ha1", a <= 1),
    *signs(heps0=eps, he0=e, ht0=t),
    ("hs0", real(0) < s),
    ("hmean", is_mean(mu, x)),
    ("hmeanc", is_mean(muc, xc)),
    ("hs", is_root(s, centred)),
    ("hsc", is_root(sc, centred_c)),
    ("herr", within(n, xc, x, e)),
    ("ht", e * e <= size * (t * t)),
)
NORMALISE = Statement(
    name="normalise_error_le",
    part="E",
    meaning="A group of m values, less their mean or not (a = 1: group and layer norm, a = 0: RMS "
    "norm), is divided by s, the root of the mean square plus epsilon. If the values err by at "
    "most e, with e^2 <= m t^2, then the result errs by at most 2 e / (2 s' - t), where s' is the "
    "root for the values as given and t < 2 s'; for small errors this is e / s'.",
    latex=r"y = (x - a \bar x)/s,\; s^2 = \tfrac1m |x - a \bar x|^2 + \epsilon,\; |x' - x| \le e "
    r"\le t \sqrt m,\; t < 2 s' \;\Rightarrow\; |y' - y| \le \frac{2 e}{2 s' - t}",
    hypotheses=(
        *GROUP,
        ("hclear", t < 2 * sc),
        ("hg", enough(2, 2 * sc - t)),
    ),
    conclusion=within(n, over(centred_c, sc), over(centred, s), g),
    relied_on_by=NETWORK,
)


_NAMES = ("a", "eps", "e", "t", "g", "mu", "muc", "x", "xc", "s", "sc")


def _value(numbers: str) -> Instance:
    """A group of one value, and all numbers of the statement in the order of `_NAMES`."""
    held: dict[str, Any] = dict(zip(_NAMES, map(Fraction, numbers.split()), strict=True))
    entries = {name: (lambda _, value=held[name]: value) for name in ("x", "xc")}
    return lambda _: {**held, **entries, "n": 1}


# s = 3/4 where x = 0, s = 5/4 where x = 1, for epsilon = 9/16; the roots of 5 and 9 with 144 are
# 13 and 15.
@proves(
    NORMALISE,
    *(
        Mutant(f"without {label}", NORMALISE.without(label), _value(numbers))
        for label, numbers in (
            ("ha0", "-1 3 1 1 2/3 1/2 -1/2 1/2 -1/2 2 2"),
            ("ha1", "3 3 1 1 2/3 1/2 -1/2 1/2 -1/2 2 2"),
            ("heps0", "0 -48 1 1 2 8 7 8 7 4 1"),
            ("he0", "0 9/16 -1 1 0 0 1 0 1 3/4 5/4"),
            ("ht0", "0 9/16 1 -1 4/7 0 1 0 1 3/4 5/4"),
            ("hs0", "0 9/16 0 0 0 1 1 1 1 -5/4 5/4"),
            ("hmean", "1 9/16 0 0 0 0 1 1 1 5/4 3/4"),
            ("hmeanc", "1 9/16 0 0 0 1 0 1 1 3/4 5/4"),
            ("hs", "0 9/16 0 0 0 1 1 1 1 1 5/4"),
            ("hsc", "0 9/16 0 0 0 1 1 1 1 5/4 1"),
            ("herr", "0 9/16 0 0 0 0 1 0 1 3/4 5/4"),
            ("ht", "0 144 14 0 14/15 -5 9 -5 9 13 15"),
            ("hclear", "0 9/16 1 25/2 -1/5 0 1 0 1 3/4 5/4"),
            ("hg", "0 9/16 1 1 0 0 1 0 1 3/4 5/4"),
        )
    ),
    Mutant(
        "e / (2 s' - t)",
        NORMALISE.with_hypothesis("hg", enough(1, 2 * sc - t)),
        _value("0 9/16 1 1 2/3 0 1 0 1 3/4 5/4"),
    ),
    Mutant(
        "e / s'",
        NORMALISE.with_hypothesis("hg", enough(1, sc)),
        _value("0 144 14 14 14/15 -5 9 -5 9 13 15"),
    ),
    Mutant(
        "e / s",
        NORMALISE.with_hypothesis("hg", enough(1, s)),
        _value("0 144 14 14 14/15 9 -5 9 -5 15 13"),
    ),
)
def normalise(p: Proof) -> Theorem:
    given = NORMALISE.formula.args[0]
    result = NORMALISE.conclusion.args[0]
    inverses = {"i": real(1) / s, "ic": real(1) / sc}
    numbers = {"gap": squared_l2(n, centred_c, centred), "out": result, "count": size}
    facts = [
        p.use(roots_apart, u=centred, v=centred_c, **inverses),
        p.use(_result_small, **numbers),
        p.get(centring_shrinks),
        p.use(squared_l2_nonneg, x=over(centred_c, sc), y=over(centred, s)),
    ]
    return p.smt(given >> (result <= g * g), *facts)


# ---- vectors ----------------------------------------------------------------------------------

count, extra, uu, vv, uv, gap, out = variables(REAL, "count extra uu vv uv gap out")
u, v = vector("u"), vector("v")


def _split_means(p: Proof) -> Theorem:
    """What taking off a times the means does to the squared distance."""
    apart, whole = squared_l2(n, centred_c, centred), squared_l2(n, xc, x)
    slip, drift = total(n, xc) - total(n, x), muc - mu
    found = p.induct(apart.eq(whole - 2 * a * drift * slip + a * a * (drift * drift) * size), n)
    given = is_mean(mu, x) & is_mean(muc, xc)
    same = p.smt(given >> (drift * slip).eq(size * (drift * drift)))
    goal = apart.eq(whole - 2 * a * (size * (drift * drift)) + a * a * (size * (drift * drift)))
    return p.smt(given >> goal, found, same)


def centring_shrinks(p: Proof) -> Theorem:
    """Taking off a times the mean makes no difference of two vectors longer, for a in [0, 1]."""
    apart, whole, drift = squared_l2(n, centred_c, centred), squared_l2(n, xc, x), muc - mu
    given = (real(0) <= a) & (a <= 1) & is_mean(mu, x) & is_mean(muc, xc)
    weight = size * (drift * drift)
    positive = p.use(product_nonneg, A=size, B=drift * drift)
    facts = [p.get(_split_means), p.use(_unit_square, w=weight), positive]
    return p.smt(given >> (apart <= whole), *facts, p.use(sq_nonneg, a=drift))


def means_close(p: Proof) -> Theorem:
    """The means differ by no more than the values do."""
    drift, one = muc - mu, {"a": real(1)}
    split = p.use(_split_means, **one)
    less = {"x": lambda k: xc(k) - 1 * muc, "y": lambda k: x(k) - 1 * mu}
    given = is_mean(mu, x) & is_mean(muc, xc)
    bound = size * (drift * drift) <= squared_l2(n, xc, x)
    return p.smt(given >> bound, split, p.use(squared_l2_nonneg, **less))


def _unit_square(p: Proof) -> Theorem:
    """0 <= a <= 1 implies a a <= 2 a, and so of the multiples."""
    (w,) = variables(REAL, "w")
    unit = (real(0) <= a) & (a <= 1)
    square = p.smt(unit >> (a * a <= 2 * a))
    return p.smt(unit >> ((real(0) <= w) >> (a * a * w <= 2 * a * w)), square, _times(p))


def _times(p: Proof) -> Theorem:
    (w,) = variables(REAL, "w")
    return p.use(mul_mono, a=a * a, b=2 * a, c=w)


def roots_apart(p: Proof) -> Theorem:
    """How far apart normalised vectors, and their roots, are at most; i and ic are the inverses."""
    result = squared_l2(n, over(v, sc), over(u, s))
    moved = squared_l2(n, v, u)
    inverse = (i * s).eq(1) & (ic * sc).eq(1)
    squares = [dot(n, w, w) for w in (u, v)]
    cross = dot(n, v, u)
    spread = squares[1] * (ic * ic) - 2 * cross * (ic * i) + squares[0] * (i * i)
    scaled = squared_l2(n, _scaled[1], _scaled[0])
    multiples = p.induct(inverse >> result.eq(scaled), n, _last_quotients(p))
    parts = [_scaled_dot(p, one, other) for one, other in _PAIRS]
    spread_out = p.smt(scaled.eq(spread), p.use(in_dots, x=_scaled[1], y=_scaled[0]), *parts)
    apart = p.use(
        _angle,
        count=size,
        extra=size * eps,
        uu=squares[0],
        vv=squares[1],
        uv=cross,
        gap=moved,
        out=result,
    )
    facts = [
        multiples,
        spread_out,
        apart,
        p.use(in_dots, x=v, y=u),
        p.use(cauchy_schwarz, x=v, y=u),
        p.use(squared_l2_nonneg, x=v, y=u),
        p.smt((real(0) <= eps) >> (real(0) <= size * eps)),
    ]
    given = inverse & is_root(s, u) & is_root(sc, v)
    given = given & (real(0) < s) & (real(0) < sc) & (real(0) <= eps)
    return p.smt(given >> apart.formula.args[1], *facts)


_vectors, _inverse = (u, v), (i, ic)
_scaled = (lambda k: u(k) * i, lambda k: v(k) * ic)
_PAIRS = ((0, 0), (1, 0), (1, 1))


def in_dots(p: Proof) -> Theorem:
    """d(x, y) = x . x - 2 x . y + y . y."""
    return p.induct(squared_l2(n, x, y).eq(dot(n, x, x) - 2 * dot(n, x, y) + dot(n, y, y)), n)


def _scaled_dot(p: Proof, one: int, other: int) -> Theorem:
    """The dot product of two scaled vectors."""
    factor = _inverse[one] * _inverse[other]
    plain = dot(n, _vectors[one], _vectors[other])
    return p.induct(dot(n, _scaled[one], _scaled[other]).eq(plain * factor), n)


def _last_quotients(p: Proof) -> Theorem:
    """The last term of the squared distance, with products for the quotients."""
    c, d, q, qc, b = variables(REAL, "c d q qc b")
    one = p.smt(((q * s).eq(c) & (i * s).eq(1)) >> q.eq(c * i))
    both = (q * s).eq(c) & (i * s).eq(1) & (qc * sc).eq(d) & (ic * sc).eq(1)
    equal = p.smt(both >> (q.eq(c * i) & qc.eq(d * ic)), one, p.use(one, q=qc, s=sc, i=ic, c=d))
    square = p.smt((q.eq(a) & qc.eq(b)) >> ((qc - q) * (qc - q)).eq((b - a) * (b - a)))
    term = ((qc - q) * (qc - q)).eq((d * ic - c * i) * (d * ic - c * i))
    values = {"c": u(n), "d": v(n)}
    quotients = {"q": over(u, s)(n), "qc": over(v, sc)(n)}
    whole = p.smt(both >> term, equal, p.use(square, a=c * i, b=d * ic))
    return p.use(whole, **values, **quotients)


# ---- numbers: count values, |u|^2 = uu, |v|^2 = vv, v . u = uv, count eps = extra -------------

(angle,) = variables(REAL, "angle")
_SIGNS = (real(0) <= count) & (real(0) <= extra) & (real(0) < s) & (real(0) < sc)
_INVERSES = (i * s).eq(1) & (ic * sc).eq(1)
_ROOTS = (count * (s * s)).eq(uu + extra) & (count * (sc * sc)).eq(vv + extra)
_MOVED = gap.eq(vv - 2 * uv + uu) & (real(0) <= gap)


def _angle(p: Proof) -> Theorem:
    """The result, times the squared sum of the roots, is at most 4 gap; the roots are close."""
    given = _SIGNS & _INVERSES & _ROOTS & _MOVED & (uv * uv <= vv * uu)
    given = given & out.eq(vv * (ic * ic) - 2 * uv * (ic * i) + uu * (i * i))
    whole, turn = uv + extra, (uv + extra) * (i * ic)
    longer = p.smt(
        (_SIGNS & _MOVED & (uv * uv <= vv * uu)) >> (whole * whole <= (uu + extra) * (vv + extra)),
        p.use(mul_mono, a=real(0), b=gap, c=extra),
    )
    product = count * (s * sc)
    facts = [
        longer,
        p.use(abs_le_of_sq_le, a=whole, b=product),
        p.smt(_SIGNS >> (real(0) <= product)),
        p.smt(_ROOTS >> ((uu + extra) * (vv + extra)).eq(product * product)),
    ]
    within_one = p.smt(given >> abs_le(whole, product), *facts)
    positive = p.smt((_SIGNS & _INVERSES) >> ((real(0) < i) & (real(0) < ic)))
    unit = p.smt((_INVERSES) >> (product * (i * ic)).eq(count))
    scaled = [
        p.use(mul_mono, a=whole, b=product, c=i * ic),
        p.use(mul_mono, a=-product, b=whole, c=i * ic),
        p.smt(((real(0) < i) & (real(0) < ic)) >> (real(0) <= i * ic)),
    ]
    turned = p.smt(given >> abs_le(turn, count), within_one, positive, unit, *scaled)
    back = p.smt(_INVERSES >> (turn * (s * sc)).eq(whole))
    own, other = _own(p, s, i, uu), _own(p, sc, ic, vv)
    slack = p.use(product_nonneg, A=extra, B=(i - ic) * (i - ic))
    small = p.smt(
        given >> (out <= 2 * count - 2 * turn), own, other, slack, p.use(sq_nonneg, a=i - ic)
    )
    goal = (out * ((s + sc) * (s + sc)) <= 4 * gap) & (count * ((s - sc) * (s - sc)) <= gap)
    ends = p.smt(given >> gap.eq(count * (s * s) + count * (sc * sc) - 2 * (turn * (s * sc))), back)
    last = p.use(_turn_bounds, angle=turn)
    return p.smt(given >> goal, small, turned, ends, last)


def _own(p: Proof, root: Term, inverse: Term, square: Term) -> Theorem:
    """The squared norm over the square of its root is the count less what epsilon adds."""
    (c,) = variables(REAL, "c")
    twice = inverse * inverse
    given = (inverse * root).eq(1) & (count * (root * root)).eq(square + extra)
    one = p.smt((inverse * root).eq(1) >> (c * (root * root) * twice).eq(c))
    both = (count * (root * root) * twice).eq(square * twice + extra * twice)
    spread = p.smt((count * (root * root)).eq(square + extra) >> both)
    return p.smt(given >> (square * twice).eq(count - extra * twice), p.use(one, c=count), spread)


def _turn_bounds(p: Proof) -> Theorem:
    """The same, given the count times the cosine of the angle between the extended vectors."""
    given = (real(0) < s) & (real(0) < sc) & abs_le(angle, count) & (out <= 2 * count - 2 * angle)
    given = given & gap.eq(count * (s * s) + count * (sc * sc) - 2 * (angle * (s * sc)))
    total_square, gap_square = (s + sc) * (s + sc), (s - sc) * (s - sc)
    first = p.use(mul_mono, a=out, b=2 * count - 2 * angle, c=total_square)
    rest = p.use(product_nonneg, A=count + angle, B=gap_square)
    also = [
        p.use(product_nonneg, A=count - angle, B=s * sc),
        p.use(product_nonneg, A=s, B=sc),
        p.use(sq_nonneg, a=s - sc),
    ]
    goal = (out * total_square <= 4 * gap) & (count * gap_square <= gap)
    return p.smt(given >> goal, first, rest, *also, p.use(sq_nonneg, a=s + sc))


def _result_small(p: Proof) -> Theorem:
    """From there to the bound: out <= g g."""
    rest = 2 * sc - t
    far, close = out * ((s + sc) * (s + sc)) <= 4 * gap, count * ((s - sc) * (s - sc)) <= gap
    given = (real(0) <= count) & (real(0) <= out) & (real(0) < s) & (real(0) < sc) & (real(0) <= e)
    given = given & (real(0) <= t) & (t < 2 * sc) & enough(2, rest) & far & close
    given = given & (gap <= e * e) & (e * e <= count * (t * t))
    cancel = p.smt(((real(0) < uu) & (uu * vv <= uu * uv)) >> (vv <= uv))
    near = p.smt(
        (given & (real(0) < count)) >> (sc - s <= t),
        p.use(cancel, uu=count, vv=(s - sc) * (s - sc), uv=t * t),
        p.use(abs_le_of_sq_le, a=s - sc, b=t),
    )
    squares = p.smt(((real(0) < uu) & (uu <= vv)) >> ((uu * uu <= vv * vv) & (real(0) < uu * uu)))
    reach = p.smt(
        (given & (real(0) < count)) >> (out * (rest * rest) <= 4 * (e * e)),
        near,
        p.use(squares, uu=rest, vv=s + sc),
        p.use(mul_mono, a=rest * rest, b=(s + sc) * (s + sc), c=out),
    )
    doubled = p.smt(
        ((real(0) <= e) & enough(2, rest)) >> (4 * (e * e) <= g * g * (rest * rest)),
        p.use(p.smt(((real(0) <= uu) & (uu <= vv)) >> (uu * uu <= vv * vv)), uu=2 * e, vv=g * rest),
    )
    some = p.smt(
        (given & (real(0) < count)) >> (out <= g * g),
        reach,
        doubled,
        p.use(squares, uu=rest, vv=rest),
        p.use(cancel, uu=rest * rest, vv=out, uv=g * g),
    )
    none = p.smt(
        (given & count.eq(0)) >> (out <= 0),
        p.use(cancel, uu=(s + sc) * (s + sc), vv=out, uv=real(0)),
        p.use(squares, uu=s + sc, vv=s + sc),
    )
    return p.smt(given >> (out <= g * g), some, none, p.use(sq_nonneg, a=g))
