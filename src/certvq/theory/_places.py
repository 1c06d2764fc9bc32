"""Theorem of part E on a part of a normalised group, such as the values at one place.

Out: an entry of the ledger. Imports what holds of the whole group.
"""

from fractions import Fraction
from typing import Any

from certvq.theory._definitions import dot
from certvq.theory._distance import at, n, sq_nonneg, x
from certvq.theory._errors import NETWORK, A, B, e, g, plus, product_nonneg, signs, xc
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Instance, Mutant, Statement, proves
from certvq.theory._normalise import (
    GROUP,
    a,
    centred,
    centred_c,
    centring_shrinks,
    means_close,
    mu,
    muc,
    over,
    roots_apart,
    s,
    sc,
    size,
    t,
)
from certvq.theory._objective import mul_mono
from certvq.theory._operators import BOOL, NAT, REAL
from certvq.theory._products import abs_le_of_sq_le, dot_le_of_norms
from certvq.theory._proof import Proof
from certvq.theory._terms import (
    Function,
    Vector,
    abs_le,
    forall_below,
    ite,
    real,
    total,
    variables,
    vector,
)

own, slip, most = variables(REAL, "own slip most")
chosen = Function("chosen", (NAT,), BOOL)
u, v, w = (vector(name) for name in ("u", "v", "w"))
result, given_root = over(centred_c, sc), s - sc


def part(values: Vector) -> Term:
    """The sum of the squares of the chosen entries."""
    return total(n, lambda k: ite(chosen(k), values(k) * values(k), real(0)))


def moved(k: Term) -> Term:
    """The error of a value."""
    return xc(k) - x(k)


def result_moved(k: Term) -> Term:
    """The error of a normalised value."""
    return result(k) - over(centred, s)(k)


def enough(reached: Term, rest: Term) -> Term:
    """The bound of the result is at least what is reached, divided by the rest."""
    return reached <= g * rest


whole = own + slip + most * t
PLACE = Statement(
    name="normalise_place_error_le",
    part="E",
    meaning="The same for a part of the group, such as the q channels of it at one place: if their "
    "values err by at most `own`, their computed results have at most the norm `most`, and q t^2 "
    "is at most slip^2, then these results err by at most (own + slip + most t) / (s' - t). With "
    "many places, t is far less than the error of the whole group.",
    latex=r"|x' - x|_S \le o,\; |y'|_S \le M,\; q\,t^2 \le h^2,\; t < s' \;\Rightarrow\; "
    r"|y' - y|_S \le \frac{o + h + M t}{s' - t},\quad q = |S|",
    hypotheses=(
        *(pair for pair in GROUP if pair[0] != "he0"),
        *signs(hown0=own, hslip0=slip, hmost0=most),
        ("hown", part(moved) <= own * own),
        ("hslip", part(lambda _: t) <= slip * slip),
        ("hmost", part(result) <= most * most),
        ("hclear", t < sc),
        ("hg", enough(whole, sc - t)),
    ),
    conclusion=part(result_moved) <= g * g,
    relied_on_by=NETWORK,
)
_NAMES = ("a", "eps", "e", "t", "g", "mu", "muc", "s", "sc", "own", "slip", "most")


def _group(numbers: str, values: str, computed: str) -> Instance:
    """A group of which the first value is the part, and the numbers in the order of `_NAMES`."""
    held: dict[str, Any] = dict(zip(_NAMES, map(Fraction, numbers.split()), strict=True))
    for name, row in (("x", values), ("xc", computed)):
        held[name] = list(map(Fraction, row.split())).__getitem__
    return lambda _: {**held, "chosen": lambda k: k == 0, "n": len(values.split())}


# Groups: a value that passes 0; one of four, 16 and 64 with the others 0; one that stays while
# another one moves.
_ZEROS = " 0" * 14
_UP, _SAME = ("0", "1"), ("1", "1")
_WIDE = (f"433/100{_ZEROS * 4}" + " 0" * 7, f"4{_ZEROS * 4}" + " 0" * 7)
_STAYS = (f"36 17{_ZEROS}", f"36 25{_ZEROS}")
_OPPOSITE = (f"-4 0{_ZEROS}", f"4 0{_ZEROS}")
_FALSE_WITHOUT = (
    ("ha0", "-10 23/4 1 1 7/12 1/2 -1/2 6 6 1 1 11/12", ("1/2", "-1/2")),
    ("ha1", "12 23/4 1 1 7/12 1/2 -1/2 6 6 1 1 11/12", ("1/2", "-1/2")),
    ("heps0", "0 -1 7/30 7/30 5/3 61/60 5/4 11/60 3/4 7/30 7/30 5/3", ("61/60", "5/4")),
    ("ht0", "0 9/16 1 -1 8/15 0 1 3/4 5/4 1 1 4/5", _UP),
    ("hs0", "0 9/16 0 0 0 1 1 -5/4 5/4 0 0 4/5", _SAME),
    ("hmean", "1 9/16 0 0 0 0 1 5/4 3/4 0 0 0", _SAME),
    ("hmeanc", "1 9/16 0 0 0 1 0 3/4 5/4 0 0 4/5", _SAME),
    ("hs", "0 9/16 0 0 0 1 1 1 5/4 0 0 4/5", _SAME),
    ("hsc", "0 9/16 0 0 0 1 1 5/4 1 0 0 1", _SAME),
    ("herr", "0 144 0 0 14/15 -5 9 13 15 14 0 3/5", ("-5", "9")),
    ("ht", "0 144 14 0 14/15 -5 9 13 15 14 0 3/5", ("-5", "9")),
    ("hown0", "0 225/256 1 1/2 -1/20 0 1/4 15/16 17/16 -1 1/2 16/17", ("0 0 0 0", "1 0 0 0")),
    ("hslip0", "0 144/25 1 1 25/104 0 1 12/5 13/5 1 -1 5/13", _UP),
    ("hmost0", "0 3/4 33/100 33/800 11/50 433/6400 1/16 817/800 1 33/100 33/800 -4", _WIDE),
    ("hown", "0 3/4 33/100 33/800 11/50 433/6400 1/16 817/800 1 0 33/800 4", _WIDE),
    ("hslip", "1 1600/81 2 3/2 1/9 0 1 40/9 41/9 0 0 9/41", ("0 0", "0 2")),
    ("hmost", "0 15/16 8 2 1/4 53/16 61/16 10 11 0 2 0", _STAYS),
    ("hclear", "0 0 8 100 -11/2 -1/4 1/4 1 1 8 100 4", _OPPOSITE),
    ("hg", "0 9/16 1 1 0 0 1 3/4 5/4 1 1 1", _UP),
)


@proves(
    PLACE,
    *(
        Mutant(f"without {label}", PLACE.without(label), _group(numbers, *values))
        for label, numbers, values in _FALSE_WITHOUT
    ),
    Mutant(
        "own / s'",
        PLACE.with_hypothesis("hg", enough(own, sc)),
        _group("0 144 14 14 14/15 -5 9 13 15 14 14 3/5", "-5", "9"),
    ),
    Mutant(
        "the error of the root forgotten",
        PLACE.with_hypothesis("hg", enough(own + slip, sc - t)),
        _group("0 15/16 8 2 1/4 53/16 61/16 10 11 0 2 4", *_STAYS),
    ),
    Mutant(
        "the error of the mean forgotten",
        PLACE.with_hypothesis("hg", enough(own + most * t, sc - t)),
        _group("1 1600/81 2 3/2 1/9 0 1 40/9 41/9 0 3/2 9/41", "0 0", "0 2"),
    ),
)
def place(p: Proof) -> Theorem:
    given, out = PLACE.formula.args[0], part(result_moved)
    inverses = {"i": real(1) / s, "ic": real(1) / sc}
    facts = [
        p.use(roots_apart, u=centred, v=centred_c, **inverses),
        p.get(centring_shrinks),
        p.get(means_close),
        p.use(_within, count=size, change=given_root, e=e),
        p.use(_within, count=size, change=muc - mu, e=e),
        p.get(_shrunk),
    ]
    some = given & (real(0) < size)
    near = p.smt(some >> (abs_le(given_root, t) & abs_le(shift, t)), *facts)
    small = p.smt(
        some >> ((part(_shifted) <= slip * slip) & (part(_turned) <= most * t * (most * t))),
        near,
        p.use(_constant, A=-shift, B=t),
        p.use(_scaled, v=result, A=given_root, B=t, C=most),
    )
    reached = p.smt(
        some >> (s * s * out <= whole * whole),
        small,
        *_three(p),
        p.use(product_nonneg, A=most, B=t),
        p.get(_in_parts),
        p.use(_times, v=result_moved, A=s),
    )
    nonneg = p.induct(real(0) <= part(v), n, p.use(sq_nonneg, a=v(n)))
    ends = p.smt(
        some >> (out <= g * g), near, reached, *_divided(p, out), p.use(nonneg, v=result_moved)
    )
    none = p.induct(n.eq(0) >> out.eq(0), n)
    return p.smt(PLACE.formula, ends, none, p.use(sq_nonneg, a=g))


# ---- numbers ----------------------------------------------------------------------------------

shift = a * (muc - mu)
count, change, C, out = variables(REAL, "count change C out")


def _within(p: Proof) -> Theorem:
    """A change whose square, times the count, is at most e^2 is at most t."""
    given = (real(0) < count) & (real(0) <= t) & (e * e <= count * (t * t))
    cancel = p.smt(((real(0) < count) & (count * A <= count * B)) >> (A <= B))
    given = given & (count * (change * change) <= e * e)
    facts = [p.use(cancel, A=change * change, B=t * t), p.use(abs_le_of_sq_le, a=change, b=t)]
    return p.smt(given >> abs_le(change, t), *facts)


def _shrunk(p: Proof) -> Theorem:
    """A multiple by a, between 0 and 1, is within the same bound."""
    drift = muc - mu
    given = (real(0) <= a) & (a <= 1) & (real(0) <= t) & abs_le(drift, t)
    facts = [
        p.use(mul_mono, a=drift, b=t, c=a),
        p.use(mul_mono, a=-t, b=drift, c=a),
        p.use(mul_mono, a=a, b=real(1), c=t),
    ]
    return p.smt(given >> abs_le(shift, t), *facts)


def _divided(p: Proof, value: Term) -> list[Theorem]:
    """What s^2 times the value says of the value, s being at least s' - t."""
    rest = sc - t
    given = (real(0) < rest) & (rest <= s) & (real(0) <= out) & (s * s * out <= C * C)
    given = given & (real(0) <= C) & enough(C, rest)
    square = p.smt(((real(0) <= A) & (A <= B)) >> (A * A <= B * B))
    cancel = p.smt(((real(0) < B) & (B * A <= B * C)) >> (A <= C))
    facts = [
        p.use(square, A=rest, B=s),
        p.use(square, A=C, B=g * rest),
        p.use(mul_mono, a=rest * rest, b=s * s, c=out),
        p.use(cancel, A=out, B=rest * rest, C=g * g),
        p.use(p.smt((real(0) < A) >> (real(0) < A * A)), A=rest),
    ]
    one = p.smt(given >> (out <= g * g), *facts)
    return [p.use(one, out=value, C=whole), p.use(product_nonneg, A=most, B=t)]


# ---- vectors ----------------------------------------------------------------------------------


def masked(values: Vector) -> Vector:
    """The chosen entries, and 0 elsewhere."""
    return lambda k: ite(chosen(k), values(k), real(0))


def _shifted(_: Term) -> Term:
    return -shift


def _turned(k: Term) -> Term:
    return result(k) * given_root


def _as_dot(p: Proof) -> Theorem:
    """The sum of the chosen squares is the squared norm of the masked vector."""
    return p.induct(dot(n, masked(v), masked(v)).eq(part(v)), n)


def _norm_add(p: Proof) -> Theorem:
    """|v| <= A and |w| <= B imply |v + w| <= A + B."""
    vv, ww, both = dot(n, v, v), dot(n, w, w), plus(v, w)
    spread = p.induct(dot(n, both, both).eq(vv + 2 * dot(n, v, w) + ww), n)
    given = (real(0) <= A) & (real(0) <= B) & (vv <= A * A) & (ww <= B * B)
    cross = p.use(dot_le_of_norms, x=v, y=w)
    return p.smt(given >> (dot(n, both, both) <= (A + B) * (A + B)), spread, cross)


def _three(p: Proof) -> list[Theorem]:
    """The triangle inequality for the three parts of the error."""
    first, second, third = masked(moved), masked(_shifted), masked(_turned)
    return [
        *(p.use(_as_dot, v=values) for values in (moved, _shifted, _turned)),
        p.use(_norm_add, v=first, w=second, A=own, B=slip),
        p.use(_norm_add, v=plus(first, second), w=third, A=own + slip, B=most * t),
    ]


def _constant(p: Proof) -> Theorem:
    """A constant vector with a smaller entry has a smaller part."""
    smaller, greater = part(lambda _: A), part(lambda _: B)
    square = p.smt(abs_le(A, B) >> (A * A <= B * B))
    return p.smt(abs_le(A, B) >> (smaller <= greater), square, _monotone(p, smaller, greater))


def _monotone(p: Proof, smaller: Term, greater: Term) -> Theorem:
    return p.induct((A * A <= B * B) >> (smaller <= greater), n)


def _times(p: Proof) -> Theorem:
    """The part of a multiple."""
    return p.induct(part(lambda k: v(k) * A).eq(part(v) * (A * A)), n)


def _scaled(p: Proof) -> Theorem:
    """The part of a small multiple of a vector that is not long."""
    given = abs_le(A, B) & (part(v) <= C * C)
    square = p.smt(abs_le(A, B) >> (A * A <= B * B))
    facts = [
        p.get(_times),
        square,
        p.use(sq_nonneg, a=C),
        p.use(sq_nonneg, a=A),
        p.use(mul_mono, a=part(v), b=C * C, c=A * A),
        p.use(mul_mono, a=A * A, b=B * B, c=C * C),
    ]
    return p.smt(given >> (part(lambda k: v(k) * A) <= C * B * (C * B)), *facts)


def _in_parts(p: Proof) -> Theorem:
    """The error of the result, times s, is the sum of three parts."""
    q, qc, c, d = variables(REAL, "q qc c d")
    given = (q * s).eq(c) & (qc * sc).eq(d)
    one = p.smt(given >> ((qc - q) * s).eq(d - c + qc * (s - sc)))
    exact = over(centred, s)(at)
    here = p.use(one, q=exact, qc=result(at), c=centred(at), d=centred_c(at))
    roots = (real(0) < s) & (real(0) < sc)

    def three(k: Term) -> Term:
        return moved(k) + _shifted(k) + _turned(k)

    def times_s(k: Term) -> Term:
        return result_moved(k) * s

    same = p.use(_congruent, v=three, w=times_s)
    body = p.at(same.formula.args[0], at).formula.args[1]
    everywhere = p.every(p.smt(roots >> body, here), at)
    both = plus(plus(masked(moved), masked(_shifted)), masked(_turned))
    whole = p.use(_masked_sum, u=moved, v=_shifted, w=_turned)
    return p.smt(roots >> dot(n, both, both).eq(part(times_s)), whole, same, everywhere)


def _masked_sum(p: Proof) -> Theorem:
    """The squared norm of a sum of masked vectors is the part of the sum."""
    both = plus(plus(masked(u), masked(v)), masked(w))
    return p.induct(dot(n, both, both).eq(part(plus(plus(u, v), w))), n)


def _congruent(p: Proof) -> Theorem:
    """Vectors that are equal in all entries have equal parts."""

    def equal(end: Term) -> Term:
        return forall_below(end, lambda k: v(k).eq(w(k)))

    square = p.smt(A.eq(B) >> (A * A).eq(B * B))
    facts = [
        p.widen(equal(n + 1), equal(n)),
        p.at(equal(n + 1), n),
        p.use(square, A=v(n), B=w(n)),
    ]
    return p.induct(equal(n) >> part(v).eq(part(w)), n, *facts)
