"""Theorems of part E on slopes: of SiLU, of the gates of an LSTM, and of softmax.

Out: entries of the ledger. A slope is written by what calculus makes of it (s' = s (1 - s) for the
sigmoid, t' = 1 - t^2 for tanh, diag(w) - w w^T for softmax); that it is the derivative, and the
mean value theorem, are not in here. Imports lemmas on the exponential.
"""

from fractions import Fraction
from typing import Any

from certvq.theory._distance import n, sq_nonneg, x, y
from certvq.theory._errors import NETWORK, product_nonneg
from certvq.theory._exponential import (
    FAIR,
    HADD,
    HTANGENT,
    a,
    at_pair,
    b,
    exp,
    exp_pos,
    exp_zero,
    line,
    numbers,
    power_of,
    sigmoid,
    u,
)
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Mutant, Statement, assumes, proves
from certvq.theory._objective import mul_mono
from certvq.theory._operators import REAL
from certvq.theory._proof import Proof
from certvq.theory._terms import abs_le, conj, forall_below, nat, real, total, variables

c, d, t, w = variables(REAL, "c d t w")
TENTH, TOUCH = Fraction(1, 10), Fraction(12, 5)
HELEVEN = ("heleven", real(11) <= exp(real(TOUCH)))
assumes(
    "ax_exp_eleven",
    HELEVEN[1],
    "NIST Digital Library of Mathematical Functions, 4.2.19: of the series of exp(12/5), whose "
    "terms are positive, the first nine add up to 11.0136...",
)


def silu_slope(at: Term) -> Term:
    """The slope of x s(x), with s the sigmoid: s + x s (1 - s)."""
    return sigmoid(at) + at * (sigmoid(at) * (1 - sigmoid(at)))


SILU_SLOPE = Statement(
    name="silu_slope_le",
    part="E",
    meaning="The slope of SiLU is at most 11/10 (its greatest value is 1.0998...).",
    latex=r"e^{12/5} \ge 11 \;\Rightarrow\; \sigma(x) + x\,\sigma(x)\,(1 - \sigma(x)) \le "
    r"\tfrac{11}{10}",
    hypotheses=(HADD, HTANGENT, HELEVEN),
    conclusion=silu_slope(t) <= Fraction(11, 10),
    relied_on_by=NETWORK,
)


def _but(function: Any, **values: Fraction) -> Any:
    """A function with other values at 12/5 and, where they are given, at -4."""
    other = {TOUCH: Fraction(11), **({Fraction(-4): values["far"]} if values else {})}
    return lambda at: other.get(at, function(at))


@proves(
    SILU_SLOPE,
    Mutant(
        "without hadd", SILU_SLOPE.without("hadd"), numbers(_but(line, far=Fraction(1, 8)), t=4)
    ),
    Mutant(
        "without htangent",
        SILU_SLOPE.without("htangent"),
        numbers(_but(lambda _: Fraction(1)), t=4),
    ),
    Mutant("without heleven", SILU_SLOPE.without("heleven"), numbers(FAIR, t=Fraction(5, 2))),
    Mutant(
        "at most 1",
        SILU_SLOPE.concluding(silu_slope(t) <= 1),
        numbers(_but(power_of(Fraction(7, 4))), t=2),
    ),
)
def silu_slope_le(p: Proof) -> Theorem:
    given, touch = SILU_SLOPE.formula.args[0], real(TOUCH)
    e, q, s, rest = exp(t), exp(-t), sigmoid(t), exp(t - TOUCH)
    below = p.smt(
        given >> (11 * t <= e + Fraction(77, 5)),
        *at_pair(p, HADD[1], touch, t - TOUCH),
        p.at(HTANGENT[1], t - TOUCH),
        p.use(exp_pos, x=t - TOUCH),
        p.use(mul_mono, a=real(11), b=exp(touch), c=rest),
        p.smt((rest * 11).eq(11 * rest) & (rest * exp(touch)).eq(exp(touch) * rest)),
    )
    one = p.smt(given >> (e * q).eq(1), *at_pair(p, HADD[1], t, -t), p.get(exp_zero))
    square = p.smt(
        ((a * b).eq(1) & (real(0) < a)) >> (real(22) <= 121 * b + a),
        p.use(product_nonneg, A=a, B=(11 * b - 1) * (11 * b - 1)),
        p.use(sq_nonneg, a=11 * b - 1),
        p.smt((a * ((11 * b - 1) * (11 * b - 1))).eq(121 * (a * b * b) - 22 * (a * b) + a)),
        p.smt((a * b).eq(1) >> (a * b * b).eq(b)),
    )
    room = p.smt(
        given >> (t <= Fraction(11, 10) * q + Fraction(6, 5) + TENTH * e),
        below,
        one,
        p.use(exp_pos, x=t),
        p.use(square, a=e, b=q),
    )
    positive = p.smt(((real(0) < a) & (u * a).eq(1)) >> (real(0) < u))
    return p.smt(
        SILU_SLOPE.formula,
        room,
        one,
        p.use(_of_inverse, a=e, b=q, u=s),
        p.use(positive, a=1 + q, u=s),
        p.use(exp_pos, x=-t),
    )


def _of_inverse(p: Proof) -> Theorem:
    """The slope where u = 1 / (1 + b), a = 1 / b, and x is as little as a and b allow."""
    given = (a * b).eq(1) & (u * (1 + b)).eq(1) & (real(0) < b) & (real(0) < u)
    most, share = Fraction(11, 10) * b + Fraction(6, 5) + TENTH * a, u * (1 - u)
    same = p.smt(c.eq(d) >> ((c * w).eq(d * w) & (w * c).eq(w * d)))
    rest = p.smt(given >> (u * b).eq(1 - u), p.smt((u * (1 + b)).eq(u + u * b)))
    facts = [
        rest,
        p.use(product_nonneg, A=u, B=b),
        p.use(product_nonneg, A=u, B=1 - u),
        p.use(mul_mono, a=t, b=most, c=share),
        p.smt((share * b).eq((1 - u) * (u * b))),
        p.use(same, c=u * b, d=1 - u, w=1 - u),
        p.smt((share * a).eq((1 - u) * (u * a)) & (u * b * (u * a)).eq(u * u * (a * b))),
        p.use(same, c=u * b, d=1 - u, w=u * a),
        p.use(same, c=a * b, d=real(1), w=u * u),
        p.smt(
            (most * share).eq(
                Fraction(11, 10) * (share * b) + Fraction(6, 5) * share + TENTH * (share * a)
            )
        ),
        p.smt(share.eq(u - u * u) & ((1 - u) * (1 - u)).eq(1 - 2 * u + u * u)),
    ]
    return p.smt((given & (t <= most)) >> (u + t * share <= Fraction(11, 10)), *facts)


# ---- gates ------------------------------------------------------------------------------------


def gate_slopes(gate: Term, state: Term) -> Term:
    """The bounds of slopes and curvatures of the sigmoid and of tanh, by their values."""
    slope, other = gate * (1 - gate), 1 - state * state
    return conj(
        slope <= Fraction(1, 4),
        abs_le(slope * (1 - 2 * gate), real(TENTH)),
        (real(0) <= other) & (other <= 1),
        abs_le(2 * state * other, real(Fraction(4, 5))),
    )


GATES = Statement(
    name="gate_slopes_le",
    part="E",
    meaning="Let u be a value of the sigmoid, whose slope is then u (1 - u) and whose curvature is "
    "u (1 - u) (1 - 2 u): these are at most 1/4 and 1/10. Let b be a value of tanh, whose slope is "
    "1 - b^2 and whose curvature is -2 b (1 - b^2): these are at most 1 and 4/5.",
    latex=r"0 \le u \le 1,\; |b| \le 1 \;\Rightarrow\; u(1-u) \le \tfrac14,\; "
    r"|u(1-u)(1-2u)| \le \tfrac1{10},\; 0 \le 1-b^2 \le 1,\; |2b(1-b^2)| \le \tfrac45",
    hypotheses=(("hu0", real(0) <= u), ("hu1", u <= 1), ("hb", abs_le(b, real(1)))),
    conclusion=gate_slopes(u, b),
    relied_on_by=NETWORK,
)


def _at(**values: Any) -> Any:
    held = {"u": Fraction(1, 2), "b": Fraction(0), **{k: Fraction(z) for k, z in values.items()}}
    return lambda _: held


@proves(
    GATES,
    Mutant("without hu0", GATES.without("hu0"), _at(u=-1)),
    Mutant("without hu1", GATES.without("hu1"), _at(u=2)),
    Mutant("without hb", GATES.without("hb"), _at(b=2)),
    Mutant(
        "a curvature of 3/4 for tanh",
        GATES.concluding(abs_le(2 * b * (1 - b * b), real(Fraction(3, 4)))),
        _at(b=Fraction(4, 7)),
    ),
    Mutant(
        "a curvature of 1/11 for the sigmoid",
        GATES.concluding(abs_le(u * (1 - u) * (1 - 2 * u), real(Fraction(1, 11)))),
        _at(u=Fraction(1, 5)),
    ),
)
def gate_slopes_le(p: Proof) -> Theorem:
    turn = 1 - 2 * u
    facts = [
        *(p.use(_cubic, a=value) for value in (turn, -turn, b, -b)),
        p.use(sq_nonneg, a=turn),
        p.use(sq_nonneg, a=b),
        p.smt((abs_le(b, real(1))) >> (b * b <= 1)),
        p.smt(
            (4 * (u * (1 - u) * turn)).eq(turn - turn * turn * turn)
            & (turn * turn).eq(1 - 4 * (u * (1 - u)))
        ),
        p.smt((2 * b * (1 - b * b)).eq(2 * (b - b * b * b))),
        *(p.smt((-z * -z * -z).eq(-(z * z * z))) for z in (turn, b)),
    ]
    return p.smt(GATES.formula, *facts)


def _cubic(p: Proof) -> Theorem:
    """Between -1 and 1, a - a^3 <= 2/5, as (a - c)^2 (a + 2 c) >= 0 for c = 29/50."""
    touch = Fraction(29, 50)
    square, cube = (a - touch) * (a - touch), a * a * a
    facts = [
        p.use(sq_nonneg, a=a - touch),
        p.use(product_nonneg, A=square, B=a + 2 * touch),
        p.smt((square * (a + 2 * touch)).eq(cube - 3 * touch**2 * a + 2 * touch**3)),
    ]
    return p.smt(abs_le(a, real(1)) >> (a - cube <= Fraction(2, 5)), *facts)


# ---- softmax ----------------------------------------------------------------------------------

lengths = total(n, lambda k: y(k) * y(k))
turned = total(n, lambda k: x(k) * (y(k) * y(k)))
mean = total(n, lambda k: x(k) * y(k))


def at_most_all(dim: Term) -> Term:
    """Every weight is at most a."""
    return forall_below(dim, lambda k: x(k) <= a)


SOFTMAX_SLOPE = Statement(
    name="softmax_slope_le",
    part="E",
    meaning="The slope of softmax with weights x, the matrix diag(x) - x x^T, makes of a change y "
    "of the logits no more than a times its square in the direction of y, where a is at least the "
    "greatest weight.",
    latex=r"x_k \le a \;\Rightarrow\; \textstyle\sum_k x_k y_k^2 - (\sum_k x_k y_k)^2 \le "
    r"a \sum_k y_k^2",
    hypotheses=(("hweights", at_most_all(n)),),
    conclusion=turned - mean * mean <= a * lengths,
    relied_on_by=NETWORK,
)


def _weighted(weights: Any, change: Any, most: Any) -> Any:
    rows = (list(map(Fraction, values)) for values in (weights, change))
    first, second = rows
    held = {"n": len(first), "x": first.__getitem__, "y": second.__getitem__, "a": Fraction(most)}
    return lambda _: held


@proves(
    SOFTMAX_SLOPE,
    Mutant("without hweights", SOFTMAX_SLOPE.without("hweights"), _weighted((1, 1), (1, -1), 0)),
    Mutant(
        "the first weight alone",
        SOFTMAX_SLOPE.with_hypothesis("hweights", at_most_all(nat(1))),
        _weighted((0, 1, 1), (0, 1, -1), 0),
    ),
    Mutant(
        "half of the greatest weight",
        SOFTMAX_SLOPE.concluding(turned - mean * mean <= Fraction(1, 2) * a * lengths),
        _weighted((Fraction(1, 2), Fraction(1, 2)), (1, -1), Fraction(1, 2)),
    ),
)
def softmax_slope_le(p: Proof) -> Theorem:
    longer = at_most_all(n + 1)
    facts = [
        p.widen(longer, at_most_all(n)),
        p.at(longer, n),
        p.use(sq_nonneg, a=y(n)),
        p.use(mul_mono, a=x(n), b=a, c=y(n) * y(n)),
        p.smt((a * (lengths + y(n) * y(n))).eq(a * lengths + a * (y(n) * y(n)))),
    ]
    part = p.induct(at_most_all(n) >> (turned <= a * lengths), n, *facts)
    return p.smt(SOFTMAX_SLOPE.formula, part, p.use(sq_nonneg, a=mean))
