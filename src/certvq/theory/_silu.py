"""Theorem of part E on SiLU: a number times its sigmoid.

Out: an entry of the ledger. Imports lemmas on the exponential and on gates.
"""

from fractions import Fraction
from itertools import pairwise

from certvq.theory._activations import at_pair, flattens, gelu_lipschitz, grows, is_odd, steep
from certvq.theory._errors import NETWORK, product_nonneg
from certvq.theory._exponential import (
    FAIR,
    HADD,
    HALF,
    HTANGENT,
    a,
    b,
    c,
    exp,
    exp_between,
    exp_pos,
    exp_zero,
    inverses_apart,
    line,
    numbers,
    ones,
    sigmoid,
    u,
    v,
    x,
    y,
)
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Mutant, Statement, proves
from certvq.theory._objective import mul_mono
from certvq.theory._proof import Proof
from certvq.theory._terms import real


def silu(at: Term) -> Term:
    """Return x times its sigmoid."""
    return at * sigmoid(at)


SILU = Statement(
    name="silu_lipschitz",
    part="E",
    meaning="SiLU is 13/10-Lipschitz (its greatest slope is 1.0998...).",
    latex=r"|t\,\sigma(t) - s\,\sigma(s)| \le \tfrac{13}{10}\,|t - s|",
    hypotheses=(HADD, HTANGENT),
    conclusion=steep(silu, Fraction(13, 10)),
    relied_on_by=NETWORK,
)
_FIFTHS = tuple(Fraction(k, 5) for k in (-5, -2, 0, 2, 5))


def _torn(at: Fraction) -> Fraction:
    """A power with another base at 2/5 than at 1."""
    found = [(i, j) for i in range(-2, 3) for j in range(-2, 3) if Fraction(2 * i, 5) + j == at]
    (i, j) = found[0]
    return Fraction(100) ** (j - i)


@proves(
    SILU,
    Mutant("without hadd", SILU.without("hadd"), numbers(line, s=HALF, t=1)),
    Mutant(
        "without htangent",
        SILU.without("htangent"),
        numbers(_torn, among=_FIFTHS, s=Fraction(2, 5), t=1),
    ),
    Mutant("Lipschitz with 1", SILU.concluding(steep(silu, 1)), numbers(FAIR, s=2, t=3)),
)
def silu_lipschitz(p: Proof) -> Theorem:
    given = SILU.formula.args[0]
    through = p.use(gelu_lipschitz, gate=sigmoid, c=real(Fraction(3, 10)))
    odd, rising, slow = (is_odd(sigmoid), grows(sigmoid), flattens(sigmoid, Fraction(3, 10)))
    facts = [
        p.every(p.smt(given >> p.at(odd, x).formula.args[1], *_oddness(p)), x),
        _for_pairs(p, given, rising, p.get(_sigmoid_grows)),
        _for_pairs(p, given, slow, p.get(_sigmoid_flattens)),
    ]
    return p.smt(SILU.formula, through, *facts)


def _for_pairs(p: Proof, given: Term, universal: Term, fact: Theorem) -> Theorem:
    """Generalise what is known of x and y to all pairs."""
    body = p.at(p.at(universal, x).formula.args[1], y).formula.args[1]
    return p.every(p.every(p.smt(given >> body, fact), y), x)


def negated(at: Term) -> Term:
    """Return -x, also of -x, for which two signs in a row would not read well."""
    return -at


def _oddness(p: Proof) -> list[Theorem]:
    """What the sigmoids of x and -x have to do with each other."""
    given = (real(0) < a) & (real(0) < b) & (a * b).eq(1)
    given = given & (u * (1 + b)).eq(1) & (v * (1 + a)).eq(1)
    scaled = p.smt(given >> (v * (1 + b)).eq(b), *ones(p, v, a, b))
    positive = p.smt(((real(0) < c) & (a * c).eq(1)) >> (real(0) < a))
    equal = p.smt(((real(0) < c) & (a * c).eq(b * c)) >> a.eq(b))
    signs = p.use(positive, a=v, c=1 + a)
    one = p.smt(
        given >> (v.eq(1 - u) & (u <= 1)), scaled, signs, p.use(equal, a=v, b=1 - u, c=1 + b)
    )
    return [
        p.use(one, a=exp(negated(-x)), b=exp(-x), u=sigmoid(x), v=sigmoid(-x)),
        p.use(exp_pos, x=-x),
        p.use(exp_pos, x=negated(-x)),
        *at_pair(p, HADD[1], negated(-x), -x),
        p.get(exp_zero),
    ]


def _sigmoid_grows(p: Proof) -> Theorem:
    """The sigmoid does not fall, and how much it grows."""
    given = HADD[1] & HTANGENT[1] & (x <= y)
    rise, inverse = sigmoid(y) - sigmoid(x), sigmoid(y) * sigmoid(x)
    ends = [p.use(exp_between, x=-y, y=-x), p.use(exp_pos, x=-y), p.use(exp_pos, x=-x)]
    apart = p.use(inverses_apart, u=sigmoid(y), v=sigmoid(x), b=exp(-y), c=exp(-x))
    step = p.use(product_nonneg, A=inverse, B=exp(-x) - exp(-y))
    equal = rise.eq(inverse * (exp(-x) - exp(-y)))
    return p.smt(given >> (equal & (sigmoid(x) <= sigmoid(y))), apart, step, *ends)


def _sigmoid_flattens(p: Proof) -> Theorem:
    """Above 0, x times the growth of the sigmoid is at most 3/10 of y - x."""
    given, step = HADD[1] & HTANGENT[1] & (real(0) <= x) & (x <= y), y - x
    q, gap, share = exp(-x), exp(-x) - exp(-y), sigmoid(x) * exp(-x)
    most = Fraction(3, 10)
    one = p.smt(((v * (1 + c)).eq(1) & (real(0) < c)) >> ((real(0) < v) & (v <= 1)))
    units = [p.use(one, v=sigmoid(at), c=exp(-at)) for at in (x, y)]
    known = [p.get(_sigmoid_grows), p.use(exp_between, x=-y, y=-x), *units]
    known += [p.use(exp_pos, x=-at) for at in (x, y)]
    rise = p.smt(
        given >> (sigmoid(y) - sigmoid(x) <= share * step),
        *known,
        p.use(mul_mono, a=sigmoid(y), b=real(1), c=sigmoid(x) * gap),
        p.use(product_nonneg, A=sigmoid(x), B=gap),
        p.use(mul_mono, a=gap, b=step * q, c=sigmoid(x)),
    )
    ten_thirds = p.smt(
        given >> ((real(0) <= share) & (x * share <= most)),
        *known,
        *at_pair(p, HADD[1], x, -x),
        p.get(exp_zero),
        p.get(_exp_above),
        p.use(product_nonneg, A=sigmoid(x), B=q),
        p.use(mul_mono, a=Fraction(10, 3) * x, b=exp(x) + 1, c=share),
        p.use(_whole_share, a=exp(x), b=q, v=sigmoid(x)),
    )
    facts = [
        p.use(mul_mono, a=sigmoid(y) - sigmoid(x), b=share * step, c=x),
        p.use(mul_mono, a=x * share, b=real(most), c=step),
    ]
    goal = x * (sigmoid(y) - sigmoid(x)) <= most * step
    return p.smt(given >> goal, rise, ten_thirds, *facts)


def _whole_share(p: Proof) -> Theorem:
    """For a b = 1 and v = 1 / (1 + b): v b (a + 1) = 1."""
    given = (a * b).eq(1) & (v * (1 + b)).eq(1)
    unit = p.smt(c.eq(1) >> (c * v).eq(v))
    return p.smt(given >> ((a + 1) * (v * b)).eq(1), p.use(unit, c=a * b))


# The tangent of the exponential at 32/25 lies above 10/3 x - 1 for x >= 0. Its value there is at
# least 1.08^16, which the bounds come to by four squarings, each rounded down.
_TOUCH = Fraction(32, 25)
_SQUARES = tuple(map(Fraction, ("1.08", "1.166", "1.359", "1.846", "3.407")))


def _exp_above(p: Proof) -> Theorem:
    """10/3 x <= exp x + 1 for x >= 0."""
    given = HADD[1] & HTANGENT[1]
    square = p.smt(((real(0) <= a) & (a <= b)) >> (a * a <= b * b))
    at, held = (
        _TOUCH / 16,
        p.smt(
            given >> (_SQUARES[0] <= exp(real(_TOUCH / 16))), p.at(HTANGENT[1], real(_TOUCH / 16))
        ),
    )
    for low, high in pairwise(_SQUARES):
        half, at = real(at), 2 * at
        facts = [held, *at_pair(p, HADD[1], half, half), p.use(square, a=real(low), b=exp(half))]
        held = p.smt(given >> (real(high) <= exp(real(at))), *facts)
    touch, rest = real(_TOUCH), 1 + (x - _TOUCH)
    facts = [
        held,
        *at_pair(p, HADD[1], touch, x - touch),
        p.at(HTANGENT[1], x - touch),
        p.get(exp_pos),
        p.use(mul_mono, a=rest, b=exp(x - touch), c=exp(touch)),
        p.use(mul_mono, a=real(_SQUARES[-1]), b=exp(touch), c=rest),
        p.use(exp_pos, x=touch),
    ]
    return p.smt((given & (real(0) <= x)) >> (Fraction(10, 3) * x <= exp(x) + 1), *facts)
