"""Theorems of part E on activations without an exponential: ReLU, leaky ReLU, GELU and Snake.

Out: entries of the ledger, and the axioms of the normal distribution and of the sine. Imports no
other theorems but those of errors.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from certvq.theory._errors import NETWORK, L, product_nonneg
from certvq.theory._instances import instance
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Instance, Mutant, Statement, assumes, proves
from certvq.theory._objective import mul_mono
from certvq.theory._operators import REAL
from certvq.theory._proof import Proof
from certvq.theory._terms import Function, abs_le, absolute, conj, forall, ite, real, variables

a, c, s, t, u, v = variables(REAL, "a c s t u v")


def steep(function: Callable[[Term], Term], factor: Any) -> Term:
    """The values at s and t are apart by at most the factor times what s and t are."""
    return absolute(function(t) - function(s)) <= factor * absolute(t - s)


def relu(x: Term) -> Term:
    """Return x above 0, else 0."""
    return ite(real(0) <= x, x, real(0))


def leaky_relu(x: Term) -> Term:
    """Return x above 0, else a x."""
    return ite(real(0) <= x, x, a * x)


RELU = Statement(
    name="relu_lipschitz",
    part="E",
    meaning="ReLU is 1-Lipschitz.",
    latex=r"|\mathrm{relu}(t) - \mathrm{relu}(s)| \le |t - s|",
    conclusion=steep(relu, 1),
    relied_on_by=NETWORK,
)
LEAKY = Statement(
    name="leakyRelu_lipschitz",
    part="E",
    meaning="Leaky ReLU is L-Lipschitz, where L is at least 1 and at least the slope below 0, in "
    "absolute value.",
    latex=r"1 \le L,\; |a| \le L \;\Rightarrow\; |f_a(t) - f_a(s)| \le L\,|t - s|",
    hypotheses=(("hone", real(1) <= L), ("hslope", abs_le(a, L))),
    conclusion=steep(leaky_relu, L),
    relied_on_by=NETWORK,
)
_slopes = instance(reals="a c s t L")


@proves(
    RELU,
    Mutant("Lipschitz with 1/2", RELU.concluding(steep(relu, Fraction(1, 2))), _slopes),
    Mutant("below 0 instead", RELU.concluding(relu(t) - relu(s) <= t - s), _slopes),
)
def relu_lipschitz(p: Proof) -> Theorem:
    return p.smt(RELU.formula)


@proves(
    LEAKY,
    Mutant("without hone", LEAKY.without("hone"), _slopes),
    Mutant("without hslope", LEAKY.without("hslope"), _slopes),
    Mutant("a slope below -L", LEAKY.with_hypothesis("hslope", a <= L), _slopes),
)
def leaky_lipschitz(p: Proof) -> Theorem:
    given = LEAKY.formula.args[0]
    (x,) = variables(REAL, "x")
    longer = p.smt(
        (given & (real(0) <= x)) >> ((x <= L * x) & abs_le(a * x, L * x)), *_multiples(p)
    )
    gap = t - s
    facts = [p.use(longer, x=value) for value in (gap, -gap, t, s, -t, -s)]
    spread = [
        p.smt((a * (t - s)).eq(a * t - a * s) & (L * (t - s)).eq(L * t - L * s)),
        p.smt((a * (-(t - s))).eq(a * s - a * t) & (L * (-(t - s))).eq(L * s - L * t)),
        *(p.smt((w * (-z)).eq(-(w * z))) for w in (a, L) for z in (s, t)),
    ]
    return p.smt(LEAKY.formula, *facts, *spread)


def _multiples(p: Proof) -> list[Theorem]:
    (x,) = variables(REAL, "x")
    return [
        p.use(mul_mono, a=real(1), b=L, c=x),
        p.use(mul_mono, a=a, b=L, c=x),
        p.use(mul_mono, a=-L, b=a, c=x),
    ]


# ---- gates ------------------------------------------------------------------------------------

gate = Function("gate", (REAL,), REAL)


def pairs(body: Callable[[Term, Term], Term]) -> Term:
    """The body holds for all pairs of numbers."""
    return forall(lambda x: forall(lambda y: body(x, y), REAL), REAL)


def grows(function: Callable[[Term], Term]) -> Term:
    """The function does not fall."""
    return pairs(lambda x, y: (x <= y) >> (function(x) <= function(y)))


def flattens(function: Callable[[Term], Term], bound: Any) -> Term:
    """Above 0 the function grows so slowly that s times its growth is at most a multiple."""

    def pair(x: Term, y: Term) -> Term:
        return ((real(0) <= x) & (x <= y)) >> (x * (function(y) - function(x)) <= bound * (y - x))

    return pairs(pair)


def is_odd(function: Callable[[Term], Term]) -> Term:
    """The function is 1 less its value at the opposite number, and not above 1."""
    return forall(lambda x: function(-x).eq(1 - function(x)) & (function(x) <= 1), REAL)


def gated(x: Term) -> Term:
    """The number times its gate."""
    return x * gate(x)


GELU = Statement(
    name="gelu_lipschitz",
    part="E",
    meaning="A number times a gate (the distribution function of the normal distribution in GELU, "
    "the sigmoid in SiLU) is (1 + c)-Lipschitz, where c bounds s times the slope of the gate at s. "
    "For the normal distribution c is 1/4, since the greatest value is 1 / sqrt(2 pi e).",
    latex=r"\Phi(-x) = 1 - \Phi(x) \ge 0,\; \Phi \text{ grows},\; s\,(\Phi(t) - \Phi(s)) \le "
    r"c\,(t - s)\; (0 \le s \le t) \;\Rightarrow\; |t\,\Phi(t) - s\,\Phi(s)| \le (1 + c)\,|t - s|",
    hypotheses=(
        ("hodd", is_odd(gate)),
        ("hgrows", grows(gate)),
        ("hslope", flattens(gate, c)),
    ),
    conclusion=steep(gated, 1 + c),
    relied_on_by=NETWORK,
)
normal = Function("normalcdf", (REAL,), REAL)
assumes(
    "ax_normal_cdf",
    is_odd(normal) & grows(normal) & flattens(normal, Fraction(1, 4)),
    "NIST Digital Library of Mathematical Functions, 7.2 and 7.4 on erf: the distribution function "
    "of the normal distribution is (1 + erf(x / sqrt 2)) / 2; it grows, its value at -x is 1 less "
    "that at x, and s times its slope at s is at most 1 / sqrt(2 pi e) < 1/4.",
)


_HALVES = tuple(Fraction(k, 2) for k in range(-4, 5))


def _numbers(function: Callable[[Fraction], Fraction], **held: Any) -> Instance:
    """Given numbers; what is said of all numbers is said of the halves from -2 to 2."""
    values = {name: Fraction(value) for name, value in held.items()}
    return lambda _: {**values, "trees": _HALVES, "gate": function, "sin": function}


def _ramp(x: Fraction) -> Fraction:
    """A gate: 1/2 + x / 4 between 0 and 1."""
    return min(max(Fraction(1, 2) + x / 4, Fraction(0)), Fraction(1))


@proves(
    GELU,
    Mutant("without hodd", GELU.without("hodd"), _numbers(lambda _: Fraction(3), c=0, s=0, t=1)),
    Mutant(
        "without hgrows",
        GELU.without("hgrows"),
        _numbers(lambda x: 1 - _ramp(x), c=0, s=-2, t=-1),
    ),
    Mutant("without hslope", GELU.without("hslope"), _numbers(_ramp, c=0, s=1, t=2)),
    Mutant(
        "Lipschitz with 1",
        GELU.concluding(steep(gated, 1)),
        _numbers(_ramp, c=Fraction(1, 2), s=1, t=2),
    ),
    Mutant(
        "Lipschitz with c",
        GELU.concluding(steep(gated, c)),
        _numbers(_ramp, c=Fraction(1, 2), s=1, t=2),
    ),
)
def gelu_lipschitz(p: Proof) -> Theorem:
    given = GELU.formula.args[0]
    at_ends = [p.at(GELU.hypothesis("hodd"), x) for x in (s, t, real(0))]
    bound = p.smt(given >> (real(0) <= c), *at_pair(p, GELU.hypothesis("hslope"), real(0), real(1)))
    opposite = p.smt((gate(-u).eq(1 - gate(u))) >> gated(-u).eq(gated(u) - u))
    legs = [p.use(_above_zero, s=low, t=high) for low, high in _LEGS]
    mirrored = [p.use(opposite, u=end) for end in (s, t)]
    none = p.smt(gated(real(0)).eq(0))
    spread = p.smt(((1 + c) * (t - s)).eq((t - s) + c * (t - s)))
    parts = [p.smt((c * (x - y)).eq(c * x - c * y)) for x, y in ((t, s), (s, t))]
    shares = [p.use(product_nonneg, A=c, B=x) for x in (s, t, -s, -t, t - s, s - t)]
    facts = [*at_ends, bound, *legs, *mirrored, none, spread, *parts, *shares]
    return p.smt(GELU.formula, *facts)


_LEGS = ((s, t), (t, s), (-t, -s), (-s, -t), *((real(0), end) for end in (s, t, -s, -t)))


def at_pair(p: Proof, universal: Term, x: Term, y: Term) -> list[Theorem]:
    """What a formula about all pairs of numbers says of two."""
    first = p.at(universal, x)
    return [first, p.at(first.formula.args[1], y)]


def _above_zero(p: Proof) -> Theorem:
    """Between numbers that are not negative a gated number rises by at most 1 + c times theirs."""
    given = GELU.formula.args[0] & (real(0) <= s) & (s <= t)
    step, slope = t - s, gate(t) - gate(s)
    facts = [
        p.at(GELU.hypothesis("hodd"), t),
        p.at(GELU.hypothesis("hodd"), -t),
        *at_pair(p, GELU.hypothesis("hgrows"), s, t),
        *at_pair(p, GELU.hypothesis("hslope"), s, t),
        p.use(product_nonneg, A=gate(t), B=step),
        p.use(product_nonneg, A=s, B=slope),
        p.use(mul_mono, a=gate(t), b=real(1), c=step),
        p.smt((gated(t) - gated(s)).eq(gate(t) * step + s * slope)),
        p.smt(((1 + c) * step).eq(step + c * step)),
    ]
    rise = gated(t) - gated(s)
    return p.smt(given >> ((real(0) <= rise) & (rise <= (1 + c) * step)), *facts)


# ---- Snake ------------------------------------------------------------------------------------

sine = Function("sin", (REAL,), REAL)


def squared(x: Term) -> Term:
    """The square of the sine."""
    return sine(x) * sine(x)


def snake(x: Term) -> Term:
    """Return x + sin(a x)^2 / a."""
    return x + squared(a * x) / a


def product_of_sines(x: Term, y: Term) -> Term:
    """The difference of the squares of two sines."""
    return (squared(x) - squared(y)).eq(sine(x + y) * sine(x - y))


def at_most_one(x: Term) -> Term:
    """The absolute value of the sine is at most 1."""
    return absolute(sine(x)) <= 1


def at_most_itself(x: Term) -> Term:
    """The absolute value of the sine is at most that of its argument."""
    return absolute(sine(x)) <= absolute(x)


HSINE = (
    ("hproduct", pairs(product_of_sines)),
    ("hone", forall(at_most_one, REAL)),
    ("hself", forall(at_most_itself, REAL)),
)
assumes(
    "ax_sine",
    conj(*(formula for _, formula in HSINE)),
    "NIST Digital Library of Mathematical Functions, 4.18 and 4.21: sin^2 u - sin^2 v = "
    "sin(u + v) sin(u - v), and the absolute value of sin x is at most 1 and at most that of x.",
)
SNAKE = Statement(
    name="snake_lipschitz",
    part="E",
    meaning="Snake is 2-Lipschitz.",
    latex=r"a \ne 0 \;\Rightarrow\; \Bigl|t + \tfrac1a \sin^2(a t) - s - \tfrac1a \sin^2(a s)"
    r"\Bigr| \le 2\,|t - s|",
    hypotheses=(("ha0", ~a.eq(0)), *HSINE),
    conclusion=steep(snake, 2),
    relied_on_by=NETWORK,
)


def _turning(x: Fraction) -> Fraction:
    """The sine of 2 x times the angle whose sine is 5/13, for a multiple x of 1/2."""
    above, beside = Fraction(0), Fraction(1)
    for _ in range(int(abs(2 * x))):
        above, beside = (12 * above + 5 * beside) / 13, (12 * beside - 5 * above) / 13
    return above if x >= 0 else -above


_QUARTERS = (Fraction(0), Fraction(1), Fraction(0), Fraction(-1))


@proves(
    SNAKE,
    Mutant(
        "without hproduct",
        SNAKE.without("hproduct"),
        _numbers(lambda x: Fraction(x == 1), a=1, s=Fraction(1, 2), t=1),
    ),
    Mutant("without hone", SNAKE.without("hone"), _numbers(lambda x: x, a=1, s=1, t=2)),
    Mutant(
        "without hself",
        SNAKE.without("hself"),
        _numbers(lambda x: _QUARTERS[int(2 * x) % 4], a=1, s=0, t=Fraction(1, 2)),
    ),
    Mutant(
        "Lipschitz with 1",
        SNAKE.concluding(steep(snake, 1)),
        _numbers(_turning, a=1, s=Fraction(1, 2), t=1),
    ),
)
def snake_lipschitz(p: Proof) -> Theorem:
    given, turn = SNAKE.formula.args[0], squared(a * t) - squared(a * s)
    one, other = sine(a * t + a * s), sine(a * t - a * s)
    bounded = p.smt(((absolute(u) <= 1) & (absolute(v) <= L)) >> (absolute(u * v) <= L))
    turned = p.smt(
        given >> (absolute(turn) <= absolute(a * t - a * s)),
        *at_pair(p, SNAKE.hypothesis("hproduct"), a * t, a * s),
        p.at(SNAKE.hypothesis("hone"), a * t + a * s),
        p.at(SNAKE.hypothesis("hself"), a * t - a * s),
        p.use(bounded, u=one, v=other, L=absolute(a * t - a * s)),
    )
    x, y, q, r = variables(REAL, "x y q r")
    quotients = (~a.eq(0)) & (q * a).eq(x) & (r * a).eq(y) & (absolute(x - y) <= absolute(a * v))
    cancelled = p.smt(
        (~a.eq(0) & (absolute(a * u) <= absolute(a * v))) >> (absolute(u) <= absolute(v))
    )
    same = p.smt(((q * a).eq(x) & (r * a).eq(y)) >> (a * (q - r)).eq(x - y))
    divided = p.smt(quotients >> (absolute(q - r) <= absolute(v)), same, p.use(cancelled, u=q - r))
    values = {"x": squared(a * t), "y": squared(a * s), "v": t - s}
    ends = p.use(divided, **values, q=squared(a * t) / a, r=squared(a * s) / a)
    spread = p.smt((a * (t - s)).eq(a * t - a * s))
    return p.smt(SNAKE.formula, turned, ends, spread)
