"""Theorems of part E on activations with an exponential: sigmoid, tanh and ELU.

Out: entries of the ledger, lemmas on the exponential, and the axioms that they follow from. Imports
the rules of errors and of gates.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from certvq.theory._activations import (
    at_pair,
    pairs,
    s,
    steep,
    t,
)
from certvq.theory._distance import sq_nonneg
from certvq.theory._errors import NETWORK, L, product_nonneg
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Instance, Mutant, Statement, assumes, proves
from certvq.theory._objective import mul_mono
from certvq.theory._operators import REAL
from certvq.theory._proof import Proof
from certvq.theory._terms import Function, abs_le, forall, ite, real, variables

a, b, h, r, x, y = variables(REAL, "a b h r x y")
exp = Function("exp", (REAL,), REAL)
HALF, QUARTER = Fraction(1, 2), Fraction(1, 4)


def adds(one: Term, other: Term) -> Term:
    """exp(x + y) = exp x exp y."""
    return exp(one + other).eq(exp(one) * exp(other))


def above_tangent(at: Term) -> Term:
    """1 + x <= exp x."""
    return 1 + at <= exp(at)


def tanh_below(at: Term) -> Term:
    """Above 0, tanh x <= x: exp(2 x) - 1 <= x (exp(2 x) + 1)."""
    return (real(0) <= at) >> (exp(2 * at) - 1 <= at * (exp(2 * at) + 1))


HADD = ("hadd", pairs(adds))
HTANGENT = ("htangent", forall(above_tangent, REAL))
HTANH = ("htanh", forall(tanh_below, REAL))
_DLMF = "NIST Digital Library of Mathematical Functions"
assumes("ax_exp_add", HADD[1], f"{_DLMF}, 4.8: exp(x + y) = exp(x) exp(y).")
assumes("ax_exp_tangent", HTANGENT[1], f"{_DLMF}, 4.5: 1 + x is at most exp(x).")
assumes(
    "ax_exp_tanh",
    HTANH[1],
    f"{_DLMF}, 4.32.2: for x >= 0, tanh x = (exp(2 x) - 1) / (exp(2 x) + 1) is at most x.",
)


# ---- the exponential --------------------------------------------------------------------------


def exp_zero(p: Proof) -> Theorem:
    """The exponential of 0 is 1."""
    facts = [*at_pair(p, HADD[1], real(0), real(0)), p.at(HTANGENT[1], real(0))]
    one = p.smt(((real(1) <= a) & a.eq(a * a)) >> a.eq(1))
    return p.smt((HADD[1] & HTANGENT[1]) >> exp(real(0)).eq(1), *facts, p.use(one, a=exp(real(0))))


def exp_pos(p: Proof) -> Theorem:
    """The exponential is positive."""
    half = HALF * x
    facts = [
        *at_pair(p, HADD[1], half, half),
        *at_pair(p, HADD[1], x, -x),
        p.get(exp_zero),
        p.use(sq_nonneg, a=exp(half)),
        p.smt((a * b).eq(1) >> ~a.eq(0)),
    ]
    facts[-1] = p.use(facts[-1], a=exp(x), b=exp(-x))
    return p.smt((HADD[1] & HTANGENT[1]) >> (real(0) < exp(x)), *facts)


def exp_between(p: Proof) -> Theorem:
    """For x <= y the exponential grows, by at most (y - x) exp y."""
    given = HADD[1] & HTANGENT[1] & (x <= y)
    facts = [
        *at_pair(p, HADD[1], x, y - x),
        *at_pair(p, HADD[1], y, x - y),
        p.at(HTANGENT[1], y - x),
        p.at(HTANGENT[1], x - y),
        p.get(exp_pos),
        p.use(exp_pos, x=y),
        p.use(mul_mono, a=real(1), b=exp(y - x), c=exp(x)),
        p.use(mul_mono, a=1 + (x - y), b=exp(x - y), c=exp(y)),
        p.smt(((1 + (x - y)) * a).eq(a - (y - x) * a)),
    ]
    facts[-1] = p.use(facts[-1], a=exp(y))
    goal = (exp(x) <= exp(y)) & (exp(y) - exp(x) <= (y - x) * exp(y))
    return p.smt(given >> goal, *facts)


# ---- sigmoid and tanh -------------------------------------------------------------------------


def sigmoid(at: Term) -> Term:
    """1 / (1 + exp(-x))."""
    return real(1) / (1 + exp(-at))


def tanh(at: Term) -> Term:
    """(exp(2 x) - 1) / (exp(2 x) + 1)."""
    return (exp(2 * at) - 1) / (exp(2 * at) + 1)


SIGMOID = Statement(
    name="sigmoid_lipschitz",
    part="E",
    meaning="The sigmoid is 1/4-Lipschitz.",
    latex=r"|\sigma(t) - \sigma(s)| \le \tfrac14\,|t - s|",
    hypotheses=(HADD, HTANGENT, HTANH),
    conclusion=steep(sigmoid, QUARTER),
    relied_on_by=NETWORK,
)
TANH = Statement(
    name="tanh_lipschitz",
    part="E",
    meaning="The hyperbolic tangent is 1-Lipschitz.",
    latex=r"|\tanh t - \tanh s| \le |t - s|",
    hypotheses=(HADD, HTANGENT, HTANH),
    conclusion=steep(tanh, 1),
    relied_on_by=NETWORK,
)


def power_of(base: Fraction) -> Callable[[Fraction], Fraction]:
    """The power with base^2 at 1 and the base at 1/2."""
    return lambda at: base ** int(2 * at)


def line(at: Fraction) -> Fraction:
    """1 + x above -1, else 0: the tangent, for a power that adds up to nothing."""
    return max(1 + at, Fraction(0))


def numbers(function: Callable[[Fraction], Fraction], *, among: Any = (), **held: Any) -> Instance:
    """Given numbers; what is said of all numbers is said of those `among`, or of halves."""
    domain = tuple(map(Fraction, among)) or tuple(Fraction(k, 2) for k in range(-2, 3))
    values = {name: Fraction(value) for name, value in held.items()}
    return lambda _: {**values, "trees": domain, "exp": function}


FALLING, STEEP, FAIR = power_of(Fraction(1, 10)), power_of(Fraction(2)), power_of(Fraction(8, 5))


@proves(
    SIGMOID,
    Mutant("without hadd", SIGMOID.without("hadd"), numbers(line, s=0, t=HALF)),
    Mutant("without htangent", SIGMOID.without("htangent"), numbers(FALLING, s=0, t=HALF)),
    Mutant("without htanh", SIGMOID.without("htanh"), numbers(STEEP, s=0, t=HALF)),
    Mutant(
        "Lipschitz with 1/5",
        SIGMOID.concluding(steep(sigmoid, Fraction(1, 5))),
        numbers(FAIR, s=0, t=HALF),
    ),
)
def sigmoid_lipschitz(p: Proof) -> Theorem:
    facts = [p.use(_sigmoid_rises, x=low, y=high) for low, high in ((s, t), (t, s))]
    return p.smt(SIGMOID.formula, *facts)


def _sigmoid_rises(p: Proof) -> Theorem:
    """For x <= y the sigmoid rises by at most a quarter of y - x."""
    given, half = SIGMOID.formula.args[0] & (x <= y), HALF * (y - x)
    twice = p.smt(
        (HADD[1]) >> exp(-x).eq(exp(-y) * exp(half) * exp(half)),
        *at_pair(p, HADD[1], -y, half),
        *at_pair(p, HADD[1], -y + half, half),
    )
    values = {"b": exp(-y), "c": exp(-x), "r": exp(half), "h": QUARTER * (y - x)}
    facts = [
        twice,
        p.at(HTANH[1], QUARTER * (y - x)),
        p.at(HTANGENT[1], half),
        p.use(exp_pos, x=-y),
        p.use(exp_pos, x=-x),
        p.use(_secant, **values, u=sigmoid(y), v=sigmoid(x)),
    ]
    rise = sigmoid(y) - sigmoid(x)
    return p.smt(given >> ((real(0) <= rise) & (rise <= QUARTER * (y - x))), *facts)


u, v, c = variables(REAL, "u v c")
_INVERSES = (u * (1 + b)).eq(1) & (v * (1 + c)).eq(1) & (real(0) < b) & (real(0) < c)


def inverses_apart(p: Proof) -> Theorem:
    """What holds of u = 1 / (1 + b) and v = 1 / (1 + c)."""
    positive = p.smt(((real(0) < a) & (b * a).eq(1)) >> (real(0) < b))
    signs = [p.use(positive, a=1 + b, b=u), p.use(positive, a=1 + c, b=v)]
    product = p.use(p.smt(((real(0) < a) & (real(0) < b)) >> (real(0) < a * b)), a=u, b=v)
    apart = p.smt(_INVERSES >> (u - v).eq(u * v * (c - b)))
    whole = p.smt(_INVERSES >> (u * v * ((1 + b) * (1 + c))).eq(1))
    goal = (u - v).eq(u * v * (c - b)) & (u * v * ((1 + b) * (1 + c))).eq(1)
    return p.smt(
        _INVERSES >> (goal & (real(0) < u * v) & (real(0) < v)), *signs, product, apart, whole
    )


def _secant(p: Proof) -> Theorem:
    """Of u = 1 / (1 + b) and v = 1 / (1 + c) with c = b r r, where r - 1 <= h (r + 1)."""
    given = _INVERSES & (real(1) <= r) & (r - 1 <= h * (r + 1)) & c.eq(b * r * r)
    both, square = (1 + b) * (1 + b * r * r), b * ((r + 1) * (r + 1))
    less = p.smt(square <= both, p.use(sq_nonneg, a=b * r - 1))
    filled = p.smt(given >> (u * v * both).eq(1), p.get(inverses_apart))
    share = p.smt(
        given >> (u * v * square <= 1),
        p.get(inverses_apart),
        filled,
        less,
        p.use(mul_mono, a=square, b=both, c=u * v),
    )
    factors = p.smt((u * v * (b * r * r - b) * (r + 1)).eq((u * v * square) * (r - 1)))
    grown = p.smt(given >> (u - v).eq(u * v * (b * r * r - b)), p.get(inverses_apart))
    scaled = p.smt(
        given >> ((u - v) * (r + 1) <= h * (r + 1)),
        grown,
        factors,
        share,
        p.use(mul_mono, a=u * v * square, b=real(1), c=r - 1),
    )
    cancel = p.smt(((real(0) < c) & (a * c <= b * c)) >> (a <= b))
    rises = [
        p.use(product_nonneg, A=u * v, B=b * r * r - b),
        p.use(mul_mono, a=real(1), b=r * r, c=b),
        p.smt((real(1) <= r) >> (real(1) <= r * r)),
        p.smt((r * r * b).eq(b * r * r)),
    ]
    ends = [scaled, grown, p.get(inverses_apart), p.use(cancel, a=u - v, b=h, c=r + 1), *rises]
    return p.smt(given >> ((real(0) <= u - v) & (u - v <= h)), *ends)


@proves(
    TANH,
    Mutant("without hadd", TANH.without("hadd"), numbers(line, s=0, t=-HALF)),
    Mutant("without htangent", TANH.without("htangent"), numbers(FALLING, s=0, t=HALF)),
    Mutant("without htanh", TANH.without("htanh"), numbers(STEEP, s=0, t=HALF)),
    Mutant("Lipschitz with 1/2", TANH.concluding(steep(tanh, HALF)), numbers(FAIR, s=0, t=HALF)),
)
def tanh_lipschitz(p: Proof) -> Theorem:
    facts = [p.use(_tanh_as_sigmoid, x=s), p.use(_tanh_as_sigmoid, x=t)]
    return p.smt(TANH.formula, p.use(sigmoid_lipschitz, s=2 * s, t=2 * t), *facts)


def _tanh_as_sigmoid(p: Proof) -> Theorem:
    """The hyperbolic tangent of x is twice the sigmoid of 2 x, less 1."""
    (q,) = variables(REAL, "q")
    given = (real(0) < a) & (real(0) < b) & (a * b).eq(1)
    given = given & (u * (1 + b)).eq(1) & (q * (a + 1)).eq(a - 1)
    scaled = p.smt(given >> (u * (a + 1)).eq(a), *ones(p, u, b, a))
    equal = p.smt(((real(0) < c) & (q * c).eq(v * c)) >> q.eq(v))
    facts = [scaled, p.use(equal, c=a + 1, v=2 * u - 1)]
    one = p.smt(given >> q.eq(2 * u - 1), *facts)
    values = {"a": exp(2 * x), "b": exp(-(2 * x)), "u": sigmoid(2 * x), "q": tanh(x)}
    needed = [
        p.use(one, **values),
        p.use(exp_pos, x=2 * x),
        p.use(exp_pos, x=-(2 * x)),
        *at_pair(p, HADD[1], 2 * x, -(2 * x)),
        p.get(exp_zero),
    ]
    return p.smt((HADD[1] & HTANGENT[1]) >> tanh(x).eq(2 * sigmoid(2 * x) - 1), *needed)


def ones(p: Proof, inverse: Term, one: Term, other: Term) -> list[Theorem]:
    """What two products that are 1 are, times another number."""
    unit = p.smt(c.eq(1) >> (c * a).eq(a))
    return [
        p.use(unit, c=inverse * (1 + one), a=other),
        p.use(unit, c=a * b, a=inverse),
        p.smt((inverse * (1 + one) * other).eq(inverse * other + a * b * inverse)),
    ]


# ---- ELU --------------------------------------------------------------------------------------


def elu(at: Term) -> Term:
    """Return x above 0, else a (exp x - 1)."""
    return ite(real(0) <= at, at, a * (exp(at) - 1))


ELU = Statement(
    name="elu_lipschitz",
    part="E",
    meaning="ELU is L-Lipschitz, where L is at least 1 and at least its factor below 0, in "
    "absolute value.",
    latex=r"1 \le L,\; |a| \le L \;\Rightarrow\; |\mathrm{elu}_a(t) - \mathrm{elu}_a(s)| "
    r"\le L\,|t - s|",
    hypotheses=(HADD, HTANGENT, ("hone", real(1) <= L), ("hslope", abs_le(a, L))),
    conclusion=steep(elu, L),
    relied_on_by=NETWORK,
)
_HIGH = {"s": 0, "t": -HALF, "a": 1, "L": 1}


@proves(
    ELU,
    Mutant(
        "without hadd",
        ELU.without("hadd"),
        numbers(lambda at: Fraction(100) if at < 0 else 1 + at, **_HIGH),
    ),
    Mutant("without htangent", ELU.without("htangent"), numbers(FALLING, **_HIGH)),
    Mutant("without hone", ELU.without("hone"), numbers(FAIR, s=0, t=1, a=0, L=HALF)),
    Mutant("without hslope", ELU.without("hslope"), numbers(FAIR, **{**_HIGH, "a": 4})),
    Mutant(
        "a factor below -L",
        ELU.with_hypothesis("hslope", a <= L),
        numbers(FAIR, **{**_HIGH, "a": -4}),
    ),
)
def elu_lipschitz(p: Proof) -> Theorem:
    facts = [p.use(_elu_rises, x=low, y=high) for low, high in ((s, t), (t, s))]
    return p.smt(ELU.formula, *facts)


def _elu_rises(p: Proof) -> Theorem:
    """For x <= y ELU changes by at most L (y - x)."""
    given, step = ELU.formula.args[0] & (x <= y), y - x
    scaled = p.smt(
        (abs_le(a, L) & (real(0) <= b) & (b <= c)) >> abs_le(a * b, L * c),
        p.use(mul_mono, a=a, b=L, c=b),
        p.use(mul_mono, a=-L, b=a, c=b),
        p.use(mul_mono, a=b, b=c, c=L),
    )
    stretched = p.use(mul_mono, a=real(1), b=L)
    below = p.smt(
        (given & (y <= 0)) >> ((real(0) <= exp(y) - exp(x)) & (exp(y) - exp(x) <= step)),
        p.get(exp_between),
        p.use(exp_between, x=y, y=real(0)),
        p.get(exp_zero),
        p.use(mul_mono, a=exp(y), b=real(1), c=step),
        p.use(exp_pos, x=y),
    )
    start = p.smt(
        (given & (x <= 0)) >> ((real(0) <= 1 - exp(x)) & (1 - exp(x) <= -x)),
        p.use(exp_between, y=real(0)),
        p.at(HTANGENT[1], x),
        p.get(exp_zero),
    )
    facts = [
        below,
        start,
        p.use(scaled, b=exp(y) - exp(x), c=step),
        p.use(scaled, b=1 - exp(x), c=-x),
        p.use(stretched, c=step),
        p.use(stretched, c=y),
        p.smt((a * (exp(y) - exp(x))).eq(a * (exp(y) - 1) - a * (exp(x) - 1))),
        p.smt((a * (1 - exp(x))).eq(-(a * (exp(x) - 1)))),
        p.smt((L * step).eq(L * y + L * (-x))),
    ]
    return p.smt(given >> abs_le(elu(y) - elu(x), L * step), *facts)
