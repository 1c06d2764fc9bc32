"""Theorems of part E on errors: how those of one operation's inputs pass on to its output.

Out: entries of the ledger, and the triangle inequality. Imports lemmas on sums and distances.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from certvq.theory._definitions import dot, squared_l2
from certvq.theory._distance import n, sq_nonneg, x, y
from certvq.theory._fixed_point import far
from certvq.theory._instances import instance
from certvq.theory._kernel import Term, Theorem
from certvq.theory._ledger import Mutant, Statement, proves
from certvq.theory._objective import mul_mono
from certvq.theory._operators import NAT, REAL
from certvq.theory._proof import Proof
from certvq.theory._terms import (
    Function,
    Vector,
    absolute,
    forall,
    forall_below,
    nat,
    real,
    variables,
    vector,
)

VALUE = "Value"
"""An opaque sort: the vector that an operation takes or returns."""

A, B, L, e, g, r = variables(REAL, "A B L e g r")
(m,) = variables(NAT, "m")
v, xc, yc = (vector(name) for name in ("v", "xc", "yc"))
NETWORK = ("certvq.canonical_codes",)


def within(dim: Term, left: Vector, right: Vector, bound: Term) -> Term:
    """The Euclidean distance is at most the bound, which is not negative."""
    return squared_l2(dim, left, right) <= bound * bound


def signs(**bounds: Term) -> tuple[tuple[str, Term], ...]:
    """The bounds by label, each at least 0."""
    return tuple((label, real(0) <= bound) for label, bound in bounds.items())


def product_nonneg(p: Proof) -> Theorem:
    """0 <= A and 0 <= B imply 0 <= A B."""
    return p.smt(((real(0) <= A) & (real(0) <= B)) >> (real(0) <= A * B))


def triangle(p: Proof) -> Theorem:
    """|x - y| <= A and |y - v| <= B imply |x - v| <= A + B."""
    given = (real(0) <= A) & (real(0) <= B) & within(n, x, y, A) & within(n, y, v, B)
    return p.smt(given >> within(n, x, v, A + B), p.get(far))


# ---- composition ------------------------------------------------------------------------------

entry = Function("entry", (VALUE, NAT), REAL)
f = Function("f", (VALUE,), VALUE)
exact, computed = variables(VALUE, "x xc")


def of(value: Term) -> Vector:
    """The entries of a value."""
    return lambda k: entry(value, k)


def lipschitz(factor: Term) -> Term:
    """No two results of f are farther apart than the factor times the values."""

    def pair(one: Term, other: Term) -> Term:
        apart = squared_l2(m, of(f(one)), of(f(other)))
        return apart <= factor * factor * squared_l2(n, of(one), of(other))

    return forall(lambda one: forall(lambda other: pair(one, other), VALUE), VALUE)


HX = ("hx", within(n, of(computed), of(exact), e))
COMP = Statement(
    name="error_comp_le",
    part="E",
    meaning="An operation that is L-Lipschitz passes on L times the error of its input, besides "
    "the error r that its own arithmetic makes on the input that it was given.",
    latex=r"|x' - x| \le e,\; f\ L\text{-Lipschitz},\; |y' - f(x')| \le r "
    r"\;\Rightarrow\; |y' - f(x)| \le L e + r",
    hypotheses=(
        *signs(he0=e, hL0=L, hr0=r),
        HX,
        ("hlip", lipschitz(L)),
        ("hround", within(m, y, of(f(computed)), r)),
    ),
    conclusion=within(m, y, of(f(exact)), L * e + r),
    relied_on_by=NETWORK,
)


def _composed(unknowns: Any) -> Mapping[str, Any]:
    """Two values of one entry, which f takes to two others."""
    held = instance(reals="e L r", vectors="y", n=1, m=1)(unknowns)
    results = [(unknowns.real("f0"),), (unknowns.real("f1"),)]
    pair = ((Fraction(0),), (Fraction(1),))
    taken = dict(zip(pair, results, strict=True))
    values = {"x": pair[0], "xc": pair[1], "trees": pair, "f": taken.__getitem__}
    return {**held, **values, "entry": lambda value, k: value[k]}


@proves(
    COMP,
    *(Mutant(f"without {h}", COMP.without(h), _composed) for h in COMP.labels),
    Mutant(
        "the error is not amplified", COMP.concluding(within(m, y, of(f(exact)), e + r)), _composed
    ),
    Mutant("no rounding", COMP.concluding(within(m, y, of(f(exact)), L * e)), _composed),
    Mutant("rounding alone", COMP.concluding(within(m, y, of(f(exact)), r)), _composed),
)
def error_comp(p: Proof) -> Theorem:
    first = p.at(lipschitz(L), computed)
    facts = [
        first,
        p.at(first.formula.args[1], exact),
        p.use(mul_mono, a=squared_l2(n, of(computed), of(exact)), b=e * e, c=L * L),
        p.use(sq_nonneg, a=L),
        p.use(triangle, n=m, x=y, y=of(f(computed)), v=of(f(exact)), A=r, B=L * e),
        p.use(product_nonneg, A=L, B=e),
    ]
    return p.smt(COMP.formula, *facts)


# ---- sums and products ------------------------------------------------------------------------


def plus(left: Vector, right: Vector) -> Vector:
    """The sum of two vectors."""
    return lambda k: left(k) + right(k)


def times(left: Vector, right: Vector) -> Vector:
    """The product of two vectors, entry by entry."""
    return lambda k: left(k) * right(k)


HDX, HDY = ("hdx", within(n, xc, x, e)), ("hdy", within(n, yc, y, g))
SUM = Statement(
    name="sum_error_le",
    part="E",
    meaning="The error of a sum, or of a difference, is at most the sum of the errors.",
    latex=r"|x' - x| \le e,\; |y' - y| \le g \;\Rightarrow\; |(x' + y') - (x + y)| \le e + g",
    hypotheses=(*signs(he0=e, hg0=g), HDX, HDY),
    conclusion=within(n, plus(xc, yc), plus(x, y), e + g),
    relied_on_by=NETWORK,
)
_pair = instance(reals="A B e g", vectors="x xc y yc", n=1)


@proves(
    SUM,
    *(Mutant(f"without {h}", SUM.without(h), _pair) for h in SUM.labels),
    Mutant("one error alone", SUM.concluding(within(n, plus(xc, yc), plus(x, y), e)), _pair),
    Mutant(
        "errors of unlike sign cancel",
        SUM.concluding(within(n, plus(xc, yc), plus(x, y), e - g)),
        _pair,
    ),
)
def sum_error(p: Proof) -> Theorem:
    between = plus(x, yc)
    left = p.induct(squared_l2(n, plus(xc, yc), between).eq(squared_l2(n, xc, x)), n)
    right = p.induct(squared_l2(n, between, plus(x, y)).eq(squared_l2(n, yc, y)), n)
    legs = p.use(triangle, x=plus(xc, yc), y=between, v=plus(x, y), A=e, B=g)
    return p.smt(SUM.formula, left, right, legs)


def small(entries_of: Vector, bound: Term) -> Term:
    """No entry exceeds the bound in absolute value, by squares."""
    return forall_below(n, lambda k: entries_of(k) * entries_of(k) <= bound * bound)


PRODUCT = Statement(
    name="product_error_le",
    part="E",
    meaning="The error of a product, entry by entry, where A and B bound the entries of x and y "
    "(their norms do). Exact and computed values may change places.",
    latex=r"|x_k| \le A,\; |y_k| \le B,\; |x' - x| \le e,\; |y' - y| \le g \;\Rightarrow\; "
    r"|x' y' - x y| \le A g + B e + e g",
    hypotheses=(
        *signs(hA0=A, hB0=B, he0=e, hg0=g),
        ("hx", small(x, A)),
        ("hy", small(y, B)),
        HDX,
        HDY,
    ),
    conclusion=within(n, times(xc, yc), times(x, y), A * g + B * e + e * g),
    relied_on_by=NETWORK,
)


@proves(
    PRODUCT,
    *(Mutant(f"without {h}", PRODUCT.without(h), _pair) for h in PRODUCT.labels),
    Mutant(
        "the product of the errors is lost",
        PRODUCT.concluding(within(n, times(xc, yc), times(x, y), A * g + B * e)),
        _pair,
    ),
    Mutant(
        "each bound times its own error",
        PRODUCT.concluding(within(n, times(xc, yc), times(x, y), A * e + B * g + e * g)),
        _pair,
    ),
)
def product_error(p: Proof) -> Theorem:
    def dx(k: Term) -> Term:
        return xc(k) - x(k)

    def dy(k: Term) -> Term:
        return yc(k) - y(k)

    first, second = times(x, yc), plus(times(x, yc), times(dx, y))
    ends = (times(x, y), first, second, times(xc, yc))
    steps = [
        p.induct(squared_l2(n, ends[1], ends[0]).eq(_square_of(times(x, dy))), n),
        p.induct(squared_l2(n, ends[2], ends[1]).eq(_square_of(times(y, dx))), n),
        p.induct(squared_l2(n, ends[3], ends[2]).eq(_square_of(times(dx, dy))), n),
        p.induct(_square_of(dx).eq(squared_l2(n, xc, x)), n),
        p.induct(_square_of(dy).eq(squared_l2(n, yc, y)), n),
    ]
    norms = [
        p.use(_scaled, x=x, y=dy, A=A, B=g),
        p.use(_scaled, x=y, y=dx, A=B, B=e),
        p.use(_both_small, x=dx, y=dy, A=e, B=g),
    ]
    legs = [
        p.use(triangle, x=ends[3], y=ends[2], v=ends[1], A=e * g, B=B * e),
        p.use(triangle, x=ends[3], y=ends[1], v=ends[0], A=e * g + B * e, B=A * g),
    ]
    parts = _products_nonneg(p, (e, g), (B, e), (A, g))
    return p.smt(PRODUCT.formula, *steps, *norms, *legs, *parts)


def _square_of(values: Vector) -> Term:
    return dot(n, values, values)


def _products_nonneg(p: Proof, *pairs: tuple[Term, Term]) -> list[Theorem]:
    """A product of two bounds that are not negative is not negative."""
    return [p.use(product_nonneg, A=left, B=right) for left, right in pairs]


def _scaled(p: Proof) -> Theorem:
    """|x_k| <= A and |y| <= B imply |x y| <= A B."""
    a, b = x(n) * x(n), y(n) * y(n)
    longer = p.shift(small(x, A), n)
    facts = [
        p.widen(longer, small(x, A)),
        p.at(longer, n),
        p.use(mul_mono, a=a, b=A * A, c=b),
        p.use(sq_nonneg, a=y(n)),
    ]
    scaled = p.induct(small(x, A) >> (_square_of(times(x, y)) <= A * A * _square_of(y)), n, *facts)
    grows = p.use(mul_mono, a=_square_of(y), b=B * B, c=A * A)
    given = small(x, A) & (_square_of(y) <= B * B)
    goal = _square_of(times(x, y)) <= A * B * (A * B)
    return p.smt(given >> goal, scaled, grows, p.use(sq_nonneg, a=A))


def _both_small(p: Proof) -> Theorem:
    """|x| <= A and |y| <= B imply |x y| <= A B."""
    xx, yy = _square_of(x), _square_of(y)
    a, b = x(n) * x(n), y(n) * y(n)
    positive = [p.induct(real(0) <= _square_of(w), n, p.use(sq_nonneg, a=w(n))) for w in (x, y)]
    squares = [p.use(sq_nonneg, a=w(n)) for w in (x, y)]
    crossed = [
        p.use(mul_mono, a=real(0), b=xx, c=b),
        p.use(mul_mono, a=real(0), b=a, c=yy),
    ]
    split = p.smt(((xx + a) * (yy + b)).eq(xx * yy + xx * b + a * yy + a * b))
    both = p.induct(_square_of(times(x, y)) <= xx * yy, n, *positive, *squares, *crossed, split)
    grows = [
        p.use(mul_mono, a=xx, b=A * A, c=yy),
        p.use(mul_mono, a=yy, b=B * B, c=A * A),
        p.use(sq_nonneg, a=A),
    ]
    given = (xx <= A * A) & (yy <= B * B)
    goal = _square_of(times(x, y)) <= A * B * (A * B)
    return p.smt(given >> goal, both, *grows, *positive)


# ---- entry by entry ---------------------------------------------------------------------------


def entry_by_entry(dim: Term) -> Term:
    """No result moves by more than L times what its argument moved, in the first entries."""

    def at_place(k: Term) -> Term:
        return absolute(yc(k) - y(k)) <= L * absolute(xc(k) - x(k))

    return forall_below(dim, at_place)


ENTRYWISE = Statement(
    name="entrywise_error_le",
    part="E",
    meaning="What is L-Lipschitz in every entry is L-Lipschitz in the Euclidean norm: the constant "
    "of an activation holds for vectors.",
    latex=r"|y'_k - y_k| \le L\,|x'_k - x_k| \;\Rightarrow\; d(y', y) \le L^2\, d(x', x)",
    hypotheses=(("hentry", entry_by_entry(n)),),
    conclusion=squared_l2(n, yc, y) <= L * L * squared_l2(n, xc, x),
    relied_on_by=NETWORK,
)
_two_entries = instance(reals="L", vectors="x xc y yc", n=2)


@proves(
    ENTRYWISE,
    Mutant("without hentry", ENTRYWISE.without("hentry"), _two_entries),
    Mutant(
        "L for L^2",
        ENTRYWISE.concluding(squared_l2(n, yc, y) <= L * squared_l2(n, xc, x)),
        _two_entries,
    ),
    Mutant(
        "the first entry alone",
        ENTRYWISE.with_hypothesis("hentry", entry_by_entry(nat(1))),
        _two_entries,
    ),
)
def entrywise(p: Proof) -> Theorem:
    a, b = variables(REAL, "a b")
    one = p.smt((absolute(a) <= L * absolute(b)) >> (a * a <= L * L * (b * b)))
    given, longer = entry_by_entry(n), entry_by_entry(n + 1)
    facts = [
        p.widen(longer, given),
        p.at(longer, n),
        p.use(one, a=yc(n) - y(n), b=xc(n) - x(n)),
    ]
    return p.induct(ENTRYWISE.formula, n, *facts)
